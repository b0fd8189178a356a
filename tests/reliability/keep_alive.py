"""The race of a request with the end of the idle connection that it is sent on."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import psutil

from tests.e2e.proxy import HAPROXY
from tests.reliability.clients import HOST, classify, read_reply
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.proxy import pair
from tests.reliability.server import running

CURVE = Curve(fixed_s=0.001, per_text_s=0.0001)
KEEP_ALIVE_S = 2
JITTER_S = 0.1  # that clients idle less or more than until the service closes
CONNECTIONS = 1000
LOOKED_AT = 50  # connections that are left alone, to see when the service closes them
ARRIVAL_S = 2.0  # over which connections are opened
LEAST = 0.1  # of the connections, that must be found open, and closed: else nothing raced


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Resets behind the proxy; directly, how many there are, and how many see the end in time."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    if HAPROXY is None:
        return {"keep-alive race": skip("haproxy is not installed")}
    count = lab.times(CONNECTIONS, 100)
    server = lab.fake(CURVE, keep_alive_s=KEEP_ALIVE_S)
    with running(server):
        closed_s = asyncio.run(_all(server.port, [None] * LOOKED_AT))[1]
        rng = random.Random(7)
        ends_s = min(closed_s) - JITTER_S, max(closed_s) + JITTER_S
        pauses_s = [rng.uniform(*ends_s) for _ in range(count)]
        direct, _ = asyncio.run(_all(server.port, pauses_s))
    with pair(lab, CURVE, keep_alive_s=KEEP_ALIVE_S) as (_, proxy):
        behind, _ = asyncio.run(_all(proxy.port, pauses_s))
    raced = min(direct["answered"], direct["closed before"]) >= LEAST * count
    return {
        "keep-alive race": Measured(
            behind["answered"] == count,
            (
                Figure(count - behind["answered"], "", "resets behind HAProxy", n=count),
                Figure(direct["reset"], "", "resets directly, which is not promised", n=count),
                Figure(direct["closed before"], "", "directly, closed before it was sent"),
                of_rounds(closed_s, "s", "idle connections closed after"),
                Figure(sum(ends_s) / 2, "s", "clients idled", *ends_s),
            ),
            unmeasured=() if raced else ("the requests did not meet the end of connections",),
        )
    }


async def _all(port: int, pauses_s: list[float | None]) -> tuple[Counter[str], list[float]]:
    """What became of the second request of each, and when connections left alone were closed."""
    tasks = [
        _idle(port, pause_s, ARRIVAL_S * number / len(pauses_s))
        for number, pause_s in enumerate(pauses_s)
    ]
    found = await asyncio.gather(*tasks)
    return Counter(outcome for outcome, _ in found), [seconds for _, seconds in found]


async def _idle(port: int, pause_s: float | None, delay_s: float) -> tuple[str, float]:
    """Two requests on a connection with a pause between, or one and then the end of it.

    Returns:
        `answered`, `reset` without a whole answer, or `closed before` the second was sent, as a
        client sees that looks first; and the seconds until then from the first answer.
    """
    await asyncio.sleep(delay_s)
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(classify())
    await read_reply(reader)
    began = time.monotonic()
    outcome = "reset"
    with suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(30):
            if pause_s is None:
                await reader.read()
            else:
                await asyncio.sleep(pause_s)
            if reader.at_eof():
                outcome = "closed before"
            else:
                writer.write(classify())
                if (await read_reply(reader))[0] == 200:
                    outcome = "answered"
    writer.transport.abort()
    return outcome, time.monotonic() - began
