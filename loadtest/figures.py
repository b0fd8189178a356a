"""The figures of a result in words, decided once, so that every renderer says the same. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from loadtest.quantity import show, show_rate
from loadtest.result import (
    DROPPED,
    OK,
    Capacity,
    Judgement,
    Outcome,
    Overload,
    Result,
    Stage,
    latencies,
)

TITLES = {"loadtest": "Load test", "gate": "Release gate", "capacity": "Capacity"}
MARKS: dict[Outcome, str] = {
    "pass": "✓",
    "warn": "!",
    "fail": "✗",
    "regression": "✗",
    "inconclusive": "?",
    "invalid": "?",
}
MAX_DETAILS = 3  # of a failure
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Figure(NamedTuple):
    """One headline figure: `p99`, `24.1 ms`, `from sent 23.9 ms`; bad ones are shown in red."""

    name: str
    value: str
    note: str = ""
    bad: bool = False


def interval_name(result: Result) -> str:
    """Of the column of intervals: `95 % interval`."""
    confidence = result.verdict.confidence if result.verdict else 0.95
    return f"{show(confidence, 'ratio')} interval"


def judgements(result: Result) -> list[Judgement]:
    """All of them; none without a verdict."""
    return result.verdict.judgements if result.verdict else []


def sections(result: Result) -> dict[str, list[Stage]]:
    """What latencies may be merged over, by name.

    The candidate's measured stages of each scenario; of a capacity search, which tries many rates,
    the confirmations of the one it found.
    """
    mine = [stage for stage in result.stages if stage.role == "candidate"]
    if result.capacity:
        rate, last = result.capacity.rate_rps, result.capacity.confirmations
        held = [stage for stage in mine if stage.rate_rps == stage.end_rate_rps == rate][-last:]
        return {f"at {show_rate(rate)}": held} if rate and last and held else {}
    found: dict[str, list[Stage]] = {}
    for stage in mine:
        found.setdefault(stage.scenario, []).append(stage)
    return found


def headline(stages: list[Stage]) -> list[Figure]:
    """The figures that matter of some stages."""
    closed = stages[0].users is not None
    scheduled, sent = latencies(stages), latencies(stages, sent=True)
    latency = []
    for name in ("p50", "p95", "p99"):
        value_s, sent_s = (found.quantile(PERCENTILES[name]) for found in (scheduled, sent))
        said = [] if closed else [f"from sent {show(sent_s, 's')}"]
        if name == "p99":
            said.append(f"max {show(scheduled.quantile(1.0), 's')}")
        latency.append(Figure(name, show(value_s, "s"), ", ".join(said), math.isinf(value_s)))
    return [*latency, *_rates(stages, closed)]


def _rates(stages: list[Stage], closed: bool) -> list[Figure]:
    count, good = outcomes(stages), sum(g.good for s in stages for g in s.groups)
    duration_s = sum(stage.duration_s for stage in stages)
    offered, failed = count.total(), count.total() - count[OK]
    deadlines = " and ".join(sorted({show(stage.deadline_s, "s", exact=True) for stage in stages}))
    sent_rate, ratio = (offered - count[DROPPED]) / duration_s, _ratio(good, offered)
    share = show(_ratio(failed, offered), "ratio") if failed else ""
    if closed:
        load = Figure(
            "answered", show_rate(count[OK] / duration_s), f"by {stages[0].users:,} users"
        )
    else:
        load = Figure(
            "offered", show_rate(offered / duration_s), f"sent {show_rate(sent_rate, '/s')}"
        )
    return [
        load,
        Figure("good", show(ratio, "ratio"), f"answered within {deadlines}"),
        Figure("failed", f"{failed:,} of {offered:,}", share, bad=failed > 0),
    ]


def outcomes(stages: Sequence[Stage]) -> Counter[str]:
    """Requests by outcome."""
    count: Counter[str] = Counter()
    for stage in stages:
        for group in stage.groups:
            count.update(group.outcomes)
    return count


def details(stages: Sequence[Stage]) -> dict[str, str]:
    """What the service said of each failure, as far as it did."""
    said: dict[str, dict[str, None]] = {}
    for group in (group for stage in stages for group in stage.groups):
        for outcome, texts in group.details.items():
            said.setdefault(outcome, {}).update(dict.fromkeys(texts))
    return {outcome: "; ".join([*texts][:MAX_DETAILS]) for outcome, texts in said.items()}


def outcome_table(stages: list[Stage]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of what became of the requests, one row per kind."""
    failures = [name for name, _ in outcomes(stages).most_common() if name != OK]
    head = ["kind", "offered", "ok", *failures, "good", "texts", "p50", "p99"]
    rows = []
    for kind in dict.fromkeys(group.kind for stage in stages for group in stage.groups):
        groups = [group for stage in stages for group in stage.groups if group.kind == kind]
        numbers = [
            sum(group.offered for group in groups),
            *(sum(g.outcomes.get(name, 0) for g in groups) for name in (OK, *failures)),
            sum(group.good for group in groups),
            sum(group.texts for group in groups),
        ]
        found = latencies(stages, kind)
        percentiles = [show(found.quantile(q), "s") for q in (0.5, 0.99)]
        rows.append([str(kind), *(f"{number:,}" for number in numbers), *percentiles])
    return head, rows


