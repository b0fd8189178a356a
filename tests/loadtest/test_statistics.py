"""Statistics: exact numbers where they are known, invariants where they are not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtest.comparison import decide
from loadtest.statistics import (
    MOST_PAIRS,
    coefficient_of_variation,
    compare,
    design_effect,
    least_pairs,
    mann_whitney_greater,
    pairs_needed,
    proportion_interval,
    quantile_interval,
    requests_for_quantile,
    requests_for_ratio,
    slope,
    times_longer,
)
from tests.loadtest.made import distribution

REPLAYS = 5_000
NOISE = Path(__file__).with_name("aa_noise.json")
latency_lists = st.lists(st.floats(1e-4, 10.0), min_size=1, max_size=300)
fractions = st.sampled_from([0.5, 0.9, 0.95, 0.99])


@pytest.mark.parametrize(
    ("fraction", "margin", "requests"),
    [(0.99, None, 1521), (0.99, 0.0025, 6085), (0.95, None, 292), (0.9, None, 553)],
)
def test_sample_of_a_percentile_is_that_of_the_specification(fraction, margin, requests):
    """1.96^2 p (1 - p) / margin^2."""
    assert requests_for_quantile(fraction, margin) == requests


@pytest.mark.parametrize("limit", [0.0005, 0.001, 0.01, 0.3])
def test_sample_of_a_ratio_is_the_least_that_can_show_it(limit):
    """Without a bad request the interval ends below the limit; with one request fewer, above."""
    requests = requests_for_ratio(limit)
    assert proportion_interval(0, requests).high <= limit
    assert proportion_interval(0, requests - 1).high > limit


def test_interval_of_a_median_has_the_ranks_of_the_tables():
    """For n = 100 the 95 % interval of the median is from the 40th to the 61st value."""
    latencies = distribution([i / 100 for i in range(1, 101)])
    found = quantile_interval(latencies, 0.5)
    assert found.low == pytest.approx(0.40, rel=1e-3)
    assert found.high == pytest.approx(0.61, rel=1e-3)


@given(latency_lists, st.integers(0, 50), fractions)
def test_interval_contains_its_percentile(seconds, unanswered, fraction):
    """Whatever the latencies, infinite ones included."""
    found = quantile_interval(distribution(seconds, unanswered), fraction)
    assert found.low <= found.value <= found.high


@given(latency_lists, fractions)
def test_more_confidence_gives_a_wider_interval(seconds, fraction):
    """The interval of 99 % holds that of 80 %."""
    latencies = distribution(seconds)
    narrow, wide = (quantile_interval(latencies, fraction, level) for level in (0.8, 0.99))
    assert wide.low <= narrow.low
    assert narrow.high <= wide.high


@given(latency_lists, fractions, st.integers(1, 6))
def test_rounds_never_make_an_interval_narrower(seconds, fraction, count):
    """They can only reveal that the requests were worth less than their number."""
    latencies = distribution(seconds)
    parts = [distribution(seconds[i::count]) for i in range(count)]
    plain, clustered = (quantile_interval(latencies, fraction, 0.95, each) for each in ([], parts))
    assert clustered.effective <= plain.effective == len(seconds)
    assert clustered.high >= plain.high


def test_upper_end_is_infinite_when_the_sample_cannot_reach_it():
    """100 requests say nothing of how high p99 may be."""
    assert quantile_interval(distribution([0.01] * 100), 0.99).high == math.inf


def test_upper_end_is_infinite_among_unanswered_requests():
    """1 % that were never answered: p99 is finite, its upper end is not."""
    found = quantile_interval(distribution([0.01] * 9_910, unanswered=90), 0.99)
    assert found.value < 0.011
    assert found.high == math.inf


def test_rounds_that_differ_widen_the_interval():
    """All slow requests in one of five rounds: there are about five observations, not 5,000."""
    calm, stalled = [0.01] * 1_000, [0.01] * 800 + [1.0] * 200
    rounds = [distribution(each) for each in (calm, calm, calm, calm, stalled)]
    latencies = distribution(calm * 4 + stalled)
    assert quantile_interval(latencies, 0.95).high < 0.011
    found = quantile_interval(latencies, 0.95, 0.95, rounds)
    assert (found.high > 0.9, found.low < 0.011) == (True, True)
    assert proportion_interval(250, 5_000).high < 0.06
    assert proportion_interval(250, 5_000, 0.95, [(0, 1_000)] * 4 + [(250, 1_000)]).high > 0.2


@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_upper_end_covers_correlated_rounds(fraction):
    """Rounds that are slower or faster as a whole by 5 %: it lies below the truth in 2.5 %."""
    rng = np.random.default_rng(7)
    truth = math.exp(stats.norm.ppf(fraction) * math.hypot(0.3, 0.05)) / 100
    covered = naive = 0
    for _ in range(40):
        slower = rng.normal(0, 0.05, (10, 1))
        values = np.exp(rng.normal(0, 0.3, (10, 300)) + slower) / 100
        pooled, parts = distribution(values.ravel()), [distribution(each) for each in values]
        covered += quantile_interval(pooled, fraction, 0.95, parts).high >= truth
        naive += quantile_interval(pooled, fraction).high >= truth
    assert covered >= 37
    assert covered >= naive


def test_design_effect_of_like_rounds_is_one():
    """Nothing varies more than by chance; one round cannot tell."""
    assert design_effect([(10, 100)] * 5) == 1
    assert design_effect([(10, 100)]) == 1
    assert design_effect([(0, 100)] * 5) == 1


def test_proportion_interval_is_clopper_and_pearson():
    """3 of 100: 0.62 % to 8.52 %; none of 100: up to 3.62 %."""
    found = proportion_interval(3, 100)
    assert (found.low, found.high) == pytest.approx((0.0062, 0.0852), abs=5e-5)
    assert proportion_interval(0, 100).high == pytest.approx(0.0362, abs=5e-5)
    assert proportion_interval(0, 0).high == 1


@pytest.mark.parametrize("size", [3, 5, 8, 20])
def test_mann_whitney_is_scipys_exact_test(size):
    """The same p from the table as from scipy, for samples of one size or two."""
    rng = np.random.default_rng(size)
    for other in (size, size + 2):
        more, less = rng.normal(0.5, 1, size), rng.normal(0, 1, other)
        expected = stats.mannwhitneyu(more, less, alternative="greater", method="exact").pvalue
        assert mann_whitney_greater(more, less) == pytest.approx(expected, rel=1e-9)


def test_five_against_five_reach_four_in_a_thousand():
    """All of one side above all of the other: 1 of 252 orders."""
    assert mann_whitney_greater([6, 7, 8, 9, 10], [1, 2, 3, 4, 5]) == pytest.approx(1 / 252)


@given(st.lists(st.integers(0, 3), min_size=5, max_size=9))
def test_ties_do_not_make_a_difference(values):
    """Samples that are equal value by value are never found to differ."""
    assert mann_whitney_greater(values, values) >= 0.5


def test_comparison_of_known_values():
    """All pairwise ratios lie around 1.2."""
    found = compare([1.1, 1.2, 1.3, 1.25, 1.15], [1.0] * 5)
    assert found.effect == pytest.approx(1.2)
    assert (found.low, found.high) == pytest.approx((1.1, 1.3))


@given(
    st.lists(st.floats(0.001, 1.0), min_size=5, max_size=9),
    st.lists(st.floats(0.001, 1.0), min_size=5, max_size=9),
    st.booleans(),
)
def test_effect_lies_in_its_interval(more, less, ratio):
    """As a ratio and as a difference."""
    found = compare(more, less, ratio=ratio)
    assert found.low <= found.effect <= found.high


def test_unanswered_rounds_compare():
    """Infinite is more than anything, and equal to itself; zero to zero as well."""
    assert compare([math.inf] * 5, [1.0] * 5).effect == math.inf
    assert compare([math.inf] * 5, [math.inf] * 5).effect == 1
    assert compare([1.0] * 5, [math.inf] * 5).effect == 0
    assert compare([0.0] * 5, [0.0] * 5).effect == 1


def test_more_objectives_need_more_pairs_than_five():
    """1/252 is not below a false alarm rate that many objectives share."""
    assert least_pairs(0.05) == 5
    assert least_pairs(0.05 / 20) == 6


def test_quiet_machine_needs_five_pairs_and_a_noisy_one_many():
    """The pairs grow with the square of the noise, up to what no gate will run."""
    tolerance, detect = math.log1p(0.05), math.log1p(0.1)
    pairs = [pairs_needed(cv, tolerance, detect) for cv in (0, 0.02, 0.05, 0.1, math.inf)]
    assert pairs == [5, 5, 11, 39, MOST_PAIRS]
    assert pairs_needed(0.05, tolerance, detect, runs=6) == 18


def test_variation_that_is_unknown_is_infinite():
    """Of one value, or of rounds without an answer."""
    assert coefficient_of_variation([9, 10, 11]) == pytest.approx(0.1)
    assert coefficient_of_variation([9]) == math.inf
    assert coefficient_of_variation([9, math.inf]) == math.inf


def test_slope_of_a_line_has_no_error():
    """Two more each second."""
    assert slope([1, 2, 3, 4], [0, 2, 4, 6]) == pytest.approx((2, 0))


def test_share_twice_as_near_needs_four_times_the_sample():
    """The width of an interval falls with the root of the sample; a share at the limit has none."""
    near, far = times_longer(0.0105, 0.01, 1_000), times_longer(0.011, 0.01, 1_000)
    assert near == pytest.approx(4 * far)
    assert times_longer(0.01, 0.01, 1_000) == math.inf


def recorded(metric):
    """Per-round values of equal builds on a real machine, over their mean.

    60 rounds of 2 s at 200 requests/s on two cores: `benchmarks/gate.py noise`, against the stub
    (lognormal, 20 ms) and against the model of the demo.
    """
    server, name = metric.split()
    values = np.array(json.loads(NOISE.read_text())[server][name])
    return values / values.mean()


def lognormal(cv):
    """A large sample of noise with this variation."""
    return np.exp(np.random.default_rng(1).normal(0, math.sqrt(math.log1p(cv**2)), 20_000))


RECORDED = ("stub p50", "stub p95", "stub p99", "service p50")


@pytest.mark.parametrize("noise", [*RECORDED, 0.03, 0.05, 0.07])
@pytest.mark.parametrize("objectives", [1, 3])
def test_regressions_are_found_and_equal_builds_left_alone(noise, objectives):
    """With the pairs for its noise: at most 5 % false alarms, at least 95 % of +10 % found."""
    values = recorded(noise) if isinstance(noise, str) else lognormal(noise)
    alpha = 0.05 / objectives
    cv = coefficient_of_variation(values.tolist())
    pairs = pairs_needed(cv, math.log1p(0.05), math.log1p(0.1), alpha)
    rng = np.random.default_rng(2)
    alarms = found = 0
    for candidate, baseline in rng.choice(values, (REPLAYS, 2, pairs)):
        alarms += decide(candidate, baseline, 0.05, alpha).outcome != "pass"
        found += decide(1.1 * candidate, baseline, 0.05, alpha).outcome == "regression"
    assert alarms <= 0.05 * REPLAYS
    assert found >= 0.95 * REPLAYS


def test_pairs_from_few_rounds_still_find_regressions():
    """The variation is itself estimated, from six rounds of equal builds each time."""
    rng = np.random.default_rng(3)
    alarms = found = 0
    for _ in range(REPLAYS):
        cv = coefficient_of_variation((1 + rng.normal(0, 0.04, 6)).tolist())
        pairs = pairs_needed(cv, math.log1p(0.05), math.log1p(0.1), runs=6)
        candidate, baseline = 1 + rng.normal(0, 0.04, (2, pairs))
        alarms += decide(candidate, baseline, 0.05, 0.05).outcome == "regression"
        found += decide(1.1 * candidate, baseline, 0.05, 0.05).outcome == "regression"
    assert alarms <= 0.05 * REPLAYS
    assert found >= 0.95 * REPLAYS
