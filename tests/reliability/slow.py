"""Clients that hold connections and send or read next to nothing, beside ordinary load."""

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.reliability import accounts
from tests.reliability.clients import CLASSIFY, HOST
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.ladder import Gauges
from tests.reliability.load import Clock, Loaded, answered_p99_s, open_load, workload
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import running

CURVE = Curve()
SENDING_S = 10.0  # all that are slow to send are closed by then
READING_S = 30.0  # and this much longer at the most those that do not read
RESOLUTION_S = 0.75  # of our own looks, and of the service's timer
MEMORY_BYTES = 30e6
SLOWER = 1.5
QUICK = {"header_timeout_s": 3, "body_timeout_s": 2, "write_timeout_s": 6}
OPENING_S = 4.0
_HEAD = f"POST {CLASSIFY} HTTP/1.1\r\nHost: heed\r\nContent-Type: application/json\r\n".encode()
_BODY = b'{"inputs": "' + b"a" * 900
_PAGE = b"GET /openapi.json HTTP/1.1\r\nHost: heed\r\n\r\n"

Behave = Callable[[socket.socket], Awaitable[None]]


async def _silent(connection: socket.socket) -> None:
    await asyncio.get_running_loop().sock_recv(connection, 1)


async def _trickled_head(connection: socket.socket) -> None:
    await _trickle(connection, _HEAD + b"X-Slow: " + b"a" * 200)


async def _trickled_body(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, _HEAD + b"Content-Length: 1000\r\n\r\n")
    await _trickle(connection, _BODY)


async def _never_reading(connection: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, _PAGE * 8)
    await asyncio.sleep(3600)


async def _trickle(connection: socket.socket, content: bytes) -> None:
    """A byte a second, until the service hangs up."""
    loop = asyncio.get_running_loop()
    for index in range(len(content)):
        await loop.sock_sendall(connection, content[index : index + 1])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_read_to_end(connection), 1.0)
            return


async def _read_to_end(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 4096):
        pass


KINDS: Mapping[str, Behave] = {
    "silent": _silent,
    "header 1 B/s": _trickled_head,
    "body 1 B/s": _trickled_body,
    "never reading": _never_reading,
}


@dataclass
class Crowd:
    """So many connections of each kind, opened within some seconds; each kind has an own address.

    Attributes:
        at_s: on the clock of the load, when they begin to come.
        opened: of each kind.
        lasted_s: of those that the service closed, and that could see it.
    """

    port: int
    each: int
    at_s: float
    for_s: float
    opened: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    lasted_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in KINDS})

    def __call__(self, clock: Clock) -> None:
        """Open, behave, and leave after `for_s`; blocks."""
        clock.sleep_until(self.at_s)
        asyncio.run(self._run())

    async def _run(self) -> None:
        tasks = []
        for number, (host, name) in itertools.product(range(self.each), enumerate(KINDS)):
            delay_s = OPENING_S * number / self.each
            tasks.append(asyncio.create_task(self._one(name, f"127.0.0.{host + 2}", delay_s)))
        await asyncio.wait(tasks, timeout=self.for_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, name: str, host: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with _connection(host) as connection:
            await asyncio.get_running_loop().sock_connect(connection, (HOST, self.port))
            self.opened[name] += 1
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                await KINDS[name](connection)
            self.lasted_s[name].append(time.monotonic() - began)


def _connection(host: str) -> socket.socket:
    """From an address, with small buffers: what is not read fills them soon."""
    connection = socket.socket()
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    connection.bind((host, 0))
    return connection


def measure(lab: Lab) -> Mapping[str, Measured]:
    """How long each kind lasts, what it costs in memory, and what the others notice."""
    each = lab.times(500, 50)
    quiet_s, beside_s = lab.seconds(20.0, 4.0), lab.seconds(48.0, 16.0)
    rate = 0.5 * CURVE.capacity_rps
    load = workload({"without": (rate, quiet_s), "with": (rate, beside_s)}, warm_up_s=3.0)
    server = lab.fake(CURVE, **(QUICK if lab.quick else {}))
    with running(server):
        crowd = Crowd(server.port, each, 3.0 + quiet_s, beside_s - 1.0)
        gauges = Gauges(server)
        loaded = open_load(
            server, load, lab.folder / "slow.csv", lab.cores.clients, (crowd, gauges)
        )
        # Requests whose body never came are received too: the clients count others.
        account = accounts.check(server)
    return {"slow clients": _judge(loaded, crowd, gauges), "accounts": account}


def _judge(loaded: Loaded, crowd: Crowd, gauges: Gauges) -> Measured:
    start_s = loaded.starts_s["with"]
    end_s = start_s + loaded.seconds("with")
    before = gauges.between(start_s - 3.0, start_s)
    beside = gauges.between(start_s, end_s)
    memory = max(each.rss_bytes for each in beside) - max(each.rss_bytes for each in before)
    unread_s = _files_back_s(gauges, start_s, max(each.files for each in before))
    longest = {
        name: max(crowd.lasted_s[name], default=0.0) for name in KINDS if name != "never reading"
    }
    left = {name: crowd.opened[name] - len(crowd.lasted_s[name]) for name in longest}
    quiet_s, loud_s = (answered_p99_s(loaded.of(stage)) for stage in ("without", "with"))
    sent = {stage: len(loaded.of(stage)) for stage in ("without", "with")}
    return Measured(
        not any(left.values())
        and max(longest.values()) <= SENDING_S + RESOLUTION_S
        and unread_s <= OPENING_S + READING_S + RESOLUTION_S
        and memory <= MEMORY_BYTES
        and loud_s <= SLOWER * quiet_s,
        (
            *(
                Figure(value, "s", f"{n} closed after", n=crowd.opened[n])
                for n, value in longest.items()
            ),
            Figure(unread_s, "s", "all files closed, never reading too, after"),
            Figure(memory, "B", "resident memory"),
            Figure(quiet_s, "s", "p99 of the others without", n=sent["without"]),
            Figure(loud_s, "s", "with", n=sent["with"]),
        ),
        "; ".join(f"{count} {name} still open" for name, count in left.items() if count),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured("without", "with"),
    )


def _files_back_s(gauges: Gauges, start_s: float, before: int) -> float:
    """From `start_s` until the process has as many open files as before, some of the load more."""
    seen = [(at_s, usage.files) for at_s, usage in gauges.seen if at_s >= start_s + OPENING_S]
    many = [at_s for at_s, files in seen if files > before + 20]
    if not seen or (many and many[-1] == seen[-1][0]):
        return float("inf")
    return max(many, default=start_s) - start_s
