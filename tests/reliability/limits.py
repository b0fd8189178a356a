"""Header fields and bodies that are too large or lie: refused, and no memory is left behind."""

import contextlib
import gzip
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from tests.reliability import accounts
from tests.reliability.clients import CLASSIFY, HOST, Exchange, exchange, request
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import Server, running

CURVE = Curve(fixed_s=0.001, per_text_s=0.0)
MEMORY_BYTES = 2**20  # growth over 100 refusals
RECEIVE_BYTES = 256_000  # that the event loop takes from the kernel at a time
# That may be read of a body beyond its limit: the framing of its chunks, what came with the byte
# that was too much, and what is thrown away so that the client can read its answer.
EXCESS_BYTES = 65_536 + 2 * RECEIVE_BYTES
BODY_LIMIT = 2_000_000
Cases = Mapping[str, tuple[bytes, frozenset[int]]]  # what is sent, and the statuses expected
TEXT = json.dumps({"inputs": "where is my card"}).encode()


def _fields(count: int, size: int = 8) -> dict[str, object]:
    return {f"X-{number}": "a" * size for number in range(count)}


def _chunked(content: bytes, size: int) -> bytes:
    head = (
        f"POST {CLASSIFY} HTTP/1.1\r\nHost: heed\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(
        [head.encode(), *(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]
    )


HEADERS: Cases = {
    "20 KB": (request(TEXT, {"X-Large": "a" * 20_000}), frozenset({200})),
    "64 KB": (request(TEXT, {"X-Large": "a" * 64_000}), frozenset({431})),
    "1 MB": (request(TEXT, {"X-Large": "a" * 1_000_000}), frozenset({431})),
    "10 MB": (request(TEXT, {"X-Large": "a" * 10_000_000}), frozenset({431})),
    "101 fields": (request(TEXT, _fields(101)), frozenset({431})),
    "20,000 fields": (request(TEXT, _fields(20_000)), frozenset({431})),
}
_LARGE = b'{"inputs": "' + b"a" * 3_000_000 + b'"}'
BODIES: Cases = {
    "Content-Length 3 MB": (request(_LARGE), frozenset({413})),
    "chunked 3 MB": (_chunked(_LARGE, 65_536), frozenset({413})),
    "65,537 chunks of 1 byte": (_chunked(b" " * 65_537, 1), frozenset({400, 413})),
    "gzip": (request(gzip.compress(_LARGE), {"Content-Encoding": "gzip"}), frozenset({415})),
    "shorter than it says": (request(TEXT, {"Content-Length": 1000}), frozenset({0, 400, 408})),
    "longer than it says": (request(TEXT, {"Content-Length": 5}), frozenset({400})),
}


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Statuses and growth of memory, and how much of an endless body is read."""
    times = lab.times(100, 20)
    server = lab.fake(CURVE)
    with running(server):
        headers = _all(server, HEADERS, times)
        bodies = _all(server, BODIES, times)
        read = _read_of_endless(server)
        account = accounts.check(server)
    excess = Figure(read - BODY_LIMIT, "B", "read of an endless body beyond its limit")
    return {
        "header limits": headers,
        "body limits": Measured(
            bodies.held and read - BODY_LIMIT <= EXCESS_BYTES,
            (*bodies.figures, excess),
            bodies.note,
        ),
        "accounts": account,
    }


def _all(server: Server, cases: Cases, times: int) -> Measured:
    figures, problems = [], []
    for name, (raw, expected) in cases.items():
        _send(server, name, raw, times)  # until the collector and the allocator have their share
        before = server.usage().rss_bytes
        answers = _send(server, name, raw, times)
        grown = server.usage().rss_bytes - before
        wrong = [each for each in answers if each.status not in expected]
        # The answer can be lost where the client is still sending when the service hangs up.
        lost = [each for each in wrong if each.status == 0 and each.closed]
        if len(wrong) > len(lost):
            problems.append(f"{name}: {wrong[0].status}")
        if grown > MEMORY_BYTES:
            problems.append(f"{name}: memory")
        figures.append(Figure(grown, "B", f"{name}: growth", n=times))
    return Measured(not problems, tuple(figures), "; ".join(problems))


def _send(server: Server, name: str, raw: bytes, times: int) -> list[Exchange]:
    half_close = name == "shorter than it says"
    return [exchange(server.port, raw, half_close=half_close) for _ in range(times)]


def _read_of_endless(server: Server) -> int:
    """Bytes that the process reads of a chunked body that never ends.

    By the kernel's count of what it read from sockets and files; one metrics page is in it.
    """
    counter = Path(f"/proc/{server.pid}/io")
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    before = _read_bytes(counter)
    with socket.create_connection((HOST, server.port), 5) as connection:
        head = _chunked(b"", 1).removesuffix(b"0\r\n\r\n")
        with contextlib.suppress(OSError):
            connection.sendall(head)
            for _ in range(400):
                connection.sendall(chunk)
    return _read_bytes(counter) - before


def _read_bytes(counter: Path) -> int:
    return int(counter.read_text().partition("rchar: ")[2].partition("\n")[0])
