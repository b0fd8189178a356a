"""Distributions: exact ranks, infinite latencies for the unanswered, 0.1 % resolution."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import HIGHEST_S, Distribution, encode, new_histogram, record

seconds = st.floats(1e-6, HIGHEST_S)


def encoded(latencies: list[float], digits: int = 3) -> str:
    """A histogram of these latencies."""
    histogram = new_histogram(digits)
    for latency in latencies:
        record(histogram, latency)
    return encode(histogram)


@given(st.lists(seconds, min_size=1, max_size=50), st.floats(0.001, 1))
def test_a_quantile_is_the_nearest_rank_to_a_thousandth(
    latencies: list[float], fraction: float
) -> None:
    """Against a sorted list."""
    expected = sorted(latencies)[math.ceil(fraction * len(latencies) - 1e-9) - 1]
    found = Distribution([encoded(latencies)]).quantile(fraction)
    assert found == pytest.approx(expected, rel=1.1e-3, abs=1.1e-6)


@given(st.lists(seconds, max_size=30), st.lists(seconds, max_size=30))
def test_merged_histograms_are_the_histogram_of_all(
    first: list[float], second: list[float]
) -> None:
    """Nothing is lost or rounded twice."""
    merged = Distribution([encoded(first), encoded(second)])
    whole = Distribution([encoded(first + second)])
    assert (merged.values_s, merged.counts) == (whole.values_s, whole.counts)


def test_coarser_histograms_are_read_too() -> None:
    """Those of single seconds have two digits."""
    assert Distribution([encoded([0.5], digits=2)]).quantile(0.5) == pytest.approx(0.5, rel=0.01)


def test_the_unanswered_are_infinitely_late() -> None:
    """They lie above all others."""
    some = Distribution([encoded([0.1] * 98)], unanswered=2)
    assert some.total == 100
    assert some.quantile(0.98) == pytest.approx(0.1, rel=1e-3)
    assert some.quantile(0.99) == math.inf


def test_none_at_all_has_no_quantile() -> None:
    """Not a number, and not zero."""
    assert math.isnan(Distribution([]).quantile(0.5))
    assert Distribution([]).within(1) == 0


def test_within_counts_the_answers_up_to_a_deadline() -> None:
    """The unanswered are within none."""
    some = Distribution([encoded([0.01, 0.02, 0.03])], unanswered=5)
    assert [some.within(limit) for limit in (0.005, 0.0201, 0.02999, 10)] == [0, 2, 2, 3]


def test_durations_out_of_range_are_recorded_at_its_ends() -> None:
    """Nothing is dropped."""
    ends = Distribution([encoded([-1.0, 1e9])])
    assert ends.at_rank(1) == pytest.approx(1e-6)
    assert ends.at_rank(2) == pytest.approx(HIGHEST_S, rel=1e-3)
