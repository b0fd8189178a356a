"""Objectives and results in, judgements and a verdict out: pure functions.

Absolute objectives are held against all measured rounds of the candidate together, relative ones
against one value per round of candidate and baseline. What cannot be told is `inconclusive`, never
`pass`.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import median

from loadtest.comparison import Finding, compare_rounds
from loadtest.quantity import show
from loadtest.result import Check, Judgement, Outcome, Result, Verdict, latencies
from loadtest.rounds import Round, bad_of, rounds_of
from loadtest.row import sentence
from loadtest.slo import (
    ErrorRatio,
    Goodput,
    Latency,
    MemoryGrowth,
    Objective,
    Slo,
    describe,
    requests_for,
)
from loadtest.statistics import Interval, proportion_interval, quantile_interval, times_longer
from loadtest.validity import checks as check_validity

EXIT_CODES: dict[Outcome, int] = {  # the worst first
    "invalid": 3,
    "fail": 1,
    "regression": 2,
    "inconclusive": 3,
    "warn": 0,
    "pass": 0,
}


def judge(
    slo: Slo,
    result: Result,
    baseline: Result | None = None,
    expected_model: str | None = None,
) -> Verdict:
    """The verdict of a gate.

    Args:
        slo: the objectives.
        result: measured. Its stages of role baseline are what relative objectives are held to.
        baseline: an earlier result, whose candidate stages take their place.
        expected_model: see `validity.checks`.
    """
    stored = baseline.runs if baseline else None
    compared = baseline is not None or any(each.role == "baseline" for each in result.stages)
    judgements = []
    for scenario in slo.scenarios:
        for objective in slo.objectives_of(scenario):
            if objective.limit is not None:
                rounds = rounds_of(result.runs, scenario, "candidate", objective.stage)
                finding = _absolute(objective, rounds, slo.confidence)
                judgements.append(_judgement(objective, scenario, finding, relative=False))
            if objective.tolerance is not None and compared:
                finding = compare_rounds(slo, scenario, objective, result.runs, stored)
                judgements.append(_judgement(objective, scenario, finding, relative=True))
    checks = check_validity(result, slo, expected_model, baseline)
    return to_verdict(checks, judgements, slo.confidence)


def to_verdict(
    checks: list[Check], judgements: list[Judgement], confidence: float = 0.95
) -> Verdict:
    """The worst of all, in one sentence."""
    broken = [check for check in checks if not check.ok]
    outcome: Outcome = "inconclusive"
    sentences = ["no objective could be judged"]
    if broken:
        outcome = "invalid"
        sentences = [f"{check.name} {check.measured}, not {check.limit}" for check in broken]
    elif judgements:
        found = {judgement.outcome for judgement in judgements}
        outcome = next(each for each in EXIT_CODES if each in found)
        sentences = [sentence(each) for each in judgements if each.outcome == outcome]
    if outcome == "pass":
        sentences = [f"all {len(judgements)} objectives hold"]
    others = f", and {len(sentences) - 1} more" if len(sentences) > 1 else ""
    return Verdict(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        summary=f"{outcome}: {sentences[0]}{others}",
        checks=checks,
        judgements=judgements,
        confidence=confidence,
    )


def _judgement(
    objective: Objective, scenario: str, finding: Finding, *, relative: bool
) -> Judgement:
    """A finding in the words of the result; a warning is not more than that."""
    limit = _relative_limit(objective) if relative else objective.limit or 0.0
    outcome = finding.outcome
    if objective.severity == "warn" and outcome != "pass":
        outcome = "warn"
    value, low, high = _finite([finding.value, finding.low, finding.high])
    return Judgement(
        objective=describe(objective, scenario, relative),
        scenario=scenario,
        metric=objective.metric,
        relative=relative,
        severity=objective.severity,
        outcome=outcome,
        value=value,
        low=low,
        high=high,
        limit=limit,
        unit="x" if relative and not objective.in_points else objective.unit,
        samples=finding.samples,
        p_value=finding.p_value,
        detail=finding.detail,
        values=_finite(finding.values),
        baseline_values=_finite(finding.baseline_values),
    )


def _relative_limit(objective: Objective) -> float:
    """1.05 for 5 % more; 0.01 for a point more; -0.01 for a point less."""
    tolerance = objective.tolerance or 0.0
    if isinstance(objective, Goodput):
        return -tolerance
    return tolerance if objective.in_points else 1 + tolerance


def _finite(values: Iterable[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _absolute(objective: Objective, rounds: Sequence[Round], confidence: float) -> Finding:
    """An objective against its own limit, over all rounds together."""
    if isinstance(objective, MemoryGrowth):
        return _growth(objective, rounds)
    found, samples, times = _measure(objective, rounds, confidence)
    needed = requests_for(objective, confidence)
    detail = ""
    outcome = _place(found, objective.limit or 0.0, at_least=isinstance(objective, Goodput))
    if samples < needed:
        outcome, detail = "inconclusive", f"{samples:,} of the {needed:,} requests that it needs"
    elif outcome == "inconclusive":
        longer = "more than 20" if times > 20 else f"about {max(1.5, times):.2g}"
        detail = f"the interval holds the limit: run {longer} times as long"
    return Finding(outcome, found.value, found.low, found.high, samples, detail)


def _place(found: Interval, limit: float, at_least: bool = False) -> Outcome:
    """Which side of the limit the whole interval lies on."""
    holds, misses = found.high <= limit, found.low > limit
    if at_least:
        holds, misses = found.low >= limit, found.high < limit
    return "pass" if holds else "fail" if misses else "inconclusive"


def _measure(
    objective: Latency | ErrorRatio | Goodput, rounds: Sequence[Round], confidence: float
) -> tuple[Interval, int, float]:
    """The interval, the requests behind it, and how many times as many would settle it."""
    stages = [stage for each in rounds for stage in each.stages]
    limit = objective.limit or 0.0
    if isinstance(objective, Latency):
        parts = [latencies(each.stages, objective.requests) for each in rounds]
        pooled = latencies(stages, objective.requests)
        found = quantile_interval(pooled, objective.fraction, confidence, parts)
        share = pooled.within(limit) / max(1, pooled.total)
        times = times_longer(share, objective.fraction, found.effective, confidence)
        return found, pooled.total, times
    bad, total = bad_of(objective, stages)
    shares = [bad_of(objective, each.stages) for each in rounds]
    found = proportion_interval(bad, total, confidence, shares)
    if isinstance(objective, Goodput):
        found = Interval(1 - found.value, 1 - found.high, 1 - found.low, found.effective)
    return found, total, times_longer(found.value, limit, found.effective, confidence)


def _growth(objective: MemoryGrowth, rounds: Sequence[Round]) -> Finding:
    """Median memory of the last round against that of the first."""
    if len(rounds) < 2 or not rounds[0].rss_bytes or not rounds[-1].rss_bytes:
        detail = "the memory of the service was not seen in a first and a last round"
        return Finding("inconclusive", math.nan, math.nan, math.nan, 0, detail)
    before, after = median(rounds[0].rss_bytes), median(rounds[-1].rss_bytes)
    growth = after - before if objective.unit == "bytes" else after / before - 1
    outcome = _place(Interval(growth, growth, growth, 1), objective.limit or 0.0)
    detail = f"from {show(before, 'bytes')} to {show(after, 'bytes')} in {len(rounds)} rounds"
    return Finding(outcome, growth, growth, growth, len(rounds), detail)
