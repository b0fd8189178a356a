"""Intervals, comparisons and sample sizes: pure functions of numbers.

Latencies of one round resemble each other (a queue, a busy moment), so a sample of n requests says
less than n independent ones. The rounds are taken as clusters: if the share of slow requests varies
between rounds more than chance allows, by a factor called the design effect (Kish, Survey Sampling,
1965), the bad end of an interval is that of n / factor requests. The good end is that of all n: a
stall that was seen in one round of five may be rarer than it looks, but it did happen. So what
comes in bursts can hold back a pass, and never excuses a miss.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from loadtest.histogram import Distribution

LEAST_PAIRS = 5  # below, Mann-Whitney cannot reach 1 %: 4 against 4 has no p below 1/70
MOST_PAIRS = 1_000  # the answer for noise that no test of a sensible length sees through

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and its confidence interval; `effective`: independent requests it is worth."""

    value: float
    low: float
    high: float
    effective: int


class Comparison(NamedTuple):
    """Of two sets of runs: how much more the first has, the interval of that, Mann-Whitney's p."""

    effect: float
    low: float
    high: float
    p_value: float


def quantile_interval(
    pooled: Distribution,
    fraction: float,
    confidence: float = 0.95,
    rounds: Sequence[Distribution] = (),
) -> Interval:
    """A percentile and the order statistics around it (exact binomial ranks, two-sided).

    Args:
        pooled: all latencies, unanswered ones included.
        fraction: of the percentile, 0.99 for p99.
        confidence: of the interval.
        rounds: the same latencies round by round, to see how much rounds differ.

    Returns:
        Seconds. `high` is infinite where the rank lies above the sample or among the unanswered.
    """
    total = pooled.total
    if not total:
        return Interval(math.nan, 0.0, math.inf, 0)
    value = pooled.quantile(fraction)
    slow = [(part.total - part.within(value), part.total) for part in rounds]
    effective = max(1, int(total / design_effect(slow, confidence)))
    tail = (1 - confidence) / 2
    low_rank = int(stats.binom.ppf(tail, total, fraction))
    high_rank = int(stats.binom.ppf(1 - tail, effective, fraction)) + 1
    low = pooled.at_rank(low_rank) if low_rank else 0.0
    high = math.inf
    if high_rank <= effective:  # the middle of that rank, among all
        high = pooled.at_rank(math.ceil((high_rank - 0.5) / effective * total))
    return Interval(value, low, max(high, value), effective)


def proportion_interval(
    bad: int,
    total: int,
    confidence: float = 0.95,
    rounds: Sequence[tuple[int, int]] = (),
) -> Interval:
    """`bad` of `total` and its Clopper-Pearson interval; `rounds`: (bad, total) of each."""
    if not total:
        return Interval(math.nan, 0.0, 1.0, 0)
    effective = max(1, int(total / design_effect(rounds, confidence)))
    hits = bad / total * effective
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, bad, total - bad + 1)) if bad else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, effective - hits)) if bad < total else 1.0
    return Interval(bad / total, low, high, effective)


def design_effect(rounds: Sequence[tuple[int, int]], confidence: float = 0.95) -> float:
    """How much more the share differs between rounds than by chance; 1 for fewer than two.

    A few rounds say little about how much they differ, so what lies above 1 is multiplied by
    (t / z)^2, 2.0 for five rounds. Without that, at a true design effect of 10, 11 % instead of
    2.5 % of five-round intervals ended below a limit that was just missed.

    Args:
        rounds: (count, total) of each.
        confidence: of the interval that it widens, two-sided.
    """
    rounds = [(count, total) for count, total in rounds if total]
    everything = sum(total for _, total in rounds)
    if len(rounds) < 2:
        return 1.0
    share = sum(count for count, _ in rounds) / everything
    if not 0 < share < 1:
        return 1.0
    between = sum(total * (count / total - share) ** 2 for count, total in rounds)
    excess = max(0.0, between / (len(rounds) - 1) / (share * (1 - share)) - 1)
    student = float(stats.t.ppf((1 + confidence) / 2, len(rounds) - 1))
    return 1 + excess * (student / _z(confidence)) ** 2


def times_longer(share: float, limit: float, effective: int, confidence: float = 0.95) -> float:
    """How many times the sample would settle on which side of `limit` the `share` lies.

    From the normal interval of a proportion. A percentile is one too: p99 is above 50 ms when the
    share of requests above 50 ms is above 1 %. Infinite when share and limit are equal.
    """
    if share == limit or not effective:
        return math.inf
    needed = _z(confidence) ** 2 * limit * (1 - limit) / (share - limit) ** 2
    return needed / effective


def requests_for_quantile(
    fraction: float, margin: float | None = None, confidence: float = 0.95
) -> int:
    """Requests that place a percentile to `margin`, z^2 q (1 - q) / margin^2: p99 takes 1,521.

    Args:
        fraction: of the percentile, 0.99 for p99.
        margin: of its rank, in shares of the requests; by default half the tail, 2.5 % at most.
        confidence: of the interval.
    """
    margin = margin or min((1 - fraction) / 2, 0.025)
    return max(1, round(_z(confidence) ** 2 * fraction * (1 - fraction) / margin**2))


