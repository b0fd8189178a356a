"""Clients that share HAProxy with others: what one of them does is not felt by the rest."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress

from tests.e2e.proxy import HAPROXY
from tests.reliability.clients import HOST, TEXT, classify, exchange, read_reply
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, quantile, skip
from tests.reliability.proxy import pair

CURVE = Curve(fixed_s=0.001, per_text_s=0.0001)
ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"  # neither is exempt
OTHERS = 8  # connections of other clients
RATE = 20.0  # requests a second of each
CONNECTIONS = 4096  # all that the proxy has
PATIENCE_S = 15.0  # longer than any timeout of the service: a 408 is seen
P99_S = 0.1
TRAILERS = (
    b"Connection: close",
    b"Proxy-Connection: close",
    b"Connection: keep-alive, close",
    b"Connection: upgrade\r\nUpgrade: h2c",
    b"X-Any: b",
)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Requests with trailers, and as many idle connections as there are, from one address."""
    if HAPROXY is None:
        missing = skip("haproxy is not installed")
        return {"trailers": missing, "one source": missing}
    return {"trailers": _trailers(lab), "one source": _one_source(lab)}


class Others:
    """What became of the requests of clients that do nothing unusual."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []

    async def run(self, port: int, for_s: float, *, anew: bool) -> None:
        """Send for `for_s` seconds, on kept-alive connections or on a new one for each request."""
        ends = time.monotonic() + for_s
        await asyncio.gather(*(self._one(port, ends, anew=anew) for _ in range(OTHERS)))

    async def _one(self, port: int, ends: float, *, anew: bool) -> None:
        streams = None
        while time.monotonic() < ends:
            began, outcome = time.monotonic(), "cut"
            with suppress(OSError, EOFError, TimeoutError, ValueError):
                async with asyncio.timeout(PATIENCE_S):
                    streams = streams or await asyncio.open_connection(
                        HOST, port, local_addr=(OTHER, 0)
                    )
                    streams[1].write(classify())
                    outcome = str((await read_reply(streams[0]))[0])
            self.outcomes[outcome] += 1
            self.seconds.append(time.monotonic() - began)
            if streams is not None and (anew or outcome != "200"):
                streams[1].close()
                streams = None
            await asyncio.sleep(max(0.0, began + 1 / RATE - time.monotonic()))

    @property
    def failed(self) -> int:
        """Requests without a 200."""
        return self.outcomes.total() - self.outcomes["200"]

    def figures(self) -> tuple[Figure, ...]:
        """Failures and p99."""
        return (
            Figure(
                self.failed, "", "failed requests of others", n=self.outcomes.total(), at_most=0
            ),
            Figure(quantile(self.seconds, 0.99), "s", "p99 of the others", at_most=P99_S),
        )


def _trailers(lab: Lab) -> Measured:
    count = lab.times(300, 30)
    others, statuses = Others(), Counter[int]()
    with pair(lab, CURVE) as (_, proxy):

        def attack() -> None:
            for number in range(count):
                raw = _with_trailer(TRAILERS[number % len(TRAILERS)])
                statuses[exchange(proxy.port, raw, PATIENCE_S).status] += 1

        attacker = threading.Thread(target=attack)
        attacker.start()
        asyncio.run(others.run(proxy.port, lab.seconds(15.0, 3.0), anew=False))
        attacker.join()
    refused = count - statuses[200]
    return Measured(
        not refused,
        (*others.figures(), Figure(refused, "", "with trailers that had no 200", n=count)),
        f"outcomes {dict(others.outcomes)}, with trailers {dict(statuses)}",
    )


def _with_trailer(trailer: bytes) -> bytes:
    head, _, body = classify(TEXT).partition(b"\r\n\r\n")
    fields = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    framed = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(body), body, trailer)
    return b"\r\n".join([*fields, b"Transfer-Encoding: chunked", b"", framed])


def _one_source(lab: Lab) -> Measured:
    others = Others()
    with pair(lab, CURVE) as (_, proxy), _idle(proxy.port) as count:
        asyncio.run(others.run(proxy.port, lab.seconds(15.0, 3.0), anew=True))
    figures = (Figure(count, "", "idle connections tried from one address"), *others.figures())
    return Measured(True, figures, f"outcomes {dict(others.outcomes)}")


@contextmanager
def _idle(port: int) -> Iterator[int]:
    """As many connections as the proxy takes, that say nothing; opened again when they are cut."""
    over = threading.Event()

    def attack() -> None:
        while not over.is_set():
            with ExitStack() as stack:
                for _ in range(CONNECTIONS):
                    with suppress(OSError):
                        silent = socket.create_connection((HOST, port), 1.0, (ATTACKER, 0))
                        stack.enter_context(silent)
                    if over.is_set():
                        return
                over.wait(5.0)

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        time.sleep(2.0)
        yield CONNECTIONS
    finally:
        over.set()
        attacker.join()
