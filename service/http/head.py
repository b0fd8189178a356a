"""What is refused of a head that the parser took: no HTTP, or not the same to all readers. Pure."""

import re
from collections.abc import Iterable

from service.http.hosts import Hosts
from service.http.refusals import Refusal

_VERSIONS = frozenset({"1.0", "1.1"})


def objection(
    version: str, target: bytes, fields: Iterable[tuple[bytes, bytes]], hosts: Hosts
) -> Refusal | None:
    """What is wrong with a request line and its header fields; None if nothing is.

    Args:
        version: of the protocol, such as `1.1`.
        target: of the request.
        fields: header fields, names in lower case.
        hosts: that are answered to.
    """
    count, refusal = 0, None
    for name, value in fields:
        if name == b"host":
            count += 1
            refusal = hosts.refusal(value)
        elif name == b"transfer-encoding":
            codings = value.lower().rpartition(b",")
            if codings[2].strip() != b"chunked" or version == "1.0":
                return Refusal.MALFORMED  # who knows where the body ends
            if codings[0]:
                return Refusal.CODING
    if version not in _VERSIONS or count > 1 or (not count and version == "1.1"):
        return Refusal.MALFORMED
    if refusal is None and target[:1] != b"/":  # http://name/path, or * of OPTIONS
        return hosts.refusal(re.split(rb"[/?#]", target.partition(b"://")[2], maxsplit=1)[0])
    return refusal


def is_http(received: bytes, method: bytes, target: bytes, *, inside: bool) -> bool:
    """Whether the request line says HTTP/1: the parser takes RTSP/1.0 and ICE/1.0 as well.

    Args:
        received: bytes that begin with the line, or hold it.
        method: that the parser read.
        target: that the parser read.
        inside: the line begins at a place in `received` that is not known.
    """
    line = b"%b %b HTTP/1." % (method, target)
    return line in received if inside else received.lstrip(b"\r\n").startswith(line)


def has_no_version(received: bytes) -> bool:
    """Whether these bytes begin with a whole line of HTTP/0.9: no header fields will follow."""
    line, ends, _ = received.lstrip(b"\r\n").partition(b"\n")
    return bool(ends) and b" HTTP/" not in line
