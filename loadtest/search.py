"""The largest rate that holds: bracket, bisect, confirm. Pure: measuring is a callback's.

The procedure is MLPerf's for its server scenario: five confirmations, 2 % less after a miss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from loadtest.result import Step

CONFIRMATIONS = 5
MOST_MISSES = 10  # of confirmations: 18 % below what the bisection found, nothing is stable
HIGHEST_RPS = 1_000_000.0  # no generator goes there: a callback that never fails ends
LOWEST_RPS = 1.0

Phase = Literal["bracket", "bisect", "confirm"]
Limit = Literal["objectives", "generator"]


class GeneratorLimitError(Exception):
    """The generator could not offer a rate; the message says what gave it away."""


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        rate_rps: confirmed; None when none was.
        confirmations: how many runs in a row held at that rate, at the last one tried if None.
        limited_by: what fails above the rate; by the generator, the capacity is at least the rate.
        steps: every rate tried, in order.
    """

    rate_rps: float | None
    confirmations: int
    limited_by: Limit
    steps: list[Step]


def search(
    measure: Callable[[Phase, float], Step], start_rps: float, precision: float = 1.03
) -> Found:
    """The largest rate that holds.

    Doubles (or halves) `start_rps` until one rate holds and the next does not, halves that gap by
    ratio, then measures the lower end until it held five times in a row. A rate that the generator
    cannot offer is one that does not hold; `limited_by` tells what the nearest miss was.

    Args:
        measure: loads the service at a rate (requests/s) and says whether it held;
            GeneratorLimitError when the generator could not.
        start_rps: a first guess.
        precision: the ratio of the two ends at which the bisection ends. The answer is up to that
            much too low, and 2 % more for each missed confirmation.
    """
    trial = _Trial(measure)
    low, high = _bracket(trial, max(LOWEST_RPS, start_rps))
    while low and high / low > precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if trial.holds("bisect", middle) else (low, middle)
    return _confirm(trial, low)


@dataclass
class _Trial:
    """Measures, and remembers what it was that failed last."""

    measure: Callable[[Phase, float], Step]
    limited_by: Limit = "objectives"
    steps: list[Step] = field(default_factory=list)

    def holds(self, phase: Phase, rate_rps: float) -> bool:
        try:
            step = self.measure(phase, rate_rps)
            limit: Limit = "objectives"
        except GeneratorLimitError as error:
            step = Step(phase=phase, rate_rps=rate_rps, held=False, reason=str(error))
            limit = "generator"
        self.steps.append(step)
        if not step.held:
            self.limited_by = limit
        return step.held


def _bracket(trial: _Trial, rate_rps: float) -> tuple[float, float]:
    """The largest rate that held (0: none) and one above it that did not."""
    if trial.holds("bracket", rate_rps):
        while rate_rps < HIGHEST_RPS and trial.holds("bracket", 2 * rate_rps):
            rate_rps *= 2
        if rate_rps >= HIGHEST_RPS:
            trial.limited_by = "generator"
        return rate_rps, 2 * rate_rps
    while rate_rps > LOWEST_RPS:
        above, rate_rps = rate_rps, max(LOWEST_RPS, rate_rps / 2)
        if trial.holds("bracket", rate_rps):
            return rate_rps, above
    return 0.0, rate_rps


def _confirm(trial: _Trial, rate_rps: float) -> Found:
    """Five in a row; a miss lowers the rate by 2 % and starts again."""
    confirmed = misses = 0
    while rate_rps >= LOWEST_RPS and misses < MOST_MISSES:
        if trial.holds("confirm", rate_rps):
            confirmed += 1
            if confirmed == CONFIRMATIONS:
                return Found(rate_rps, confirmed, trial.limited_by, trial.steps)
        else:
            rate_rps, confirmed, misses = 0.98 * rate_rps, 0, misses + 1
    return Found(None, confirmed, trial.limited_by, trial.steps)
