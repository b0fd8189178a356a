"""Clients that try again: the service keeps its goodput, and they do what it asks of them."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
import uvloop

from loadtest.schedule import arrival_times
from tests.reliability import accounts
from tests.reliability.clients import Client, Reply, classify
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import running

CURVE = Curve()
DEADLINE_S = 0.25
FACTOR = 1.5  # offered first attempts, in capacities
RETRIES = 3
BUDGET = 0.1  # retries that a client allows itself, of its requests


@dataclass
class Storm:
    """Open-loop clients; a refused one waits as long as it is told, and up to a half longer.

    Attributes:
        budget: most retries, as a share of the requests so far.
        answers: on time and late 200s, and attempts, by the second of their end.
        untold: refusals that did not say when to come again.
    """

    budget: float
    requests: int = 0
    attempts: int = 0
    untold: int = 0
    on_time_at: list[float] = field(default_factory=list)

    async def run(self, port: int, seconds: float) -> None:
        """Send the schedule, wait for the last answer to its last attempt."""
        loop, client = asyncio.get_running_loop(), Client(port)
        began = loop.time()
        rate = FACTOR * CURVE.capacity_rps
        tasks = []
        for due_s in arrival_times("poisson", rate, rate, seconds, seed=7):
            await asyncio.sleep(max(0.0, began + due_s - loop.time()))
            tasks.append(asyncio.create_task(self._request(client, began, began + due_s)))
        await asyncio.gather(*tasks)
        client.close()

    async def _request(self, client: Client, began: float, due: float) -> None:
        """Attempts, the first of which counts from when it was due."""
        loop = asyncio.get_running_loop()
        self.requests += 1
        for attempt in range(RETRIES + 1):
            if attempt and self.attempts - self.requests >= self.budget * self.requests:
                return
            self.attempts += 1
            reply = await client.send(classify())
            if reply.status == 200 and loop.time() - due <= DEADLINE_S:
                self.on_time_at.append(loop.time() - began)
            if reply.status not in (503, 429):
                return
            await asyncio.sleep(self._pause_s(reply))
            due = loop.time()

    def _pause_s(self, reply: Reply) -> float:
        told = reply.headers.get("retry-after")
        self.untold += told is None
        return float(told or 1) * random.uniform(1.0, 1.5)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Goodput with every client retrying three times, and with a retry budget of 10 %."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    seconds = lab.seconds(20.0, 5.0)
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    storms = {"three retries": Storm(budget=float(RETRIES)), "budget of 10 %": Storm(BUDGET)}
    with running(server), watched() as watch:
        for storm in storms.values():
            uvloop.run(storm.run(server.port, seconds))
        account = accounts.check(server)
    goodput = {
        name: sum(at_s <= seconds for at_s in storm.on_time_at) / seconds / CURVE.capacity_rps
        for name, storm in storms.items()
    }
    amplified = {name: storm.attempts / storm.requests for name, storm in storms.items()}
    untold = sum(storm.untold for storm in storms.values())
    figures = (
        *(Figure(goodput[n], "share", f"goodput, {n}", n=storms[n].requests) for n in storms),
        *(Figure(amplified[n], "attempts each", n) for n in storms),
        Figure(untold, "", "refusals without Retry-After"),
    )
    held = (
        min(goodput.values()) >= 0.95
        and not untold
        and round(amplified["budget of 10 %"], 3) <= 1.1
    )
    return {"retries": Measured(held, figures, noise=watch.noise), "accounts": account}
