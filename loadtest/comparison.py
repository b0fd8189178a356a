"""Candidate against baseline, one value per round of each: found, told apart from noise, or not."""

import math
from collections.abc import Callable, Sequence
from statistics import stdev
from typing import NamedTuple

from loadtest.result import Outcome, Role, Run
from loadtest.rounds import rounds_of, value_of
from loadtest.slo import Goodput, Objective, Slo
from loadtest.statistics import (
    LEAST_PAIRS,
    MOST_PAIRS,
    coefficient_of_variation,
    compare,
    least_pairs,
    pairs_needed,
)


class Finding(NamedTuple):
    """What an objective came to: the figure, its interval, what that means, and why."""

    outcome: Outcome
    value: float
    low: float
    high: float
    samples: int
    detail: str = ""
    p_value: float | None = None
    values: Sequence[float] = ()
    baseline_values: Sequence[float] = ()


def compare_rounds(
    slo: Slo,
    scenario: str,
    objective: Objective,
    runs: Sequence[Run],
    stored: Sequence[Run] | None = None,
) -> Finding:
    """The candidate's rounds against the baseline's.

    A pass needs as many pairs as the noise asks for, or an interval that excludes more than is
    tolerated. The noise is that of the A/A rounds, or where there are none that within each side.

    Args:
        slo: whose confidence and false alarms count.
        scenario: name.
        objective: a relative one of it.
        runs: of the candidate; and of the baseline, if that was loaded in turn with it.
        stored: of an earlier result, whose candidate is the baseline.
    """
    candidate = _values(objective, runs, scenario, "candidate")
    role: Role = "baseline" if stored is None else "candidate"
    baseline = _values(objective, runs if stored is None else stored, scenario, role)
    tolerance, ratio = objective.tolerance or 0.0, not objective.in_points
    less_is_worse = isinstance(objective, Goodput)
    more, less = (baseline, candidate) if less_is_worse else (candidate, baseline)
    found = decide(more, less, tolerance, alpha_of(slo), slo.confidence, ratio=ratio)
    if found.outcome == "pass" and found.high > tolerance + ratio:
        same = _values(objective, [*runs, *(stored or [])], scenario, "calibration")
        asked = _pairs(objective, [same] if same else [candidate, baseline], alpha_of(slo))
        if found.samples < asked:
            pairs = f"{found.samples} of the {asked:,} pairs of rounds"
            detail = f"{pairs} that this machine's noise asks for"
            found = found._replace(outcome="inconclusive", detail=detail)
    if less_is_worse:
        found = found._replace(value=0 - found.value, low=0 - found.high, high=0 - found.low)
    if found.p_value is None:
        return found
    return found._replace(values=candidate, baseline_values=baseline)


def decide(  # noqa: PLR0913 - what a test must know, and no more
    candidate: Sequence[float],
    baseline: Sequence[float],
    tolerance: float,
    alpha: float,
    confidence: float = 0.95,
    *,
    ratio: bool = True,
) -> Finding:
    """Whether the candidate has more than the baseline, and more than is tolerated.

    A regression is both: found by Mann-Whitney's test at `alpha`, and above the tolerance in size.
    What is above it in size only may be chance: inconclusive.

    Args:
        candidate: one value per round; more is worse.
        baseline: the same of the baseline.
        tolerance: 0.05 for 5 % more.
        alpha: allowed false alarms.
        confidence: of the interval.
        ratio: compare as ratios; else as differences, and so is the tolerance.
    """
    pairs, least = min(len(candidate), len(baseline)), least_pairs(alpha)
    if any(map(math.isnan, [*candidate, *baseline])) or not pairs:
        detail = "not measured in every round of both sides"
        return Finding("inconclusive", math.nan, math.nan, math.nan, pairs, detail)
    effect, low, high, p_value = compare(candidate, baseline, confidence, ratio=ratio)
    outcome: Outcome = "pass"
    detail = ""
    if pairs < least:
        outcome, detail = "inconclusive", f"{pairs} of the {least} pairs of rounds that it needs"
    elif effect > tolerance + ratio:
        outcome = "regression"
        if p_value > alpha:
            outcome = "inconclusive"
            detail = f"more than tolerated, but p is above {alpha:.3g}: run more pairs"
    return Finding(outcome, effect, low, high, pairs, detail, p_value)


def alpha_of(slo: Slo) -> float:
    """False alarms allowed to each comparison: all that can fail a gate share them (Bonferroni)."""
    gating = sum(len(_gating(slo, scenario)) for scenario in slo.scenarios)
    return (1 - slo.confidence) / max(1, gating)


def pairs_for(slo: Slo, run: Run, scenario: str) -> int:
    """Pairs of rounds that the relative objectives of a scenario need, by its A/A rounds.

    An increase of twice the tolerance is then found in 95 %, see `pairs_needed`. Objectives that
    only warn take what pairs there are.

    Args:
        slo: the objectives.
        run: its stages of role calibration count, each repetition with a `round` of its own.
        scenario: name.

    Returns:
        5 to `statistics.MOST_PAIRS`, which is for noise without end and for too few A/A rounds.
    """
    needed = [
        _pairs(each, [_values(each, [run], scenario, "calibration")], alpha_of(slo))
        for each in _gating(slo, scenario)
    ]
    return max([LEAST_PAIRS, *needed])


def _pairs(objective: Objective, builds: Sequence[Sequence[float]], alpha: float) -> int:
    """Pairs of rounds that one objective needs, by the scatter within rounds of equal builds."""
    builds = [values for values in builds if len(values) > 1]
    freedom = sum(len(values) - 1 for values in builds)
    if not freedom:
        return MOST_PAIRS
    once, twice = objective.tolerance or 0.0, 2 * (objective.tolerance or 0.0)
    scatter: Callable[[Sequence[float]], float] = stdev
    if not objective.in_points:
        scatter, once, twice = coefficient_of_variation, math.log1p(once), math.log1p(twice)
    variance = sum((len(values) - 1) * scatter(values) ** 2 for values in builds) / freedom
    return pairs_needed(math.sqrt(variance), once, twice, alpha, freedom + 1)


def _gating(slo: Slo, scenario: str) -> list[Objective]:
    """The relative objectives that can fail a gate."""
    own = slo.objectives_of(scenario)
    return [each for each in own if each.tolerance is not None and each.severity == "fail"]


def _values(objective: Objective, runs: Sequence[Run], scenario: str, role: Role) -> list[float]:
    """Of the metric, one per round."""
    return [value_of(objective, each) for each in rounds_of(runs, scenario, role, objective.stage)]
