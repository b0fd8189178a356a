"""Overload in virtual time: the scheduler and what it learns, against an engine that is a formula.

Goodput is what was answered within its deadline. Seeds are fixed, so these are no matters of luck;
margins are for the choice of the seed.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from service.items import Item, Priority
from tests.simulation import (
    BATCH_SIZE,
    LENGTH,
    Call,
    Curve,
    World,
    by_tokens,
    capacity_of,
    limits,
    linear,
    noisy,
    poisson,
    warm,
)

FAST, SLOW = linear(), linear(0.020, 0.005)  # 800 and 160 texts a second
TEXTS = 3000  # that an engine can compute while a test lasts


def share_of(calls: Iterable[Call], outcome: str = "on_time") -> float:
    """Of these calls."""
    outcomes = [call.outcome for call in calls]
    return outcomes.count(outcome) / len(outcomes)


def world(curve: Curve, workers: int = 1, timeout_s: float = 0.25, **changed) -> World:
    """One that has been warmed up."""
    return World(curve, limits(workers=workers, timeout_s=timeout_s), learns=warm(curve), **changed)


def merged(*streams: Iterator[Call]) -> Iterator[Call]:
    """All calls in the order of time."""
    return heapq.merge(*streams, key=lambda call: call.at)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("curve", "timeout_s"), [(FAST, 0.25), (FAST, 0.1), (SLOW, 0.25)])
@pytest.mark.parametrize("load", [2, 5, 10])
def test_goodput_holds_under_overload(curve, timeout_s, workers, load):
    """98 % of the capacity at any load, nothing late, and hardly any refusal comes as a 504."""
    capacity = capacity_of(curve, workers)
    span_s = 1.0 + TEXTS / capacity
    run = world(curve, workers, timeout_s)
    run.run(poisson(load * capacity, span_s, timeout_s=timeout_s))
    assert run.goodput(1.0, span_s) >= 0.98 * capacity
    assert run.count("late") == 0
    assert run.count("expired") <= 0.01 * run.count("on_time")
    assert run.count("") == 0  # everybody has an answer
    assert max(call.answered - call.at for call in run.calls) <= timeout_s


@pytest.mark.parametrize(("load", "served"), [(0.5, 1.0), (0.8, 0.99)])
@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_refused_below_capacity(workers, load, served):
    """Bursts wait, they are not turned away."""
    run = world(SLOW, workers)
    run.run(poisson(load * capacity_of(SLOW, workers), 30.0))
    assert share_of(run.calls) >= served


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("curve", [FAST, SLOW], ids=["800/s", "160/s"])
@pytest.mark.parametrize("load", [2, 10])
def test_goodput_holds_if_batches_take_longer_or_shorter_than_expected(curve, workers, load):
    """Lognormal with sigma 0.2: 95 % of what such an engine can do."""
    sigma = 0.2
    capacity = capacity_of(curve, workers) / math.exp(sigma**2 / 2)
    span_s = 1.0 + TEXTS / capacity
    run = world(noisy(curve, sigma), workers)
    run.run(poisson(load * capacity, span_s))
    assert run.goodput(1.0, span_s) >= 0.95 * capacity
    assert run.count("late") == 0
    assert run.count("expired") <= 0.1 * run.count("on_time")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("curve", "share"), [(FAST, 0.98), (SLOW, 0.95)], ids=["800/s", "160/s"])
@pytest.mark.parametrize("load", [2, 10])
def test_goodput_holds_if_answers_need_time_to_get_out(curve, share, workers, load):
    """8 ms on average, which no batch shows: learned from the answers, and taken off the queue.

    By nearly all of the answers where the queue holds many batches.
    """
    rng = random.Random(3)
    capacity = capacity_of(curve, workers)
    span_s = 3.0 + TEXTS / capacity
    run = world(curve, workers, delivery_s=lambda: rng.expovariate(1 / 0.008))
    run.run(poisson(load * capacity, span_s))
    assert run.goodput(3.0, span_s) >= share * capacity


def test_margin_for_answers_that_were_late_is_forgotten_again():
    """After 2 s in which every answer needed 0.2 of its 0.25 s nobody is refused for long."""
    run = world(SLOW, delivery_s=lambda: 0.2 if 5.0 <= run.now < 7.0 else 0.0)
    capacity = capacity_of(SLOW)
    run.run(poisson(0.8 * capacity, 20.0))
    assert run.goodput(12.0, 20.0) >= 0.75 * capacity


def test_unbounded_queue_loses_nearly_everything_at_twice_the_capacity():
    """The counter-example: first come, first served, nobody refused, everybody late."""
    queue: deque[float] = deque()
    arrivals = poisson(2 * capacity_of(FAST), 10.0)
    now, good = 0.0, 0
    coming = next(arrivals)
    while now < 10.0:
        while coming is not None and coming.at <= now:
            queue.append(coming.at)
            coming = next(arrivals, None)
        size = min(BATCH_SIZE, len(queue))
        now += 0.004 + 0.001 * size if size else 0.001
        good += sum(now - queue.popleft() <= 0.25 for _ in range(size))
    assert good / 10.0 <= 0.1 * capacity_of(FAST)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("curve", [FAST, SLOW], ids=["800/s", "160/s"])
def test_service_is_whole_within_a_second_of_an_overload(curve, workers):
    """Ten times the capacity, then 0.8 times."""
    capacity = capacity_of(curve, workers)
    run = world(curve, workers)
    run.run(merged(poisson(10 * capacity, 5.0), poisson(0.8 * capacity, 11.0, seed=2, start=5.0)))
    assert share_of(call for call in run.calls if call.at >= 6.0) >= 0.99
    assert len(run.scheduler) == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("curve", "timeout_s", "served"),
    [(FAST, 0.25, 0.99), (linear(0.008, 0.002), 0.25, 0.99), (SLOW, 0.25, 0.98)],
)
def test_interactive_requests_come_first_and_batch_requests_get_the_rest(
    curve, timeout_s, served, workers
):
    """0.5 C of one, 5 C of the other, that came first: the total is C and nobody starves.

    At 160 texts a second the deadline is two batches and a half, and the turn of the others one.
    """
    capacity = capacity_of(curve, workers)
    run = world(curve, workers, timeout_s)
    start, until = 2.0, 8.0
    run.run(
        merged(
            poisson(0.5 * capacity, until, start=start),
            poisson(5 * capacity, until, seed=2, priority=Priority.BATCH),
        )
    )
    assert share_of(c for c in run.calls if c.priority is Priority.INTERACTIVE) >= served
    assert run.goodput(start, until) >= 0.95 * capacity
    assert run.count("late") == 0
    for priority in Priority:
        assert longest_gap(run, priority, start, until) <= 1.0


def test_flood_of_batch_requests_takes_no_place_from_interactive_ones():
    """Also where the queue is bounded by its size, which the flood has filled."""
    capacity = capacity_of(FAST)
    run = World(FAST, limits(timeout_s=10.0, max_queue_size=64), learns=warm(FAST))
    run.run(
        merged(
            poisson(0.5 * capacity, 6.0, start=2.0, timeout_s=10.0),
            poisson(5 * capacity, 6.0, seed=2, timeout_s=10.0, priority=Priority.BATCH),
        )
    )
    assert share_of(c for c in run.calls if c.priority is Priority.INTERACTIVE) >= 0.99
    assert run.goodput(2.0, 6.0) >= 0.95 * capacity


def longest_gap(run: World, priority: Priority, start: float, until: float) -> float:
    """Seconds in which no request of this priority was answered in time."""
    answered = (c.answered for c in run.calls if c.priority is priority and c.outcome == "on_time")
    times = [start, *sorted(at for at in answered if start <= at < until), until]
    return max(after - before for before, after in itertools.pairwise(times))


@pytest.mark.parametrize("load", [1.5, 3])
def test_clients_that_come_again_do_no_harm(load):
    """Three times, after Retry-After and up to as long again: the service stays at its capacity."""
    rng = random.Random(3)

    def retry(call: Call, retry_after_s: float) -> Call | None:
        if call.attempt == 3:
            return None
        at = call.answered + retry_after_s * (1.0 + rng.random())
        return replace(call, at=at, attempt=call.attempt + 1, outcome="", answered=math.inf)

    capacity = capacity_of(FAST)
    span_s = 1.0 + TEXTS / capacity
    run = world(FAST, retry=retry)
    run.run(poisson(load * capacity, span_s))
    assert run.goodput(1.0, span_s) >= 0.98 * capacity
    assert run.count("late") == 0


@pytest.mark.parametrize(("workers", "sigma"), [(1, 0.0), (1, 0.2), (2, 0.0)])
def test_bound_of_the_queue_follows_the_service_time(workers, sigma):
    """Ten times slower, and back: within 20 % of C * (D - s) after 5 s, and goodput with it."""
    slow = linear(0.04, 0.01)

    def changing(batch, now):
        return (slow if 3.0 <= now < 13.0 else FAST)(batch, now)

    seen: list[tuple[float, int]] = []
    curve = noisy(changing, sigma)
    run = World(
        curve,
        limits(workers=workers, timeout_s=1.0),
        learns=warm(FAST),
        on_event=lambda now: seen.append((now, run.scheduler.queue_limit)),
    )
    run.run(poisson(2 * capacity_of(FAST, workers), 20.0, timeout_s=1.0))
    for start, until, engine in [(1, 3, FAST), (8, 13, slow), (18, 20, FAST)]:
        capacity = capacity_of(engine, workers) / math.exp(sigma**2 / 2)
        expected = math.ceil(capacity * (1.0 - BATCH_SIZE * workers / capacity_of(engine, workers)))
        found = [limit for now, limit in seen if start <= now < until]
        assert 0.8 * expected <= min(found) <= max(found) <= 1.2 * expected
        assert run.goodput(start, until) >= 0.9 * capacity
    assert run.count("late") == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("load", [0.8, 2])
def test_engine_that_pauses_for_a_second_costs_that_second(workers, load):
    """What waited expires on time, nothing is late, and 0.5 s later all is as before."""
    paused = [1.0] * workers

    def pausing(batch, now):
        return paused.pop() if now >= 3.0 and paused else FAST(batch, now)

    capacity = capacity_of(FAST, workers)
    run = world(pausing, workers)
    run.run(poisson(load * capacity, 9.0))
    assert run.count("late") == 0
    assert max(call.answered - call.at for call in run.calls) <= 0.25 + 1e-9
    assert run.goodput(4.5, 9.0) >= 0.97 * min(load, 1.0) * capacity


@pytest.mark.parametrize("texts", [8, 32, 64])
@pytest.mark.parametrize("timeout_s", [0.25, 1.0])
def test_requests_of_many_texts_are_computed_whole_or_not_at_all(texts, timeout_s):
    """Half of the requests, nearly all of the load: what is begun is finished in time."""
    capacity = capacity_of(FAST)
    span_s = 1.0 + TEXTS / capacity

    def mixed() -> Iterator[Call]:
        rng = random.Random(9)
        for call in poisson(5 * capacity / ((texts + 1) / 2), span_s, timeout_s=timeout_s):
            call.lengths = (LENGTH,) * (texts if rng.random() < 0.5 else 1)
            yield call

    run = world(FAST, timeout_s=timeout_s)
    run.run(mixed())
    assert run.goodput(1.0, span_s) >= 0.95 * capacity
    assert run.count("late") == 0
    assert run.count("expired") <= 0.02 * run.count("on_time")
    large = [call for call in run.calls if len(call.lengths) == texts]
    assert share_of(large) > 0.01


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("load", [2, 5])
def test_goodput_in_tokens_holds_for_texts_of_mixed_lengths(workers, load):
    """93 % of what the same scheduler computes with all the time in the world.

    A queue of half a second holds fewer neighbours in length than one without a bound.
    """
    curve, span_s = by_tokens(), 6.0

    def mixed(rate: float, timeout_s: float) -> Iterator[Call]:
        rng = random.Random(4)
        for call in poisson(rate, span_s, seed=4, timeout_s=timeout_s):
            call.lengths = (min(256, max(2, int(rng.lognormvariate(3.2, 0.8)))),)
            yield call

    def tokens_per_s(run: World) -> float:
        good = [
            call.lengths[0]
            for call in run.calls
            if call.outcome == "on_time" and 2.0 <= call.answered < span_s
        ]
        return sum(good) / (span_s - 2.0)

    rate = 800 * workers
    unhurried = World(curve, limits(workers=workers, timeout_s=60.0), learns=warm(curve))
    unhurried.run(mixed(3 * rate, 60.0), until=span_s)
    run = world(curve, workers, timeout_s=0.5)
    run.run(mixed(load * rate, 0.5))
    assert tokens_per_s(run) >= 0.93 * tokens_per_s(unhurried)
    assert run.count("late") == 0


def test_simulation_is_of_the_scheduler_and_repeats_itself():
    """Two runs of one seed are equal, and an item is what the service submits."""
    runs = [world(noisy(SLOW, 0.2)) for _ in range(2)]
    runs[1].curve = noisy(SLOW, 0.2)
    runs[0].curve = noisy(SLOW, 0.2)
    for run in runs:
        run.run(poisson(400, 3.0))
    first, second = ([(c.at, c.outcome, c.answered) for c in run.calls] for run in runs)
    assert first == second
    assert isinstance(runs[0].calls[0].items[0], Item)
