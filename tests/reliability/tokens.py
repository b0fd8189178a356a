"""Texts made to keep a tokeniser busy: refused before it, or done beside the event loop."""

import asyncio
import json
import random
from collections.abc import Mapping

import psutil

from tests.reliability import accounts
from tests.reliability.clients import Client, Reply, request
from tests.reliability.lab import Lab
from tests.reliability.load import Clock
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.probes import Probes
from tests.reliability.server import Server, running

CAP = 20_000  # characters, the default
REFUSED_S = 0.005
AT_CAP_S = 0.040
LAG_S = 0.020
CROWD = 4  # clients that send texts of the longest length allowed, one after the other
_WORDS = ("card", "refund", "where", "please", "never", "again", "unbelievable", "yesterday")


def _words(size: int, rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=size // 4))[:size]


def _ideographs(size: int, rng: random.Random) -> str:
    return "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(size))


KINDS = {
    "words": _words,
    "one word": lambda size, _: "ab" * (size // 2),
    "ideographs": _ideographs,
    "combining marks": lambda size, _: ("e" + "\u0301" * 19) * (size // 20),
    "joined emoji": lambda size, _: "\U0001f468\u200d\U0001f469\u200d" * (size // 4),
    "18 letters in one": lambda size, _: "\ufdfa" * size,
    "controls": lambda size, _: "\x7f" * size,
    "unknown letters": lambda size, _: "\ue000" * size,
    "spaces and dashes": lambda size, _: " -" * (size // 2),
}


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Seconds of a text of 500,000 characters, of one at the limit, and of probes meanwhile."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    rng = random.Random(7)
    times = lab.times(100, 10)
    server = lab.service()
    with running(server), watched() as watch:
        # Under two million bytes in every script: the limit of the body would come first.
        too_long = {name: make(500_000, rng) for name, make in KINDS.items()}
        refused = asyncio.run(_each(server, too_long, times))
        at_cap = {name: make(CAP, rng) for name, make in KINDS.items()}
        allowed = asyncio.run(_each(server, at_cap, times))
        lags = _lag(server, list(at_cap.values()), lab.seconds(10.0, 2.0))
        account = accounts.check(server)
    inside = server.durations_s("ok", "invalid")
    parts = [
        _part("refused", refused, inside["invalid"], 422, REFUSED_S),
        _part("at the limit", allowed, inside["ok"], 200, AT_CAP_S),
    ]
    return {
        "tokeniser": Measured(
            all(part.held for part in parts) and lags[0].value <= LAG_S,
            (*(figure for part in parts for figure in part.figures), *lags),
            "; ".join(part.note for part in parts if part.note),
            noise=watch.noise,
        ),
        "accounts": account,
    }


async def _each(server: Server, texts: Mapping[str, str], times: int) -> Mapping[str, list[Reply]]:
    """Each text so many times, one after the other."""
    client = Client(server.port)
    raw = {
        name: request(json.dumps({"inputs": text}, ensure_ascii=False).encode())
        for name, text in texts.items()
    }
    replies = {name: [await client.send(each) for _ in range(times)] for name, each in raw.items()}
    client.close()
    return replies


def _part(
    what: str,
    replies: Mapping[str, list[Reply]],
    inside_s: list[float],
    status: int,
    limit_s: float,
) -> Measured:
    """The slowest kind by its p99, as the client sees it; all kinds inside the service."""
    wrong = {name for name, each in replies.items() if any(r.status != status for r in each)}
    seconds = {name: [reply.seconds for reply in each] for name, each in replies.items()}
    slowest = max(seconds, key=lambda name: quantile(seconds[name], 0.99))
    p50_s, p99_s = (quantile(seconds[slowest], fraction) for fraction in (0.5, 0.99))
    count = sum(map(len, replies.values()))
    return Measured(
        not wrong and p99_s <= limit_s,
        (
            Figure(p99_s, "s", f"{what}, {slowest}, p99", n=len(seconds[slowest])),
            Figure(p50_s, "s", "its median"),
            Figure(quantile(inside_s[:count], 0.99), "s", f"{what}, in the service, p99", n=count),
        ),
        f"{', '.join(sorted(wrong))}: not {status}" if wrong else "",
    )


def _lag(server: Server, texts: list[str], seconds: float) -> tuple[Figure, Figure]:
    """How long the event loop keeps others waiting, by a health probe a hundred times a second."""
    probes, clock = Probes(server, ("/health/live",), 0.01), Clock()

    async def send_until(end: float, client: Client) -> None:
        for index in range(10**9):
            if asyncio.get_running_loop().time() > end:
                return
            body = json.dumps({"inputs": texts[index % len(texts)]}, ensure_ascii=False)
            await client.send(request(body.encode()))

    async def crowd() -> None:
        end = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(send_until(end, Client(server.port)) for _ in range(CROWD)))

    clock.start()
    asking = asyncio.to_thread(probes, clock)

    async def both() -> None:
        task = asyncio.create_task(asking)
        await crowd()
        clock.over.set()
        await task

    asyncio.run(both())
    lags_s = [probe.seconds for probe in probes.seen]
    return (
        Figure(
            quantile(lags_s, 0.99),
            "s",
            f"p99 of /health/live beside {CROWD} such clients",
            n=len(lags_s),
        ),
        Figure(max(lags_s), "s", "its longest"),
    )