def requests_for_ratio(limit: float, confidence: float = 0.95) -> int:
    """The fewest requests whose interval lies below `limit` when none of them is bad."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log1p(-limit))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def compare(
    more: Sequence[float], less: Sequence[float], confidence: float = 0.95, ratio: bool = True
) -> Comparison:
    """How much `more` exceeds `less`: Hodges and Lehmann's estimate, and the test of that.

    The effect is the median of all pairwise ratios (or differences); its interval holds the values
    that a two-sided Mann-Whitney test would not reject.

    Args:
        more: one figure per run, infinite ones allowed, NaN not.
        less: the same of the other runs.
        confidence: of the interval.
        ratio: ratios, where 1.05 is 5 % more; else differences.
    """
    first, second = np.asarray(more, dtype=float), np.asarray(less, dtype=float)
    pairwise = np.sort(_ratios(first, second) if ratio else np.subtract.outer(first, second), None)
    below = _null(len(first), len(second))
    cut = int(np.searchsorted(below, (1 - confidence) / 2, side="right"))
    low, high = (pairwise[cut - 1], pairwise[-cut]) if cut else (-math.inf, math.inf)
    p_value = mann_whitney_greater(more, less)
    return Comparison(_median(pairwise), float(low), float(high), p_value)


def _median(ordered: Floats) -> float:
    """Of sorted values; `np.median` makes a NaN of infinite ones."""
    middle = len(ordered) // 2
    return float(ordered[middle] + ordered[-middle - 1]) / 2


def _ratios(first: Floats, second: Floats) -> Floats:
    """All pairwise ratios; equal values have 1, be they zero or infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.divide.outer(first, second)
    return np.where(np.equal.outer(first, second), 1.0, ratios)


def mann_whitney_greater(more: Sequence[float], less: Sequence[float]) -> float:
    """One-sided p that `more` lies no higher than `less`, from the exact distribution.

    A tie counts half, rounded against a finding: ties make the true distribution narrower, so p is
    then too large, never too small. scipy's exact test costs 0.3 ms a call, this one 10 us.
    """
    first, second = np.asarray(more, dtype=float)[:, None], np.asarray(less, dtype=float)
    wins = int(np.count_nonzero(first > second) + np.count_nonzero(first == second) / 2)
    return float(_null(len(more), len(less))[len(more) * len(less) - wins])


@cache
def _null(n: int, m: int) -> Floats:
    """P(U <= u) for u = 0 to n m when nothing differs; Mann and Whitney (1947).

    The counts are the coefficients of the Gaussian binomial, a product of (1 - x^(m+i)) / (1 - x^i)
    for i = 1 to n; whole numbers, as large as they get.
    """
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    everything = sum(counts)
    return np.cumsum([count / everything for count in counts])


def coefficient_of_variation(values: Sequence[float]) -> float:
    """Standard deviation over mean; infinite where it is unknown (fewer than two, not finite)."""
    mean = sum(values) / len(values) if values else math.nan
    if len(values) < 2 or not math.isfinite(mean) or mean <= 0:
        return math.inf
    return float(np.std(values, ddof=1)) / mean


def least_pairs(alpha: float) -> int:
    """The fewest pairs of runs whose two-sided interval at `alpha` has ends; 5 or more."""
    pairs = LEAST_PAIRS
    while 1 / math.comb(2 * pairs, pairs) > alpha / 2:
        pairs += 1
    return pairs


def pairs_needed(
    deviation: float,
    tolerance: float,
    detect: float,
    alpha: float = 0.05,
    runs: int | None = None,
) -> int:
    """Pairs of runs that find an increase of `detect` in 95 % and leave equal builds alone.

    A regression has p <= alpha and an estimate above the tolerance, whose deviation is s / sqrt(n)
    with s = deviation sqrt(2 pi / 3) (Hodges and Lehmann, 1963). So n must exceed the squares of

    * s z(1 - alpha) / tolerance: equal builds seldom show more than the tolerance;
    * s z / (detect - tolerance): the estimate of a true increase seldom falls below it;
    * s (z(1 - alpha) + z) / detect: nor does the test miss it.

    z = z(0.975), half of 5 % for each way to miss; z(1 - alpha)^2 / 2 pairs come on top, as the
    exact test on few runs is weaker than the formula (twice Guenther's correction, 1981). 20,000
    simulated replays per case, deviation 2 to 10 %, 1 to 6 objectives, tolerance 5 %, detect 10 %:
    97.6 to 100 % found, 2 % or fewer of equal builds not passed. A deviation estimated from `runs`
    runs takes Student's quantiles (Stein, 1945): one that is low by chance buys too few pairs.

    Args:
        deviation: between runs of one build, on the scale of tolerance and detect. For ratios:
            the coefficient of variation, with both as logarithms.
        tolerance: increase that is not reported.
        detect: increase to be found, above the tolerance.
        alpha: allowed false alarms, already divided by the number of objectives.
        runs: how many the deviation comes from; None: it is known.

    Returns:
        5 to `MOST_PAIRS`.
    """
    freedom = math.inf if runs is None else max(1, runs - 1)
    z_alpha, z_miss = map(float, stats.t.ppf([1 - alpha, 0.975], freedom))
    factor = max(z_alpha / tolerance, z_miss / (detect - tolerance), (z_alpha + z_miss) / detect)
    correction = NormalDist().inv_cdf(1 - alpha) ** 2 / 2
    pairs = (deviation * factor) ** 2 * 2 * math.pi / 3 + correction
    if not pairs < MOST_PAIRS:
        return MOST_PAIRS
    return max(least_pairs(alpha), math.ceil(pairs))


def slope(times: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Least-squares slope of three or more values over time, and its standard error."""
    centred = np.asarray(times) - np.mean(times)
    square = float(centred @ centred)
    rise = float(centred @ np.asarray(values)) / square
    rest = np.asarray(values) - np.mean(values) - rise * centred
    return rise, math.sqrt(float(rest @ rest) / (len(times) - 2) / square)
