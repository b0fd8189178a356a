"""The service time: what is predicted, how sure that is, and how fast a change is believed."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.service_time import WINDOW, ServiceTime

FIXED_S, PER_TOKEN_S = 0.004, 30e-6


def true_s(tokens: int) -> float:
    """What a batch of so many padded tokens takes."""
    return FIXED_S + PER_TOKEN_S * tokens


def sizes(count: int, seed: int = 1) -> list[int]:
    """Padded tokens of mixed batches."""
    rng = random.Random(seed)
    return [rng.choice([8, 16, 32, 64]) * rng.randint(1, 16) for _ in range(count)]


def taught(count: int = 100, factor: float = 1.0) -> ServiceTime:
    """Knows mixed batches without noise."""
    learned = ServiceTime()
    for tokens in sizes(count):
        learned.observe(tokens, factor * true_s(tokens))
    return learned


def test_nothing_is_expected_before_anything_was_seen():
    """Zero seconds, which refuses nobody."""
    learned = ServiceTime()
    assert (learned.predict(512), learned.upper_ratio) == (0.0, 1.0)


def test_one_batch_is_believed_for_what_it_says():
    """The same size takes the same time; another is taken to be in proportion."""
    learned = ServiceTime()
    learned.observe(100, 0.02)
    assert learned.predict(100) == pytest.approx(0.02)
    assert learned.predict(200) == pytest.approx(0.04)


def test_line_is_found_exactly_if_there_is_one():
    """The cost of starting a run and that of a token."""
    learned = taught()
    for tokens in (1, 8, 512, 4096):
        assert learned.predict(tokens) == pytest.approx(true_s(tokens))
    assert learned.upper_ratio == pytest.approx(1.0)


def test_single_size_keeps_the_shape_of_the_line():
    """An hour of equal batches must not forget what a small one costs."""
    learned = taught()
    for _ in range(2 * WINDOW):
        learned.observe(512, true_s(512))
    for tokens in (8, 512):
        assert learned.predict(tokens) == pytest.approx(true_s(tokens), rel=0.01)


def test_single_size_that_becomes_slower_is_followed():
    """At the size that is seen; of others nothing is known until they come again."""
    learned = taught()
    for _ in range(2 * WINDOW):
        learned.observe(512, 1.3 * true_s(512))
    assert learned.predict(512) == pytest.approx(1.3 * true_s(512), rel=0.01)
    for _ in range(10):
        learned.observe(8, 1.3 * true_s(8))
    assert learned.predict(8) == pytest.approx(1.3 * true_s(8), rel=0.01)


@pytest.mark.parametrize("sigma", [0.03, 0.05])
def test_prediction_of_mixed_batches_is_within_15_percent(sigma):
    """The 90th percentile of the relative error over 1,000 batches, each predicted beforehand."""
    rng = random.Random(3)
    learned = taught(20)
    errors = []
    for tokens in sizes(1000, seed=2):
        seconds = true_s(tokens) * rng.lognormvariate(0.0, sigma)
        errors.append(abs(learned.predict(tokens) / seconds - 1.0))
        learned.observe(tokens, seconds)
    assert sorted(errors)[900] <= 0.15


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_upper_bound_covers_95_of_100_batches(sigma, seed):
    """93 to 97 %, of batches that were bounded before they were computed."""
    rng = random.Random(seed)
    learned = taught(20)
    covered = []
    for tokens in sizes(5000, seed=seed):
        seconds = true_s(tokens) * rng.lognormvariate(0.0, sigma)
        covered.append(seconds <= learned.predict(tokens) * learned.upper_ratio)
        learned.observe(tokens, seconds)
    counted = covered[WINDOW:]
    assert 0.93 <= sum(counted) / len(counted) <= 0.97


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0, 10.0])
def test_change_of_the_machine_is_believed_after_five_batches(factor):
    """Not after a window of them; and what was known before is gone."""
    learned = taught(WINDOW)
    for tokens in (512, 64, 256, 512, 128):
        learned.observe(tokens, factor * true_s(tokens))
    for tokens in (64, 512):
        assert learned.predict(tokens) == pytest.approx(factor * true_s(tokens), rel=0.05)


def test_single_slow_batch_is_no_change():
    """Nor are four of them: a garbage collection, a neighbour on the machine."""
    learned = taught(WINDOW)
    for _ in range(4):
        learned.observe(512, 3.0 * true_s(512))
    learned.observe(512, true_s(512))
    assert learned.predict(512) == pytest.approx(true_s(512), rel=0.25)


def test_slow_outliers_leave_the_expectation_of_small_batches_alone():
    """One batch in fifty takes five times as long, which is 8 % on average."""
    rng = random.Random(4)
    learned = taught(20)
    for tokens in sizes(1000):
        learned.observe(tokens, true_s(tokens) * (5.0 if rng.random() < 0.02 else 1.0))
    assert learned.predict(64) == pytest.approx(true_s(64), rel=0.25)


@given(
    batches=st.lists(
        st.tuples(
            st.integers(1, 10**6),
            st.one_of(st.just(0.0), st.floats(1e-9, 1e4)),
        ),
        max_size=60,
    ),
    asked=st.integers(1, 10**6),
)
def test_prediction_is_finite_and_grows_with_the_batch_whatever_was_seen(batches, asked):
    """No division by zero, no NaN, nothing negative; a larger batch is never the faster one."""
    learned = ServiceTime()
    for tokens, seconds in batches:
        learned.observe(tokens, seconds)
        assert math.isfinite(learned.upper_ratio)
        assert learned.predict(asked) >= 0.0
        assert learned.predict(asked) <= learned.predict(2 * asked)


def test_sums_do_not_drift():
    """Sliding the window adds and subtracts: after 100,000 batches that is still exact."""
    rng = random.Random(5)
    learned = ServiceTime()
    for _ in range(100_000):
        tokens = rng.randint(1, 100_000)
        learned.observe(tokens, true_s(tokens) * rng.uniform(0.9, 1.1))
    learned = _after(learned, [(tokens, true_s(tokens)) for tokens in sizes(WINDOW)])
    assert learned.predict(512) == pytest.approx(true_s(512), rel=1e-6)


def _after(learned: ServiceTime, batches: list[tuple[int, float]]) -> ServiceTime:
    for tokens, seconds in batches:
        learned.observe(tokens, seconds)
    return learned
