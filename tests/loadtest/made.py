"""Stages, runs and results made from lists of latencies, as a generator would record them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.histogram import Distribution, encode, new_histogram, record
from loadtest.result import (
    DROPPED,
    OK,
    TIMEOUT,
    Generator,
    Group,
    Host,
    Model,
    Result,
    Run,
    Second,
    Stage,
    Target,
    Tick,
)
from loadtest.slo import Slo, parse_slo

SHA256 = "ab" * 32
MB = 1_000_000


def histogram(seconds: Sequence[float]) -> str:
    """These durations, encoded."""
    made = new_histogram()
    for value in seconds:
        record(made, value)
    return encode(made)


def distribution(seconds: Sequence[float], unanswered: int = 0) -> Distribution:
    """These latencies, and some that were never answered."""
    return Distribution([histogram(seconds)], unanswered)


def group(seconds: Sequence[float], kind: str = "single", **failures: int) -> Group:
    """Proper answers after `seconds`, and failures by name: timeout, dropped, refused, ..."""
    encoded = histogram(seconds)
    return Group(
        kind=kind,
        offered=len(seconds) + sum(failures.values()),
        outcomes={OK: len(seconds)} | failures,
        good=sum(value <= 0.25 for value in seconds),
        texts=len(seconds),
        from_scheduled=encoded,
        from_sent=encoded,
    )


def stage(seconds: Sequence[float] = (0.01,) * 100, backlog: Sequence[int] = (), **changed: Any):
    """One measured stage of ten seconds.

    Args:
        seconds: latencies of its single requests.
        backlog: at the end of each second.
        changed: fields of Stage, `lag_s` (of every request), or numbers of failures by name.
    """
    names = {TIMEOUT, DROPPED, "refused"}
    failures = {name: changed.pop(name) for name in names & changed.keys()}
    lag_s = changed.pop("lag_s", 0.0005)
    fields: dict[str, Any] = {
        "name": "steady",
        "scenario": "steady",
        "role": "candidate",
        "round": 0,
        "measured": True,
        "start_s": 0.0,
        "duration_s": 10.0,
        "rate_rps": 100.0,
        "end_rate_rps": 100.0,
        "users": None,
        "deadline_s": 0.25,
        "groups": [group(seconds, **failures)],
        "lag": histogram([lag_s] * len(seconds)),
        "seconds": [second(float(at_s), count) for at_s, count in enumerate(backlog)],
    }
    return Stage(**(fields | changed))


def second(at_s: float, backlog: int) -> Second:
    """One of which only the backlog matters."""
    slow = dict.fromkeys(("p50_s", "p95_s", "p99_s", "max_s", "sent_p99_s"))
    counts = {"offered": 100, "ok": 100, "good": 100, "failed": 0}
    return Second(at_s=at_s, width_s=1.0, backlog=backlog, **counts, **slow)


def tick(at_s: float, target: int = 0, rss_bytes: int | None = None, steal: float = 0.0) -> Tick:
    """One of which memory and steal matter."""
    unseen = dict.fromkeys(("server_cpu_ratio", "queue_s", "engine_s", "batch_size", "queue_depth"))
    return Tick(
        at_s=at_s,
        target=target,
        host_cpu_ratio=0.5,
        steal_ratio=steal,
        generator_cpu_ratio=0.3,
        server_rss_bytes=rss_bytes,
        **unseen,
    )


def run(*stages: Stage, **changed: Any) -> Run:
    """The stages one after the other, with a tick per second unless `ticks` are given."""
    starts = itertools.accumulate((each.duration_s for each in stages), initial=0.0)
    placed = [
        each.model_copy(update={"start_s": start_s})
        for each, start_s in zip(stages, starts, strict=False)
    ]
    seconds = int(sum(each.duration_s for each in stages))
    fields: dict[str, Any] = {
        "started_at": "2026-11-23T12:00:00Z",
        "workload": "w" * 16,
        "arrivals": "poisson",
        "seed": 0,
        "texts": "built in: 100",
        "timeout_s": 10.0,
        "generator": generator(),
        "stages": placed,
        "ticks": [tick(at_s + 1.0) for at_s in range(seconds)],
        "clock_step_s": 0.001,
        "interrupted": False,
    }
    return Run(**(fields | changed))


def generator(cpu_ratio: float = 0.3, cpu_warning: bool = False) -> Generator:
    """A Locust process that was this busy."""
    return Generator(
        locust_version="2.47.0", processes=1, cpu_ratio=cpu_ratio, cpu_warning=cpu_warning
    )


def rounds(values: Sequence[Sequence[float]], role: str = "candidate", **changed: Any):
    """A stage per round, each with its own latencies."""
    return [stage(each, role=role, round=i, **changed) for i, each in enumerate(values)]


def result(*runs: Run, fingerprint: str = "this machine", sha256: str = SHA256) -> Result:
    """A gate's, of a candidate and a baseline."""
    target = Target(
        url="http://127.0.0.1:8000",
        models=[Model(name="topics", version="3", manifest_sha256=sha256)],
        local=True,
    )
    host = Host(
        fingerprint=fingerprint, cpu="a CPU", cores=2, memory_bytes=8 * 1024**3, system="Linux"
    )
    return Result(
        command="gate",
        heed_version="0.1.0",
        started_at="2026-11-23T12:00:00Z",
        host=host,
        targets=[target, target],
        runs=list(runs),
    )


def slo(*objectives: str, scenarios: Sequence[str] = ("steady",), **top: str) -> Slo:
    """From objectives in YAML, e.g. `metric: p99, max: 50ms`, and other keys of the top level."""
    lines = ["version: 1", *(f"{key}: {value}" for key, value in top.items()), "scenarios:"]
    lines += [f"  {name}: {{workload: steady}}" for name in scenarios]
    lines += ["objectives:", *(f"  - {{{each}}}" for each in objectives)]
    return parse_slo("\n".join(lines), Path("slo.yaml"))


def outcomes(result: Result) -> dict[str, int]:
    """Measured requests by outcome."""
    found: dict[str, int] = {}
    for stage in result.stages:
        for group in stage.groups:
            for name, count in group.outcomes.items():
                found[name] = found.get(name, 0) + count
    return found
