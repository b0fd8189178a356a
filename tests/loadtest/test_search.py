"""The search for the capacity: against services whose capacity is known."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.result import Step
from loadtest.search import GeneratorLimitError, search


def service(capacity, generator=float("inf")):
    """Holds up to `capacity`; the generator reaches no further than `generator`."""

    def measure(phase, rate_rps):
        if rate_rps > generator:
            raise GeneratorLimitError("schedule lag 40 ms")
        held = rate_rps <= capacity
        return Step(phase=phase, rate_rps=rate_rps, held=held, reason="" if held else "p99")

    return measure


@given(st.floats(1.1, 5_000.0), st.floats(1.0, 1_000.0))
def test_known_capacity_is_found_within_three_percent(capacity, start_rps):
    """From any first guess, never above it, in few steps."""
    found = search(service(capacity), start_rps)
    assert capacity / 1.03 <= found.rate_rps <= capacity
    assert (found.confirmations, found.limited_by) == (5, "objectives")
    assert len(found.steps) <= 30


def test_steps_are_doubled_halved_and_confirmed():
    """Bracket 50, 100, 200, bisect by ratio, then five times the answer."""
    found = search(service(150), 50, precision=1.5)
    rates = [(step.phase, round(step.rate_rps), step.held) for step in found.steps]
    assert rates == [
        ("bracket", 50, True),
        ("bracket", 100, True),
        ("bracket", 200, False),
        ("bisect", 141, True),
        *[("confirm", 141, True)] * 5,
    ]


def test_first_guess_too_high_is_halved():
    """Down to one request per second, and no further."""
    assert search(service(30), 400).rate_rps == pytest.approx(30, rel=0.03)
    nothing = search(service(0.5), 8)
    assert [step.rate_rps for step in nothing.steps] == [8, 4, 2, 1]
    assert (nothing.rate_rps, nothing.confirmations) == (None, 0)


def test_generator_at_its_limit_is_named():
    """The largest rate that held is the answer, confirmed, and not all that there may be."""
    found = search(service(1_000, generator=300), 100)
    assert found.rate_rps == pytest.approx(300, rel=0.03)
    assert (found.confirmations, found.limited_by) == (5, "generator")
    assert {step.reason for step in found.steps if not step.held} == {"schedule lag 40 ms"}


def test_nearest_miss_names_the_limit():
    """A generator that gives up above the capacity does not hide it."""
    assert search(service(30, generator=90), 100).limited_by == "objectives"
    assert search(service(70, generator=90), 100).limited_by == "objectives"
    assert search(service(70, generator=0.5), 4).limited_by == "generator"


def test_missed_confirmation_lowers_the_rate_and_starts_again():
    """Two percent less for a miss; the five are in a row."""
    results = iter([True, False, *[True] * 2, False, *[True] * 3, False, *[True] * 5])

    def measure(phase, rate_rps):
        return Step(phase=phase, rate_rps=rate_rps, held=next(results), reason="")

    found = search(measure, 100, precision=2)
    assert found.rate_rps == pytest.approx(100 * 0.98**2)
    assert found.confirmations == 5


def test_service_that_never_settles_has_no_confirmed_rate():
    """Ten misses end the search; it never runs on and on."""
    held = random.Random(0)

    def measure(phase, rate_rps):
        lucky = phase != "confirm" or held.random() < 0.5
        return Step(phase=phase, rate_rps=rate_rps, held=lucky and rate_rps < 100, reason="")

    found = search(measure, 60)
    assert found.rate_rps is None
    assert found.confirmations < 5
    assert len(found.steps) < 70


def test_callback_that_never_fails_ends_the_search():
    """No service carries a million requests per second: the generator is to blame."""
    found = search(service(float("inf")), 100)
    assert found.limited_by == "generator"
