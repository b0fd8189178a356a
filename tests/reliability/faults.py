"""An engine that fails or hangs, and clients that leave."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence

import psutil

from loadtest.schedule import arrival_times
from tests.reliability import accounts
from tests.reliability.clients import Client, Reply, classify, exchange
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured
from tests.reliability.serve import POISON
from tests.reliability.server import Server, running

CURVE = Curve()
DEADLINE_S = 0.25
NOT_READY_S = 2.0
SLACK_S = 1.0  # beyond its deadline, that no request may wait for an engine that hangs
LEFT_S = 0.5  # of five hundred that leave at once; one alone is noticed within 50 ms


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Failures of the engine, a hang, and clients that leave."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    return {
        "engine failures": _failures(lab),
        **_abandoned(lab),
        "hang": _hang(lab),
    }


def _failures(lab: Lab) -> Measured:
    """A poisoned text among fifteen others, for each way to fail; then one more that is sound."""
    server = lab.fake(CURVE)
    problems = []
    with running(server):
        for how in ("raise", "nan", "shape"):
            server.tell("fail", how=how)
            replies, poisoned = asyncio.run(_with_poison(server.port))
            statuses = [reply.status for reply in replies]
            kind = json.loads(poisoned.body or b"{}").get("type", "")
            if statuses != [200] * len(replies) or poisoned.status != 500 or "engine" not in kind:
                problems.append(f"{how}: {poisoned.status} {kind}, others {sorted(set(statuses))}")
        server.tell("fail", how="none")
        if exchange(server.port, classify(POISON)).status != 200:
            problems.append("the service did not recover")
        account = accounts.check(server)
    problems += [account.note] if not account.held else []
    return Measured(
        not problems, (Figure(3, "ways to fail, 15 neighbours each"),), "; ".join(problems)
    )


async def _with_poison(port: int) -> tuple[Sequence[Reply], Reply]:
    client = Client(port)
    texts = [*[classify()] * 7, classify(POISON), *[classify()] * 8]
    replies = await asyncio.gather(*(client.send(raw) for raw in texts))
    client.close()
    return [*replies[:7], *replies[8:]], replies[7]


def _abandoned(lab: Lab) -> Mapping[str, Measured]:
    """A thousand requests wait for an engine that stands still, and every second client leaves."""
    count = lab.times(1000, 100)
    server = lab.fake(CURVE, request_timeout_s=60, shutdown_grace_s=60, engine_stall_s=60)
    with running(server):
        before = server.tell("rows")
        server.tell("block")
        noticed_s, replies = asyncio.run(_half_leaves(server, count))
        computed = server.tell("rows") - before
        account = accounts.check(server)
    stayed = sum(reply.status == 200 for reply in replies)
    return {
        "abandoned work": Measured(
            computed == stayed == len(replies) and noticed_s <= LEFT_S,
            (
                Figure(count // 2, "", "left", n=count),
                Figure(noticed_s, "s", "all of them noticed after"),
                Figure(computed - stayed, "", "texts computed for nobody"),
            ),
        ),
        "accounts": account,
    }


async def _half_leaves(server: Server, count: int) -> tuple[float, list[Reply]]:
    """Seconds until the service has noticed, and the replies to those that stayed."""
    client = Client(server.port)
    first = asyncio.create_task(client.send(classify(), 60.0))  # the engine stops with it
    await asyncio.sleep(0.3)
    staying = [asyncio.create_task(client.send(classify(), 60.0)) for _ in range(count // 2)]
    leaving = [asyncio.create_task(client.leave(classify(), 3.0)) for _ in range(count // 2)]
    await asyncio.gather(*leaving)
    noticed_s = await asyncio.to_thread(_await_cancelled, server, count // 2)
    server.tell("unblock")
    replies = await asyncio.gather(first, *staying)
    client.close()
    return noticed_s, replies


def _await_cancelled(server: Server, count: int) -> float:
    """Seconds until so many requests are counted as cancelled, at most ten."""
    began, name = time.monotonic(), 'heed_requests_total{outcome="cancelled"}'
    while server.metrics()[name] < count and time.monotonic() - began < 10.0:
        time.sleep(0.005)
    return time.monotonic() - began


def _hang(lab: Lab) -> Measured:
    """The engine stops for ever beside half the load that it can take."""
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    server.start()
    try:
        with watched() as watch:
            replies, began, unready = asyncio.run(_until_gone(server))
        code = server.process.wait(10.0) if server.process else 0
        gone_s = time.monotonic() - began
    finally:
        server.stop(within_s=1.0)
    waited_s = max(reply.seconds for reply in replies)
    unready_s = unready - began
    return Measured(
        unready_s <= NOT_READY_S and code != 0 and waited_s <= DEADLINE_S + SLACK_S,
        (
            Figure(unready_s, "s", "not ready after"),
            Figure(gone_s, "s", "gone after"),
            Figure(code, "", "exit code"),
            Figure(waited_s, "s", "longest wait of a request", n=len(replies)),
        ),
        noise=watch.noise,
    )


async def _until_gone(server: Server) -> tuple[list[Reply], float, float]:
    """Replies, and the moments of the hang and of the first probe that is not 200."""
    loop, client = asyncio.get_running_loop(), Client(server.port)
    tasks: list[asyncio.Task[Reply]] = []
    hung = 0.0
    watcher: asyncio.Task[float] | None = None
    begin, rate = loop.time(), 0.5 * CURVE.capacity_rps
    for due_s in arrival_times("poisson", rate, rate, 6.0, seed=7):
        await asyncio.sleep(max(0.0, begin + due_s - loop.time()))
        if watcher is None and due_s > 1.0:
            server.tell("block")
            hung = time.monotonic()
            watcher = asyncio.create_task(asyncio.to_thread(_await_unready, server))
        if server.process is None or server.process.poll() is not None:
            break
        tasks.append(asyncio.create_task(client.send(classify())))
    replies = await asyncio.gather(*tasks)
    assert watcher is not None
    return list(replies), hung, await watcher


def _await_unready(server: Server) -> float:
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        try:
            if server.get("/health/ready", 1.0).status != 200:
                break
        except OSError:
            break
        time.sleep(0.01)
    return time.monotonic()
