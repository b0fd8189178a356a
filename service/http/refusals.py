"""What the protocol guard answers, as bytes made once: it costs next to nothing to refuse."""

from enum import StrEnum
from typing import NamedTuple

import orjson

MEDIA_TYPE = b"application/problem+json"


class Refusal(StrEnum):
    """Why a connection was refused or cut. A closed set, fit for the label of a metric."""

    CONNECTIONS = "connections"  # 503: `max_connections` are open
    PEER_CONNECTIONS = "peer_connections"  # 503: the address has `max_connections_per_peer`
    HEADERS = "headers"  # 431: too many bytes or fields, before the body or behind it
    HEADER_TIMEOUT = "header_timeout"  # 408, or closed without a word if nothing was sent
    MALFORMED = "malformed"  # 400: no HTTP, or a message whose end two readers may see differently
    BODY_SIZE = "body_size"  # 413: the bytes of the body with its chunk framing
    BODY_TIMEOUT = "body_timeout"  # 408: a pause, or slower than `min_body_rate`
    PIPELINED = "pipelined"  # closed after the answers to the requests before
    WRITE_TIMEOUT = "write_timeout"  # cut: the client does not read


class Answer(NamedTuple):
    """A response in two pieces; header fields such as Date go in between."""

    status_line: bytes
    rest: bytes


def _answer(status: str, slug: str, detail: str, fields: bytes = b"") -> Answer:
    code, title = status.split(" ", 1)
    body = orjson.dumps(
        {
            "type": f"urn:heed:problem:{slug}",
            "title": title,
            "status": int(code),
            "detail": detail,
        }
    )
    head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n"
    status_line = f"HTTP/1.1 {status}\r\n".encode()
    return Answer(status_line, head % (MEDIA_TYPE, len(body), fields) + body)


_RETRY = b"retry-after: 1\r\n"

ANSWERS = {
    Refusal.CONNECTIONS: _answer(
        "503 Service Unavailable", "too-many-connections", "all connections are in use", _RETRY
    ),
    Refusal.PEER_CONNECTIONS: _answer(
        "503 Service Unavailable",
        "too-many-connections",
        "all connections that one address may have are in use",
        _RETRY,
    ),
    Refusal.HEADERS: _answer(
        "431 Request Header Fields Too Large",
        "header-too-large",
        "the request line and header fields have too many bytes, or there are too many fields",
    ),
    Refusal.HEADER_TIMEOUT: _answer(
        "408 Request Timeout", "request-timeout", "the header fields did not end in time"
    ),
    Refusal.MALFORMED: _answer(
        "400 Bad Request", "malformed-request", "this is not a valid HTTP/1.1 request"
    ),
    Refusal.BODY_SIZE: _answer(
        "413 Content Too Large", "body-too-large", "the body has too many bytes on the wire"
    ),
    Refusal.BODY_TIMEOUT: _answer(
        "408 Request Timeout", "request-timeout", "the body arrived too slowly"
    ),
}
