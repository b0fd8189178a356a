"""The one result of a load test: its JSON schema, and how raw samples become it.

Latencies are those of answered requests (status 200 with one result); a failure is counted under
`errors` and enters no percentile. Everything is by start time: a request belongs to the second in
which it was sent, and requests sent during the warm-up are left out.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from loadtest.samples import OK, Samples

BINS_PER_DECADE = 20  # histogram bins are 12 % wide, and the same in every run


@dataclass(frozen=True)
class Plan:
    """What was asked for. `texts` names their source, `num_texts` counts them."""

    url: str
    users: int
    duration_s: int
    warm_up_s: int
    texts: str
    num_texts: int


@dataclass(frozen=True)
class Model:
    """One entry of the service's /v1/models."""

    name: str
    version: str
    manifest_sha256: str | None


@dataclass(frozen=True)
class Generator:
    """Where the load came from. `cpu_warning`: it ran short of CPU, and latencies include that."""

    locust_version: str
    cpu_count: int
    cpu_warning: bool


@dataclass(frozen=True)
class Histogram:
    """`counts[i]` answers took from `edges_s[i]` up to, not including, `edges_s[i + 1]`."""

    edges_s: list[float]
    counts: list[int]


@dataclass(frozen=True)
class Latency:
    """Latencies of the answered requests: exact, nearest-rank percentiles of the raw samples."""

    p50_s: float
    p95_s: float
    p99_s: float
    max_s: float
    histogram: Histogram


@dataclass(frozen=True)
class Second:
    """Requests sent in one second of the measurement; the last one may last 0.5 to 1.5 s."""

    requests: int
    failed: int
    throughput_rps: float
    p50_s: float | None
    p95_s: float | None
    max_s: float | None


@dataclass(frozen=True)
class Result:
    """A load test, as saved to JSON.

    Attributes:
        format_version: raised when a field changes its meaning.
        workload: always `closed`: each user waits for an answer before sending again.
        started_at: when the load began, warm-up included, ISO 8601.
        measured_s: from the end of the warm-up to the end of the load.
        interrupted: stopped by hand before `plan.duration_s` had passed.
        models: what the service listed; empty when it lists none.
        requests, failed: requests sent in the measured time, and those without a proper answer.
        errors: failures by kind, most frequent first.
        throughput_rps: answered requests per measured second.
        latency: None when nothing was answered.
        series: the measurement second by second.
    """

    format_version: int
    workload: str
    plan: Plan
    models: list[Model]
    generator: Generator
    started_at: str
    measured_s: float
    interrupted: bool
    requests: int
    failed: int
    errors: dict[str, int]
    throughput_rps: float
    latency: Latency | None
    series: list[Second]

    def to_json(self) -> str:
        """The result as indented JSON; durations are seconds, to the microsecond."""
        return json.dumps(_rounded(asdict(self)), indent=2, ensure_ascii=False) + "\n"


def summarise(
    samples: Samples,
    plan: Plan,
    models: list[Model],
    generator: Generator,
    interrupted: bool = False,
) -> Result:
    """The result of a run's raw samples."""
    rows = [
        (start_s - plan.warm_up_s, latency_s, outcome)
        for start_s, latency_s, outcome in zip(
            samples.start_s, samples.latency_s, samples.outcome, strict=True
        )
        if start_s >= plan.warm_up_s
    ]
    answered = sorted(latency_s for _, latency_s, outcome in rows if outcome == OK)
    measured_s = max(0.0, samples.stopped_s - plan.warm_up_s)
    return Result(
        format_version=1,
        workload="closed",
        plan=plan,
        models=models,
        generator=generator,
        started_at=samples.started_at,
        measured_s=measured_s,
        interrupted=interrupted,
        requests=len(rows),
        failed=len(rows) - len(answered),
        errors=dict(Counter(outcome for *_, outcome in rows if outcome != OK).most_common()),
        throughput_rps=len(answered) / measured_s if measured_s else 0.0,
        latency=_latency(answered) if answered else None,
        series=_series(rows, measured_s),
    )


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank: the smallest value with at least `percent` % of all values at or below it.

    Args:
        ordered: at least one value, ascending.
        percent: 1 to 100.
    """
    return ordered[-(-percent * len(ordered) // 100) - 1]


def _latency(ordered: list[float]) -> Latency:
    p50_s, p95_s, p99_s = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Latency(p50_s, p95_s, p99_s, ordered[-1], _histogram(ordered))


def _histogram(ordered: list[float]) -> Histogram:
    bins = Counter(math.floor(math.log10(max(s, 1e-6)) * BINS_PER_DECADE) for s in ordered)
    first, last = min(bins), max(bins)
    edges_s = [10 ** (index / BINS_PER_DECADE) for index in range(first, last + 2)]
    return Histogram(edges_s, [bins[index] for index in range(first, last + 1)])


def _series(rows: list[tuple[float, float, str]], measured_s: float) -> list[Second]:
    seconds: list[list[tuple[float, str]]] = [[] for _ in range(max(1, round(measured_s)))]
    for start_s, latency_s, outcome in rows:
        seconds[min(int(start_s), len(seconds) - 1)].append((latency_s, outcome))
    widths_s = [1.0] * (len(seconds) - 1) + [measured_s - (len(seconds) - 1)]
    return [_second(*pair) for pair in zip(seconds, widths_s, strict=True)] if measured_s else []


def _second(sent: list[tuple[float, str]], width_s: float) -> Second:
    ordered = sorted(latency_s for latency_s, outcome in sent if outcome == OK)
    figures_s = [percentile(ordered, percent) if ordered else None for percent in (50, 95, 100)]
    return Second(len(sent), len(sent) - len(ordered), len(ordered) / width_s, *figures_s)


def _rounded(value: object) -> object:
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {key: _rounded(item) for key, item in value.items()}
        case list():
            return [_rounded(item) for item in value]
    return value
