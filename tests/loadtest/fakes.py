"""A bench that loads nothing: plans are run in no time against made-up servers."""

import random
from collections.abc import Callable

from loadtest.bench import Bench
from loadtest.plan import Plan
from loadtest.recording import Recording, Request
from loadtest.result import OK, TIMEOUT, Generator, Run, Tick
from loadtest.result import Target as Facts
from loadtest.schedule import arrival_times
from loadtest.target import TargetError
from tests.loadtest.made import run as a_run

Server = Callable[[random.Random], Callable[[float], float]]  # per stage: due -> end, seconds


def paced(latency_s: float, noise: float = 0.02) -> Server:
    """Answers after `latency_s`, lognormal, at a pace that differs by `noise` between stages."""

    def server(rng: random.Random) -> Callable[[float], float]:
        pace_s = latency_s * rng.gauss(1, noise)
        return lambda due_s: due_s + pace_s * rng.lognormvariate(0, 0.2)

    return server


def queueing(service_s: float) -> Server:
    """One server with a queue in order of arrival: its capacity is 1 / `service_s`."""

    def server(_: random.Random) -> Callable[[float], float]:
        free_s = 0.0

        def serve(due_s: float) -> float:
            nonlocal free_s
            free_s = max(free_s, due_s) + service_s
            return free_s

        return serve

    return server


class FakeTarget:
    """Ready, and serves one model."""

    local = True

    def __init__(self, url: str, ready: bool = True) -> None:
        self.url, self.ready = url, ready

    def require_ready(self) -> None:
        """As `Target`'s."""
        if not self.ready:
            raise TargetError(f"{self.url} is not ready")

    def facts(self) -> Facts:
        """As `Target`'s."""
        return Facts(url=self.url, models=[], local=True)

    def serves_other_than(self, _: object) -> bool:
        """As `Target`'s."""
        return False


class FakeBench(Bench):
    """Runs plans against `servers`, one per target; above `limit_rps` the generator is late."""

    def __init__(self, *servers: Server, limit_rps: float = 1e9, steal: float = 0.0) -> None:
        super().__init__([FakeTarget(f"http://{i}") for i in range(len(servers))])
        self.servers, self.limit_rps, self.steal = servers, limit_rps, steal
        self.plans: list[Plan] = []

    def run(self, plan: Plan, label: str, *, may_end_early: bool = False) -> Run:
        """As `Bench`'s, without waiting."""
        self.plans.append(plan)
        rng = random.Random(len(self.plans))
        recording = Recording(plan)
        for planned, tally in zip(plan.stages, recording.stages, strict=True):
            serve = self.servers[planned.target](rng)
            lag_s = 0.5 if planned.rate_rps > self.limit_rps else 0.0
            rates = (planned.rate_rps, planned.end_rate_rps, planned.duration_s, planned.seed)
            for due_s in arrival_times(plan.workload.arrivals, *rates):
                end_s = serve(due_s)
                outcome = OK if end_s - due_s <= plan.workload.timeout_s else TIMEOUT
                tally.add(Request("single", 1, due_s, due_s + lag_s, end_s, end_s, outcome))
        generator = Generator(locust_version="2", processes=1, cpu_ratio=0.1, cpu_warning=False)
        return a_run().model_copy(
            update={
                "workload": plan.workload.fingerprint(),
                "stages": [stage.to_stage() for stage in recording.stages],
                "ticks": [
                    t
                    for at_s in range(1, int(plan.duration_s) + 2)
                    for t in _ticks(at_s, self.steal)
                ],
                "generator": generator,
            }
        )


def _ticks(seconds: int, steal: float) -> list[Tick]:
    quiet = {"host_cpu_ratio": 0.5, "steal_ratio": steal, "generator_cpu_ratio": 0.1}
    unseen = ("server_cpu_ratio", "queue_s", "engine_s", "batch_size", "queue_depth")
    memory = {"server_rss_bytes": 100_000_000}
    return [
        Tick(at_s=float(at_s), target=target, **quiet, **memory, **dict.fromkeys(unseen))
        for at_s in range(1, seconds)
        for target in (0, 1)
    ]
