"""The scheduler: exact batches for exact arrivals, and its promises under any order of calls."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import ClosedError, QueueFullError
from service.scheduler import Item, Scheduler


def items(*lengths: int, deadline: float = 10.0) -> list[Item[int]]:
    """Items of these lengths, with their length as payload."""
    return [Item(length, deadline, length) for length in lengths]


def lengths(batch: list[Item[int]]) -> list[int]:
    """Of the items, in the order of the batch."""
    return [item.length for item in batch]


def make(**limits: int) -> Scheduler[int]:
    """A small one, with `limits` changed."""
    defaults = {"max_batch_tokens": 100, "max_batch_size": 8, "max_queue_size": 50}
    return Scheduler(**(defaults | limits))


def test_batch_holds_the_oldest_and_its_neighbours_in_length():
    """Around the oldest (20) the window grows to the closest lengths while the rectangle fits."""
    scheduler = make(max_padding_tokens=1000)
    scheduler.submit(items(20, 90, 21, 3, 19, 22), now=0.0)
    assert lengths(scheduler.next_batch(0.0)) == [19, 20, 21, 22]  # 4 x 22 <= 100 < 5 x 22
    assert lengths(scheduler.next_batch(0.0)) == [90]
    assert lengths(scheduler.next_batch(0.0)) == [3]
    assert scheduler.next_batch(0.0) == []


def test_neighbour_that_adds_too_much_padding_waits_for_another_run():
    """Starting a run is cheaper than computing a rectangle that is mostly padding."""
    scheduler = make(max_batch_tokens=1000, max_padding_tokens=10)
    scheduler.submit(items(5, 6, 100, 16), now=0.0)
    assert lengths(scheduler.next_batch(0.0)) == [5, 6]
    assert lengths(scheduler.next_batch(0.0)) == [100]
    assert lengths(scheduler.next_batch(0.0)) == [16]


def test_item_larger_than_the_budget_goes_alone():
    """A text that no budget allows is computed all the same, without company."""
    scheduler = make(max_padding_tokens=1000)
    scheduler.submit(items(500, 1), now=0.0)
    assert lengths(scheduler.next_batch(0.0)) == [500]
    assert lengths(scheduler.next_batch(0.0)) == [1]


def test_equal_lengths_leave_in_the_order_of_arrival():
    """Among texts of one length nobody is overtaken."""
    scheduler = make(max_batch_size=2)
    arrived = items(7, 7, 7, 7, 7)
    scheduler.submit(arrived, now=0.0)
    taken = [item for _ in range(3) for item in scheduler.next_batch(0.0)]
    assert taken == arrived


def test_request_that_does_not_fit_as_a_whole_is_refused_as_a_whole():
    """All or nothing, and a smaller request still finds its place."""
    scheduler = make(max_queue_size=3)
    scheduler.submit(items(1, 1), now=0.0)
    with pytest.raises(QueueFullError, match="2 texts are waiting and the queue holds 3"):
        scheduler.submit(items(1, 1), now=0.0)
    scheduler.submit(items(1), now=0.0)
    assert len(scheduler) == 3


def test_overdue_item_is_never_in_a_batch_and_is_expired_once():
    """A deadline that has passed excludes from batches even before `expire` is called."""
    scheduler = make()
    late, early = items(5, deadline=2.0) + items(5, deadline=1.0)
    scheduler.submit([late, early], now=0.0)
    assert scheduler.next_deadline == 1.0
    assert scheduler.next_batch(1.0) == [late]
    assert scheduler.expire(1.0) == [early]
    assert scheduler.expire(9.0) == []
    assert scheduler.next_deadline is None


def test_cancelled_item_is_gone():
    """It is in no batch, and cancelling again or after computing says so."""
    scheduler = make()
    first, second = items(5, 6)
    scheduler.submit([first, second], now=0.0)
    assert scheduler.cancel(first)
    assert not scheduler.cancel(first)
    assert scheduler.next_batch(0.0) == [second]
    assert not scheduler.cancel(second)


def test_closed_scheduler_refuses_but_gives_out_what_it_accepted():
    """Closing loses nothing."""
    scheduler = make()
    scheduler.submit(items(5), now=0.0)
    scheduler.close()
    with pytest.raises(ClosedError):
        scheduler.submit(items(5), now=0.0)
    assert lengths(scheduler.next_batch(0.0)) == [5]


def test_clear_returns_all_that_waits_and_all_that_is_overdue():
    """Also what `next_batch` set aside."""
    scheduler = make()
    overdue, waiting, taken = items(5, deadline=1.0) + items(90, 50)
    scheduler.submit([taken, overdue, waiting], now=0.0)
    assert scheduler.next_batch(1.0) == [taken]
    assert scheduler.clear() == [overdue, waiting]
    assert len(scheduler) == 0


@given(
    waiting=st.lists(st.integers(1, 128), min_size=1, max_size=40),
    later=st.lists(st.lists(st.integers(1, 128), max_size=10), max_size=60),
)
def test_item_that_found_k_waiting_is_in_one_of_the_next_k_plus_1_batches(waiting, later):
    """The bound on being overtaken, whatever arrives later."""
    scheduler = make(max_batch_tokens=256, max_queue_size=10_000)
    scheduler.submit(items(*waiting), now=0.0)
    (patient,) = items(64)
    scheduler.submit([patient], now=0.0)
    arrivals = iter(later)
    batches = 1
    while patient not in scheduler.next_batch(0.0):
        scheduler.submit(items(*next(arrivals, [])), now=0.0)
        batches += 1
    assert batches <= len(waiting) + 1


class SchedulerMachine(RuleBasedStateMachine):
    """Every accepted item has exactly one outcome, whatever is called in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = make(max_queue_size=12, max_batch_size=4)
        self.now = 0.0
        self.accepted: list[Item[int]] = []
        self.outcomes: dict[int, str] = {}

    def settle(self, settled: list[Item[int]], outcome: str) -> None:
        """Each item once."""
        for item in settled:
            assert item in self.accepted
            assert id(item) not in self.outcomes, "settled twice"
            self.outcomes[id(item)] = outcome

    @rule(
        sizes=st.lists(st.integers(1, 120), min_size=1, max_size=5),
        timeout=st.sampled_from([0.5, 2.0, 100.0]),
    )
    def submit(self, sizes: list[int], timeout: float) -> None:
        """All are accepted, or none with a reason."""
        new = items(*sizes, deadline=self.now + timeout)
        waiting = len(self.scheduler)
        try:
            self.scheduler.submit(new, self.now)
        except QueueFullError:
            assert waiting + len(new) > 12
        except ClosedError:
            assert self.scheduler.closed
        else:
            self.accepted += new
            waiting += len(new)
        assert len(self.scheduler) == waiting

    @rule()
    def next_batch(self) -> None:
        """The oldest in time is in it; size and budget hold."""
        waiting = self.waiting()
        in_time = [item for item in waiting if item.deadline > self.now]
        batch = self.scheduler.next_batch(self.now)
        assert bool(batch) == bool(in_time)
        if batch:
            assert in_time[0] in batch  # the oldest
            assert all(item in in_time for item in batch)
            assert len(batch) <= 4
            assert len(batch) == 1 or len(batch) * max(lengths(batch)) <= 100
        self.settle(batch, "computed")

    @rule(passed=st.sampled_from([0.1, 1.0, 5.0]))
    def expire(self, passed: float) -> None:
        """Exactly what is due, whether set aside or not."""
        self.now += passed
        due = [item for item in self.waiting() if item.deadline <= self.now]
        expired = self.scheduler.expire(self.now)
        assert set(map(id, expired)) == set(map(id, due))
        self.settle(expired, "expired")

    @rule(passed=st.sampled_from([0.6, 3.0]))
    def wait(self, passed: float) -> None:
        """Deadlines pass unnoticed."""
        self.now += passed

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Any item at any time."""
        item = data.draw(st.sampled_from(self.accepted))
        if self.scheduler.cancel(item):
            self.settle([item], "cancelled")

    @rule()
    def fail(self) -> None:
        """Nothing is left behind."""
        self.settle(self.scheduler.clear(), "failed")
        assert not self.waiting()

    @rule()
    def close(self) -> None:
        """May come at any time."""
        self.scheduler.close()

    @invariant()
    def length_counts_what_waits(self) -> None:
        """The queue never holds more than was accepted and not settled."""
        assert len(self.scheduler) <= len(self.waiting())
        due = self.scheduler.next_deadline
        assert due is None or any(item.deadline == due for item in self.waiting())

    def waiting(self) -> list[Item[int]]:
        """Accepted and not settled, oldest first."""
        return [item for item in self.accepted if id(item) not in self.outcomes]

    def teardown(self) -> None:
        """After draining everybody has an outcome."""
        self.scheduler.close()
        while batch := self.scheduler.next_batch(self.now):
            self.settle(batch, "computed")
        self.settle(self.scheduler.expire(self.now), "expired")
        assert len(self.outcomes) == len(self.accepted)


SchedulerMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None
)
TestScheduler = SchedulerMachine.TestCase
