"""Answers made to be large: slow to read, dear to explain, of ten thousand labels."""

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import psutil

from tests.artifacts import write_artifact
from tests.reliability import accounts
from tests.reliability.clients import HOST, TEXT, Client, request
from tests.reliability.lab import Lab
from tests.reliability.load import Clock
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.probes import Probes
from tests.reliability.server import Server, running

LABELS = 10_000
MEMORY_BYTES = 60e6
SLOWER = 10.0
LAG_S = 0.020
HOSTILE = 10  # clients
TEXTS, CHARS = 64, 20_000  # of a request, the defaults
BODY_BYTES = 2_000_000
KINDS = ("\x7f", "\ufdfa", "\U0001f916", "…", "ab ", "e\u0301", "犬.")
SMALL = request(json.dumps({"inputs": TEXT * 2, "explain": "attention"}).encode())
READ_BYTES, READ_S = 4096, 1.0  # what a slow reader takes, and how often

Send = Callable[[Client, int], Awaitable[object]]


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Memory beside slow readers, time beside dear texts, and how long the loop stands still."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    labels = tuple(f"label number {number}" for number in range(LABELS))
    wide = lab.service(model=write_artifact(lab.fresh("answers") / "wide", labels=labels))
    with running(wide):
        many = _many_labels(wide, lab)
        readers = _slow_readers(wide, lab)
    plain = lab.service(model=lab.tiny)
    with running(plain):
        explained = _explained(plain, lab)
        account = accounts.check(plain)
    return {
        "slow readers": readers,
        "small explained": explained,
        "many labels": many,
        "accounts": account,
    }


def _ask(texts: list[str], **members: object) -> bytes:
    body = json.dumps({"inputs": texts, **members}, ensure_ascii=False).encode()
    return request(body)


# Many labels


def _many_labels(server: Server, lab: Lab) -> Measured:
    """Eight clients ask for all that is allowed, and for what is by default."""
    texts = [TEXT] * TEXTS
    asked = [_ask(texts), _ask(texts, top_k=1_000), _ask([TEXT], top_k=LABELS)]
    asked += [_ask(texts, top_k=1_000, explain="attention"), _ask(texts, top_k=LABELS)]
    statuses: Counter[int] = Counter()

    async def send(client: Client, number: int) -> None:
        statuses[(await client.send(asked[number % len(asked)], 30.0)).status] += 1

    with watched() as watch:
        lags_s = _lags(server, send, 8, lab.seconds(15.0, 3.0))
    expected = {200, 422, 503, 504}
    return Measured(
        set(statuses) <= expected and statuses[200] > 0,
        (
            Figure(
                quantile(lags_s, 0.99), "s", "p99 of /health/live", n=len(lags_s), at_most=LAG_S
            ),
            Figure(max(lags_s), "s", "its longest"),
            *(Figure(count, "", f"answers {status}") for status, count in sorted(statuses.items())),
        ),
        noise=watch.noise,
    )


def _lags(server: Server, send: Send, clients: int, seconds: float) -> list[float]:
    """How long the loop keeps others waiting, by a health probe a hundred times a second."""
    probes, clock = Probes(server, ("/health/live",), 0.01), Clock()
    clock.start()

    async def both() -> None:
        asking = asyncio.create_task(asyncio.to_thread(probes, clock))
        await _crowd(server, send, clients, seconds)
        clock.over.set()
        await asking

    asyncio.run(both())
    return [probe.seconds for probe in probes.seen]


async def _crowd(server: Server, send: Send, clients: int, seconds: float) -> None:
    """Each client sends one after the other."""
    end = time.monotonic() + seconds

    async def one(first: int) -> None:
        client, number = Client(server.port), first
        while time.monotonic() < end:
            await send(client, number)
            number += 1
        client.close()

    await asyncio.gather(*map(one, range(clients)))


# Slow readers


def _slow_readers(server: Server, lab: Lab) -> Measured:
    """The largest answers, pipelined, to clients of which each reads 4 KiB a second."""
    count, seconds = lab.times(1000, 50), lab.seconds(45.0, 8.0)
    large = _ask([TEXT] * TEXTS, top_k=1_000)
    before = server.usage().rss_bytes
    most = 0

    async def reader(number: int) -> None:
        await asyncio.sleep(10.0 * number / count if not lab.quick else 0.0)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError), socket.socket() as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
            await loop.sock_connect(connection, (HOST, server.port))
            await loop.sock_sendall(connection, large * 2)
            while True:
                if not await loop.sock_recv(connection, READ_BYTES):
                    return
                await asyncio.sleep(READ_S)

    async def all_of_them() -> None:
        nonlocal most
        tasks = [asyncio.create_task(reader(number)) for number in range(count)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            most = max(most, server.usage().rss_bytes)
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    small = asyncio.run(Client(server.port).send(_ask([TEXT])))
    cut = server.metrics().get('heed_refused_connections_total{reason="write_timeout"}', 0.0)
    return Measured(
        small.status == 200,
        (
            Figure(most - before, "B", "resident memory", n=count, at_most=MEMORY_BYTES),
            Figure(cut, "", "readers cut"),
        ),
        "" if small.status == 200 else f"afterwards a small request got {small.status}",
    )


# Dear texts


def _explained(server: Server, lab: Lab) -> Measured:
    """A small explained request alone, and beside ten clients that send the dearest texts."""
    hostile = [_ask(_texts(kind), explain="attention") for kind in KINDS]
    seconds = lab.seconds(15.0, 3.0)
    sizes: list[int] = []
    statuses: Counter[int] = Counter()

    async def attack(client: Client, number: int) -> None:
        reply = await client.send(hostile[number % len(hostile)], 30.0)
        statuses[reply.status] += 1
        sizes.append(len(reply.body))

    async def small(over: asyncio.Event) -> list[float]:
        client, taken_s = Client(server.port), []
        while not over.is_set():
            reply = await client.send(SMALL)
            taken_s.append(reply.seconds if reply.status == 200 else float("inf"))
            await asyncio.sleep(0.01)
        client.close()
        return taken_s

    async def both(with_attack: bool) -> list[float]:
        over = asyncio.Event()
        asking = asyncio.create_task(small(over))
        if with_attack:
            await _crowd(server, attack, HOSTILE, seconds)
        else:
            await asyncio.sleep(lab.seconds(5.0, 1.0))
        over.set()
        return await asking

    with watched() as watch:
        alone_s = quantile(asyncio.run(both(with_attack=False)), 0.95)
        beside = asyncio.run(both(with_attack=True))
    beside_s = quantile(beside, 0.95)
    times = beside_s / alone_s
    return Measured(
        set(statuses) <= {200, 503, 504} and statuses[200] > 0,
        (
            Figure(
                times, "times", "p95 beside them over that alone", n=len(beside), at_most=SLOWER
            ),
            Figure(alone_s, "s", "p95 alone"),
            Figure(beside_s, "s", f"beside {HOSTILE}"),
            Figure(max(sizes, default=0), "B", "their largest answer"),
            *(Figure(count, "", f"answers {status}") for status, count in sorted(statuses.items())),
        ),
        noise=watch.noise,
    )


def _texts(unit: str) -> list[str]:
    """As many and as long as a request may have."""
    text = (unit * CHARS)[:CHARS]
    return [text] * min(TEXTS, BODY_BYTES // (len(text.encode()) + 4))
