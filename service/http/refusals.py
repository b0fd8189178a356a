"""What the protocol guard answers, where there is no application yet, or not any more."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import orjson

from service.errors import Answer
from service.http.headers import API_FIELDS
from service.http.problems import MEDIA_TYPE, body_of


class Refusal(StrEnum):
    """Why a connection was refused or cut. A closed set, fit for the label of a metric."""

    CONNECTIONS = "connections"  # 503: `max_connections` are open
    PEER_CONNECTIONS = "peer_connections"  # 503: the address has `max_connections_per_peer`
    HEADERS = "headers"  # 431: too many bytes or fields, before the body or behind it
    HEADER_TIMEOUT = "header_timeout"  # 408, or closed without a word if nothing was sent
    MALFORMED = "malformed"  # 400: no HTTP, or a message whose end two readers may see differently
    HOST = "host"  # 421: a name that this port does not answer to
    CODING = "transfer_coding"  # 501: a body that would have to be decoded first
    BODY_SIZE = "body_size"  # 413: the bytes of the body with its chunk framing
    BODY_TIMEOUT = "body_timeout"  # 408: a pause, or slower than `min_body_rate`
    PIPELINED = "pipelined"  # closed after the answers to the requests before
    WRITE_TIMEOUT = "write_timeout"  # cut: the client does not read


class _Refused(NamedTuple):
    answer: Answer
    detail: str
    retry_after_s: int | None = None


_BUSY = Answer(503, "too-many-connections", "Service Unavailable", "shed")
_SLOW = Answer(408, "request-timeout", "Request Timeout", "invalid")

_ANSWERS = {
    Refusal.CONNECTIONS: _Refused(_BUSY, "all connections are in use", 1),
    Refusal.PEER_CONNECTIONS: _Refused(
        _BUSY, "all connections that one address may have are in use", 1
    ),
    Refusal.HEADERS: _Refused(
        Answer(431, "header-too-large", "Request Header Fields Too Large", "invalid"),
        "the request line and header fields have too many bytes, or there are too many fields",
    ),
    Refusal.HEADER_TIMEOUT: _Refused(_SLOW, "the header fields did not end in time"),
    Refusal.MALFORMED: _Refused(
        Answer(400, "malformed-request", "Bad Request", "invalid"),
        "this is not a valid HTTP/1.1 request, which has one Host of a name and a port",
    ),
    Refusal.HOST: _Refused(
        Answer(421, "unknown-host", "Misdirected Request", "invalid"),
        "this port does not answer to that host name; HEED_ALLOWED_HOSTS says to which it does",
    ),
    Refusal.CODING: _Refused(
        Answer(501, "transfer-coding", "Not Implemented", "invalid"),
        "expected no Transfer-Encoding but chunked",
    ),
    Refusal.BODY_SIZE: _Refused(
        Answer(413, "body-too-large", "Content Too Large", "invalid"),
        "the body has too many bytes on the wire",
    ),
    Refusal.BODY_TIMEOUT: _Refused(_SLOW, "the body arrived too slowly"),
}


def response(
    refusal: Refusal, request_id: str, fields: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """The whole response, with the members and header fields that the application gives its own.

    Args:
        refusal: one that is answered.
        request_id: that of the log if the application has seen the request, else a new one.
        fields: those of the server, such as Date.
    """
    answer, detail, retry_after_s = _ANSWERS[refusal]
    body = orjson.dumps(body_of(answer, detail, request_id))
    lines = [f"HTTP/1.1 {answer.status} {answer.title}".encode()]
    lines += [b"%b: %b" % field for field in (*fields, *API_FIELDS)]
    lines += [
        f"content-type: {MEDIA_TYPE}".encode(),
        b"content-length: %d" % len(body),
        b"connection: close",
        f"x-request-id: {request_id}".encode(),
    ]
    if retry_after_s is not None:
        lines.append(b"retry-after: %d" % retry_after_s)
    return b"\r\n".join([*lines, b"", body])