def round_values(judgement: Judgement) -> dict[str, list[float]]:
    """What a comparison compared, by role: a value per round in `round_unit`; empty without any."""
    factor = {"ms": 1000.0, "MB": 1e-6, "%": 100.0}[round_unit(judgement)]
    sides = {"candidate": judgement.values, "baseline": judgement.baseline_values}
    return {
        role: [math.inf if value is None else factor * value for value in values]
        for role, values in sides.items()
        if values
    }


def round_unit(judgement: Judgement) -> str:
    """Of `round_values`."""
    if judgement.metric in PERCENTILES:
        return "ms"
    return "MB" if judgement.metric == "memory_growth" else "%"


def sentence(result: Result) -> str:
    """What came out, for people: the verdict's words, or what was searched for."""
    verdict = result.verdict
    if verdict is None:
        return ""
    if result.capacity and verdict.outcome == "pass":
        return capacity_sentence(result.capacity)
    return verdict.summary.removeprefix(f"{verdict.outcome}: ")


def capacity_sentence(capacity: Capacity) -> str:
    """What one instance carries, and how many the peak needs."""
    if capacity.rate_rps is None:
        return "No rate was confirmed that meets all objectives."
    least = "at least " if capacity.limited_by == "generator" else ""
    carried = show_rate(capacity.texts_per_s, " texts/s")
    within = f" with {capacity.within}" if capacity.within else ""
    said = f"One instance carries {least}{carried}{within}"
    if capacity.peak_texts_per_s is None or capacity.instances is None:
        return said + "."
    peak = show_rate(capacity.peak_texts_per_s, " texts/s")
    plural = "" if capacity.instances == 1 else "s"
    return f"{said}; for your peak of {peak} you need {capacity.instances:,} instance{plural}."


def overload_words(overload: Overload) -> str:
    """`good 213/s of 446/s, p99 80.1 ms`; how long a recovery took; a short generator."""
    good, offered = show_rate(overload.goodput_rps, "/s"), show_rate(overload.offered_rps, "/s")
    said = [f"good {good} of {offered}"]
    if overload.p99_s is not None:
        said.append(f"p99 {show(overload.p99_s, 's')}")
    if overload.sent_rps < 0.99 * overload.offered_rps:
        said.append(f"only {show_rate(overload.sent_rps, '/s')} could be sent")
    if overload.factor < 1:
        took = overload.recovery_s
        said.append("not recovered" if took is None else f"recovered within {took:,.1f} s")
    return ", ".join(said)


def overload_name(overload: Overload) -> str:
    """`2x`, or `after` for the recovery."""
    return f"{overload.factor:g}x" if overload.factor > 1 else "after"


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
