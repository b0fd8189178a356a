"""Arrival times: seeded, at the stated rate, and split without loss."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtest.schedule import arrival_times, thinned

rates = st.floats(0, 500)
seeds = st.integers(0, 2**31 - 1)


def test_constant_arrivals_have_equal_gaps_and_exact_count() -> None:
    """100/s for 2 s are 200, 10 ms apart."""
    times = list(arrival_times("constant", 100, 100, 2.0, seed=1))
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert len(times) == 200
    assert gaps == pytest.approx([0.01] * 199)


@given(start=rates, end=rates, seed=seeds, process=st.sampled_from(["constant", "poisson"]))
def test_arrivals_ascend_and_stay_inside_the_stage(
    start: float, end: float, seed: int, process: str
) -> None:
    """At any rate, ramps included."""
    times = list(arrival_times(process, start, end, 3.0, seed))
    assert times == sorted(times)
    assert all(0 <= at <= 3.0 * (1 + 1e-9) for at in times)


@given(start=st.floats(1, 500), end=st.floats(0, 500))
def test_a_ramp_of_constant_arrivals_holds_the_integral_of_its_rate(
    start: float, end: float
) -> None:
    """To within one."""
    times = list(arrival_times("constant", start, end, 4.0, seed=0))
    assert abs(len(times) - 2.0 * (start + end)) <= 1


def test_a_ramp_is_as_steep_as_stated() -> None:
    """From 0 to 100/s in 10 s: a quarter of the arrivals in the first half."""
    times = list(arrival_times("constant", 0, 100, 10.0, seed=0))
    assert sum(at < 5 for at in times) == pytest.approx(len(times) / 4, abs=1)


def test_gaps_of_poisson_arrivals_are_exponential() -> None:
    """Kolmogorov and Smirnov agree."""
    times = [0.0, *arrival_times("poisson", 500, 500, 20.0, seed=3)]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert stats.kstest(gaps, "expon", args=(0, 1 / 500)).pvalue > 0.01


def test_equal_seeds_give_equal_times_and_others_do_not() -> None:
    """A run can be repeated."""

    def times(seed: int) -> list[float]:
        return list(arrival_times("poisson", 50, 50, 2.0, seed))

    assert times(1) == times(1) != times(2)


@given(workers=st.integers(1, 7), seed=seeds)
def test_workers_together_send_exactly_the_schedule(workers: int, seed: int) -> None:
    """None twice, none never."""
    whole = list(enumerate(arrival_times("poisson", 100, 20, 1.0, seed)))
    shares = [
        list(thinned(arrival_times("poisson", 100, 20, 1.0, seed), worker, workers))
        for worker in range(workers)
    ]
    assert sorted(itertools.chain(*shares)) == whole
