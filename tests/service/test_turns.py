"""Whose turn it is: cheap work passes dear work, and how long it may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.turns import PATIENCE, Cost, Turns

SECONDS = st.floats(0.0, 100.0)
JOBS = st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=20)


def drained(turns: Turns) -> list[str]:
    """Payloads in the order in which they are done."""
    order = []
    while (job := turns.next()) is not None:
        order.append(job.payload)
        turns.remove(job)
    return order


def test_small_job_passes_a_large_one_and_not_one_of_its_own_size():
    """First come, first served among equals."""
    turns = Turns()
    for payload, expected_s in [("large", 4.0), ("first", 0.01), ("second", 0.01)]:
        turns.submit(payload, expected_s, now=0.0)
    assert drained(turns) == ["first", "second", "large"]


def test_large_job_is_passed_for_a_bounded_time():
    """Of what comes later nothing goes before it."""
    turns = Turns()
    turns.submit("large", 1.0, now=0.0)
    turns.submit("in time", 0.0, now=PATIENCE - 0.1)
    turns.submit("late", 0.0, now=PATIENCE + 0.1)
    assert drained(turns) == ["in time", "large", "late"]


def test_wait_is_what_goes_before():
    """None if there is nothing: then a job is tried, whatever it is expected to take."""
    turns = Turns()
    assert turns.before_s(1.0, 0.0) is None
    turns.submit("large", 4.0, now=0.0)
    turns.submit("small", 0.1, now=0.0)
    assert turns.before_s(0.01, 0.0) == 0.0
    assert turns.before_s(1.0, 0.0) == pytest.approx(0.1)
    assert turns.before_s(4.0, 0.0) == pytest.approx(4.1)
    assert turns.left_s == pytest.approx(4.1)


def test_cost_is_an_upper_quantile_of_the_last_jobs():
    """A few slow ones do not count, many do; work of nothing says nothing."""
    cost = Cost(1e-6)
    cost.observe(0.0, 1.0)
    assert cost.seconds == 1e-6
    for index in range(100):
        cost.observe(10.0, 1.0 if index < 5 else 0.1)
    assert cost.seconds == pytest.approx(0.01)
    for _ in range(30):
        cost.observe(10.0, 1.0)
    assert cost.seconds == pytest.approx(0.1)


@given(JOBS)
def test_no_job_is_passed_by_what_comes_later_than_its_patience(jobs):
    """Whatever the costs and the times of arrival."""
    turns = Turns()
    for index, (expected_s, now) in enumerate(jobs):
        turns.submit(index, expected_s, now)
    assert len(turns) == len(jobs)
    order = drained(turns)
    assert sorted(order) == list(range(len(jobs)))
    for place, index in enumerate(order):
        expected_s, now = jobs[index]
        for later in order[:place]:
            assert jobs[later][1] <= now + PATIENCE * expected_s
