"""Load from the project's own open-loop generator, with a record of every request."""

import csv
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from loadtest.histogram import Distribution
from loadtest.plan import closed_plan, open_plan
from loadtest.result import DROPPED, OK, Run
from loadtest.runner import run_plan
from loadtest.workload import Mix, Texts, Workload, WorkloadStage
from tests.reliability.machine import watched
from tests.reliability.measured import quantile
from tests.reliability.server import Server

FULL = Texts(lengths=(160, 160))  # characters: more than 32 tokens, where the tiny artifact cuts
GIVE_UP_S = 3.0  # clients wait for so long, longer than any deadline of a measurement
ACHIEVED = 0.99
LAG_S = 0.0125  # 5 % of the deadline of 250 ms, as the gate allows
GENERATOR_CPU = 0.8


class Sent(NamedTuple):
    """One request; moments are seconds since the start of the run."""

    stage: str
    kind: str
    due_s: float
    sent_s: float
    end_s: float
    outcome: str

    @property
    def latency_s(self) -> float:
        """From when it was due."""
        return self.end_s - self.due_s


@dataclass
class Clock:
    """When the load began, for what goes on beside it."""

    began: float = math.nan
    started: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """It is zero now."""
        self.began = time.monotonic()
        self.started.set()

    def sleep_until(self, at_s: float) -> None:
        """Until so many seconds after the first request of the run; at once if that is past."""
        self.started.wait()
        time.sleep(max(0.0, self.began + at_s - time.monotonic()))

    def now_s(self) -> float:
        """Seconds since the first request of the run."""
        return time.monotonic() - self.began


@dataclass(frozen=True)
class Loaded:
    """What became of the load.

    Attributes:
        sent: all requests in the order in which they were answered, those of the warm-up too.
        starts_s: of each stage, since the start of the run.
        noise: what disturbed the machine meanwhile.
    """

    run: Run
    sent: list[Sent]
    starts_s: Mapping[str, float]
    noise: tuple[str, ...]

    def of(self, stage: str, kind: str | None = None) -> list[Sent]:
        """The requests due in a stage, of one kind if one is named."""
        return [each for each in self.sent if each.stage == stage and kind in (None, each.kind)]

    def seconds(self, stage: str) -> float:
        """Length of a stage."""
        return next(each.duration_s for each in self.run.stages if each.name == stage)

    @property
    def outcomes(self) -> Counter[str]:
        """How often what happened."""
        return Counter(each.outcome for each in self.sent)

    def unmeasured(self, *stages: str) -> tuple[str, ...]:
        """Why these stages say nothing: the generator was the limit."""
        found = []
        for stage in (each for each in self.run.stages if each.name in stages):
            requests = self.of(stage.name)
            dropped = stage.lost + sum(each.outcome == DROPPED for each in requests)
            if requests and dropped > (1 - ACHIEVED) * len(requests):
                found.append(f"the generator left out {dropped} of {len(requests)} at {stage.name}")
            lag_s = Distribution([stage.lag]).quantile(0.99)
            if not lag_s <= LAG_S:
                found.append(f"the generator was {1e3 * lag_s:.0f} ms late at {stage.name}")
        return tuple(found)


def on_time(requests: Sequence[Sent], deadline_s: float) -> int:
    """Proper answers within the deadline, counted from when each request was due."""
    return sum(each.outcome == OK and each.latency_s <= deadline_s for each in requests)


def answered_p99_s(requests: Sequence[Sent]) -> float:
    """Of the proper answers, from when they were due."""
    return quantile([each.latency_s for each in requests if each.outcome == OK], 0.99)


def workload(
    stages: Mapping[str, tuple[float, float]],
    *,
    arrivals: Literal["poisson", "constant"] = "poisson",
    warm_up_s: float = 3.0,
    texts: Texts = FULL,
    mix: Mix | None = None,
    headers: Mapping[Any, dict[str, str]] | None = None,
    timeout_s: float = GIVE_UP_S,
) -> Workload:
    """Stages by their names, each with its requests per second and its seconds."""
    planned = tuple(
        WorkloadStage(name=name, rate=rate, end_rate=rate, duration_s=seconds)
        for name, (rate, seconds) in stages.items()
    )
    return Workload(
        arrivals=arrivals,
        warm_up_s=warm_up_s,
        timeout_s=timeout_s,
        texts=texts,
        mix=mix or Mix(single=1.0),
        headers=dict(headers or {}),
        stages=planned,
    )


def open_load(
    server: Server,
    load: Workload,
    records: Path,
    cores: frozenset[int],
    beside: Sequence[Callable[[Clock], None]] = (),
    *,
    url: str | None = None,
) -> Loaded:
    """Run an open loop against a server.

    Args:
        server: gets the load.
        load: see `workload`.
        records: file for the records, written anew.
        cores: that the generator, and this process, run on.
        beside: called each on a thread of its own; the first request starts their clock.
        url: of a proxy in front of the server; None is the server itself.
    """
    psutil.Process().cpu_affinity(sorted(cores))
    plan = open_plan([url or server.url], load, deadline_s=load.timeout_s)
    clock = Clock()
    threads = [threading.Thread(target=each, args=(clock,), daemon=True) for each in beside]
    if threads:
        threads.append(threading.Thread(target=_await_load, args=(server, clock), daemon=True))
    for thread in threads:
        thread.start()
    with watched() as watch:
        run = run_plan(plan, [], records=records)
    clock.over.set()
    for thread in threads:
        thread.join()
    starts_s = {stage.name: stage.start_s for stage in run.stages}
    return Loaded(run, _read(records), starts_s, watch.noise)


def closed_rate(
    server: Server, users: int, seconds: float, cores: frozenset[int], texts: Texts = FULL
) -> float:
    """Proper answers per second to users who each wait for theirs."""
    psutil.Process().cpu_affinity(sorted(cores))
    load = workload({"closed": (1.0, seconds)}, texts=texts)
    run = run_plan(closed_plan(server.url, load, users, seconds, 1.0), [])
    [stage] = run.measured
    answered = sum(group.outcomes.get(OK, 0) for group in stage.groups)
    return answered / stage.duration_s


def _await_load(server: Server, clock: Clock) -> None:
    """Start the clock with the first request that the service counts."""
    before = _received(server)
    while _received(server) == before and not clock.over.is_set():
        time.sleep(0.005)
    clock.start()


def _received(server: Server) -> float:
    return server.metrics()["heed_requests_received_total"]


def _read(records: Path) -> list[Sent]:
    with records.open(newline="", encoding="utf-8") as file:
        return [
            Sent(
                row["stage"],
                row["kind"],
                float(row["scheduled_s"]),
                float(row["sent_s"]),
                float(row["end_s"]),
                row["outcome"],
            )
            for row in csv.DictReader(file)
        ]


def longest_gap_s(moments: Sequence[float]) -> float:
    """Between two of them that follow each other; infinite for fewer than two."""
    ordered = sorted(moments)
    if len(ordered) < 2:
        return math.inf
    return max(later - earlier for earlier, later in itertools.pairwise(ordered))
