"""Memory, files, tasks and threads over many requests, not all of them sound."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
import uvloop

from loadtest.statistics import slope
from loadtest.texts import read_texts
from tests.reliability import accounts
from tests.reliability.clients import Client, classify, request
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, of_slope
from tests.reliability.server import Server, running

BYTES = 20.0  # growth a request
USERS = 48
STEP = 5_000  # requests between two looks
SPARE = 3  # files and tasks may differ by what a connection that just closes holds

# Of each hundred requests; the others are sound and of one text.
BATCHES, INVALID, LEFT, HURRIED = 5, 5, 5, 5


@dataclass
class Sample:
    """The process with nothing in flight, after so many requests."""

    requests: int
    rss_bytes: int
    files: int
    threads: int
    tasks: int


@dataclass
class Traffic:
    """Clients that take turns through one sequence of requests.

    Attributes:
        statuses: of the answers; 0 is none.
    """

    port: int
    statuses: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        texts = read_texts()
        self._sound = itertools.cycle([classify(text) for text in texts])
        self._batch = request(json.dumps({"inputs": texts[:4]}).encode())
        self._invalid = itertools.cycle(
            [request(b'{"inputs": '), request(b'{"inputs": ""}'), request(b'{"model": "x"}')]
        )
        self._hurried = classify(texts[0], {"X-Request-Timeout-Ms": 1})

    async def send(self, count: int) -> None:
        """So many requests over kept-alive connections; returns when all are answered."""
        client, numbers = Client(self.port), iter(range(count))
        async with asyncio.TaskGroup() as group:
            for _ in range(USERS):
                group.create_task(self._user(client, numbers))
        client.close()

    async def _user(self, client: Client, numbers: "itertools.count[int]") -> None:
        for number in numbers:
            kind = number % 100
            if kind < LEFT:
                await client.leave(next(self._sound), after_s=0.001 * (number % 3))
                continue
            if kind < LEFT + INVALID:
                raw = next(self._invalid)
            elif kind < LEFT + INVALID + HURRIED:
                raw = self._hurried
            elif kind < LEFT + INVALID + HURRIED + BATCHES:
                raw = self._batch
            else:
                raw = next(self._sound)
            self.statuses[(await client.send(raw)).status] += 1


def measure(lab: Lab) -> Mapping[str, Measured]:
    """The slope of resident memory over requests, after a warm-up."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    warm_up, steps = lab.times(30_000, 2_000), lab.times(54, 4)
    step = lab.times(STEP, 500)
    server = lab.service()
    with running(server):
        traffic = Traffic(server.port)
        uvloop.run(traffic.send(warm_up))
        samples = [_look(server, 0)]
        for number in range(1, steps + 1):
            uvloop.run(traffic.send(step))
            samples.append(_look(server, number * step))
        account = accounts.check(server)
    return {"leak": _judge(samples, traffic.statuses), "accounts": account}


def _look(server: Server, requests: int) -> Sample:
    accounts.settled(server)
    usage = server.usage()
    return Sample(requests, usage.rss_bytes, usage.files, usage.threads, server.tell("tasks"))


def _judge(samples: list[Sample], statuses: Counter[int]) -> Measured:
    numbers = [float(sample.requests) for sample in samples]
    rise, error = slope(numbers, [float(sample.rss_bytes) for sample in samples])
    growth = of_slope(rise, error, len(samples), "B", "a request", at_most=BYTES)
    first, last = samples[0], samples[-1]
    differences = {
        name: getattr(last, name) - getattr(first, name) for name in ("files", "threads", "tasks")
    }
    answered = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    return Measured(
        all(value <= SPARE for value in differences.values()),
        (
            growth,
            Figure(last.rss_bytes - first.rss_bytes, "B", f"over {last.requests:,} requests"),
            *(Figure(value, "", f"more {name}") for name, value in differences.items()),
        ),
        f"answers {answered}, others left",
    )
