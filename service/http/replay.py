"""A request that asks for another protocol, without that wish."""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def without_upgrade(protocol: HttpToolsProtocol) -> tuple[httptools.HttpRequestParser, bytes]:
    """A new parser for `protocol`, and the head to feed it before what followed.

    We speak HTTP/1.1 only and may ignore `Upgrade` (RFC 9110, 7.8). The parser may not: it takes
    what follows for the other protocol, so that a POST with `Upgrade: h2c`, as Java's client sends
    it, would lose its body.
    """
    old = protocol.parser
    lines = [b"%b %b HTTP/%b" % (old.get_method(), protocol.url, old.get_http_version().encode())]
    lines += [b"%b: %b" % (name, value) for name, value in protocol.headers if name != b"upgrade"]
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
    return parser, b"\r\n".join([*lines, b"", b""])
