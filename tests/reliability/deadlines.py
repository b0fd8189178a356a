"""What clients may ask of a deadline, and how soon they hear that it has passed."""

import asyncio
from collections.abc import Mapping

import psutil

from tests.reliability import accounts
from tests.reliability.clients import Client, Reply, classify
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.server import Server, running

LONGEST_S = 0.5  # the service's own
SHORT_S = 0.1
SLACK_S = 0.05
HEADER = "X-Request-Timeout-Ms"
TOGETHER = 4  # fewer than a batch: more would rightly be refused, as too late
GARBAGE = ("0", "-5", "1e3", "soon", "1.5", "")


def measure(lab: Lab) -> Mapping[str, Measured]:
    """The engine is busy with one text for as long as this takes."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    server = lab.fake(Curve(), request_timeout_s=LONGEST_S, engine_stall_s=600)
    with running(server), watched() as watch:
        server.tell("block")
        answers, computed = asyncio.run(_ask(server, lab.times(5, 1)))
        garbage = asyncio.run(_garbage(server))
        account = accounts.check(server)
        server.tell("unblock")
    wrong = [value for value, reply in zip(GARBAGE, garbage, strict=True) if reply.status != 400]
    return {
        "expiry": _expiry(answers["shorter"], computed, watch.noise),
        "shorter only": _shorter(answers, wrong, watch.noise),
        "accounts": account,
    }


async def _ask(server: Server, times: int) -> tuple[dict[str, list[Reply]], int]:
    """Replies to requests of each kind, and how many texts the engine was given for them."""
    client = Client(server.port)
    await client.send(classify())  # the engine is busy with it from now on
    before = server.tell("rows")
    asked = {
        "shorter": classify(headers={HEADER: round(1e3 * SHORT_S)}),
        "longer": classify(headers={HEADER: 60_000}),
        "none": classify(),
    }
    answers = {
        name: [
            reply
            for _ in range(times)
            for reply in await asyncio.gather(*(client.send(raw) for _ in range(TOGETHER)))
        ]
        for name, raw in asked.items()
    }
    client.close()
    return answers, server.tell("rows") - before


async def _garbage(server: Server) -> list[Reply]:
    client = Client(server.port)
    replies = [await client.send(classify(headers={HEADER: value})) for value in GARBAGE]
    client.close()
    return replies


def _expiry(replies: list[Reply], computed: int, noise: tuple[str, ...]) -> Measured:
    statuses = sorted({reply.status for reply in replies})
    after_s = [reply.seconds for reply in replies]
    return Measured(
        statuses == [504]
        and min(after_s) >= SHORT_S
        and max(after_s) <= SHORT_S + SLACK_S
        and not computed,
        (
            Figure(quantile(after_s, 0.5), "s", "answered after", min(after_s), max(after_s)),
            Figure(computed, "", "of them computed", n=len(replies)),
        ),
        f"statuses {statuses}",
        noise=noise,
    )


def _shorter(
    answers: Mapping[str, list[Reply]], wrong: list[str], noise: tuple[str, ...]
) -> Measured:
    longest = {name: max(reply.seconds for reply in answers[name]) for name in ("longer", "none")}
    return Measured(
        not wrong and max(longest.values()) <= LONGEST_S + SLACK_S,
        tuple(Figure(value, "s", f"{name} asked for, at most") for name, value in longest.items()),
        f"not refused: {wrong}" if wrong else f"{len(GARBAGE)} unusable values are 400",
        noise=noise,
    )
