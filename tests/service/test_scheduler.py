"""The scheduler: exact batches for exact arrivals, and its promises under any order of calls."""

import math
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from service import lane as lane_module
from service.errors import (
    ClosedError,
    EngineStalledError,
    QueueFullError,
    TooLateError,
    UnavailableError,
)
from service.items import Batch, Item, Limits, Priority, Ticket
from service.scheduler import Scheduler
from service.service_time import ServiceTime

CASES = int(os.environ.get("HEED_FUZZ_CASES", "500"))
FAR = 1e6  # a deadline
ROUNDING = 1e-9  # seconds, of sums of decimal fractions


def items(
    *lengths: int, deadline: float = FAR, priority: Priority = Priority.INTERACTIVE
) -> list[Item[int]]:
    """Items of these lengths, with their place as payload."""
    return [Item(length, deadline, place, priority) for place, length in enumerate(lengths)]


def lengths(batch: Batch[int] | None) -> list[int]:
    """Of its items, in order."""
    assert batch is not None
    return [item.length for item in batch.items]


def make(seconds: float = 0.0, **limits: float) -> Scheduler[int]:
    """A small one, with `limits` changed; batches of 100 tokens take `seconds` if that is known."""
    return make_taught(taught(seconds), **limits)


def taught(seconds: float) -> ServiceTime:
    """What knows that batches of 100 tokens take `seconds`, or nothing if that is 0."""
    known = ServiceTime()
    if seconds:
        known.observe(100, seconds)
    return known


def make_taught(known: ServiceTime, **limits: float) -> Scheduler[int]:
    """A small one, with `limits` changed."""
    defaults = {"max_batch_tokens": 100, "max_batch_size": 8, "max_queue_size": 50, "timeout_s": 10}
    return Scheduler(Limits(**(defaults | limits)), known)


def busy(scheduler: Scheduler[int], now: float = 0.0) -> Batch[int]:
    """A batch of one long text, running."""
    scheduler.submit(items(100), now)
    batch = scheduler.prepare(now)
    assert scheduler.start(batch, now)
    return batch


# Batches


def test_idle_engine_takes_what_is_there():
    """One text alone is a batch; nothing waits for company."""
    scheduler = make()
    assert not scheduler.can_prepare
    scheduler.submit(items(5), 0.0)
    assert scheduler.can_prepare
    assert lengths(scheduler.prepare(0.0)) == [5]
    assert scheduler.prepare(0.0) is None


def test_one_full_batch_is_prepared_while_the_engine_works():
    """A batch with room left waits for company, and there is never a second one in store."""
    scheduler = make()
    busy(scheduler)
    scheduler.submit(items(*[1] * 7), 0.0)
    assert scheduler.prepare(0.0) is None
    scheduler.submit(items(*[1] * 20), 0.0)
    assert len(lengths(scheduler.prepare(0.0))) == 8
    assert not scheduler.can_prepare
    assert len(scheduler) == 27


def test_texts_without_hurry_are_not_prepared_ahead():
    """They would go before an urgent text that comes while the engine still works."""
    scheduler = make()
    running = busy(scheduler)
    scheduler.submit(items(*[1] * 20, priority=Priority.BATCH), 0.0)
    assert not scheduler.can_prepare
    scheduler.submit(items(2), 0.0)
    scheduler.finish(running, 1.0)
    assert lengths(scheduler.prepare(1.0)) == [1] * 7 + [2]


@pytest.mark.parametrize(
    ("max_batch_tokens", "together"),
    [(100, [10, 18]), (512, [10, 18]), (1279, [10, 18]), (1280, [10, 18, 28])],
)
def test_one_text_more_may_bring_padding_of_a_64th_of_a_batch(max_batch_tokens, together):
    """And 8 tokens at least."""
    scheduler = make(max_batch_tokens=max_batch_tokens)
    scheduler.submit(items(10, 18, 28, 200), 0.0)
    assert lengths(scheduler.prepare(0.0)) == together


def test_as_many_batches_run_as_there_are_workers():
    """And one more is prepared."""
    scheduler = make(workers=3)
    scheduler.submit(items(*[100] * 10), 0.0)
    batches = [scheduler.prepare(0.0) for _ in range(5)]
    assert [batch is not None for batch in batches] == [True, True, True, True, False]
    assert all(scheduler.start(batch, 0.0) for batch in batches[:3])
    assert list(scheduler.running) == batches[:3]


def test_batch_is_filled_from_the_other_priority():
    """Interactive texts first; room that is left is not wasted."""
    scheduler = make(max_batch_size=4)
    scheduler.submit(items(*[5] * 6, priority=Priority.BATCH), 0.0)
    scheduler.submit(items(5, 5, 5), 0.0)
    batch = scheduler.prepare(0.0)
    assert [item.priority for item in batch.items].count(Priority.INTERACTIVE) == 3
    assert [item.payload for item in batch.items if item.priority is Priority.BATCH] == [0]


@pytest.mark.parametrize(("share", "led_by_batch"), [(0.5, 20), (0.75, 10), (0.9, 4)])
def test_priorities_share_the_batches_while_both_wait(share, led_by_batch):
    """Of forty batches; to within one for the rounding of decimal fractions."""
    scheduler = make(max_batch_size=1, max_queue_size=100, interactive_share=share)
    scheduler.submit(items(*[5] * 90), 0.0)
    scheduler.submit(items(*[5] * 90, priority=Priority.BATCH), 0.0)
    led = 0
    for _ in range(40):
        batch = scheduler.prepare(0.0)
        led += batch.items[0].priority is Priority.BATCH
        scheduler.start(batch, 0.0)
        scheduler.finish(batch, 0.0)
    assert abs(led - led_by_batch) <= 1


# Admission


def test_request_that_does_not_fit_as_a_whole_is_refused_as_a_whole():
    """All or nothing, and a smaller request still finds its place."""
    scheduler = make(max_queue_size=3)
    scheduler.submit(items(1, 1), 0.0)
    with pytest.raises(QueueFullError, match="2 texts are waiting and the queue holds 3"):
        scheduler.submit(items(1, 1), 0.0)
    scheduler.submit(items(1), 0.0)
    assert len(scheduler) == 3


def test_texts_without_hurry_take_no_place_from_the_others():
    """Each priority has the bound of the queue to itself."""
    scheduler = make(max_queue_size=5)
    busy(scheduler)
    scheduler.submit(items(*[1] * 5, priority=Priority.BATCH), 0.0)
    with pytest.raises(QueueFullError):
        scheduler.check(Ticket(Priority.BATCH, FAR), 0.0)
    scheduler.submit(items(*[1] * 5), 0.0)
    with pytest.raises(QueueFullError):
        scheduler.check(Ticket(Priority.INTERACTIVE, FAR), 0.0)


def test_queue_is_bounded_by_what_can_be_computed_in_time():
    """C * (D - s): of 50 texts a second in batches of 0.1 s, 10 s less 0.1 s."""
    scheduler = make(seconds=0.1, max_queue_size=10_000, max_batch_size=5)
    assert scheduler.queue_limit == math.ceil(50 * (10 - 0.1))
    assert make(seconds=0.1, max_queue_size=7).queue_limit == 7
    assert make(seconds=100.0).queue_limit == 1
    assert make().queue_limit == 50  # nothing is known yet


def test_request_that_would_be_late_is_refused_with_the_time_to_wait():
    """By the batches before it: one runs for 1 s, two wait, and its own comes after them."""
    scheduler = make(seconds=1.0)
    busy(scheduler)
    scheduler.submit(items(100, 100), 0.0)
    for deadline in (3.9, 2.0):
        with pytest.raises(TooLateError) as caught:
            scheduler.submit(items(100, deadline=deadline), 0.0)
        assert caught.value.retry_after_s == max(1.0, 4.0 - deadline)
    scheduler.submit(items(100, deadline=4.1), 0.0)


def test_headers_alone_are_enough_to_refuse():
    """`check` refuses what no text, however short, would be accepted with; and keeps nothing."""
    scheduler = make(seconds=1.0)
    busy(scheduler)
    scheduler.submit(items(100, 100), 0.0)
    with pytest.raises(TooLateError):
        scheduler.check(Ticket(Priority.INTERACTIVE, 2.9), 0.0)
    scheduler.check(Ticket(Priority.INTERACTIVE, 4.1), 0.0)
    assert len(scheduler) == 2


def test_idle_engine_refuses_nobody_for_being_late():
    """Only by computing does it learn that it has become faster."""
    scheduler = make(seconds=100.0)
    scheduler.check(Ticket(Priority.INTERACTIVE, 0.001), 0.0)
    scheduler.submit(items(5, deadline=0.001), 0.0)
    assert lengths(scheduler.prepare(0.0)) == [5]


def test_request_of_many_texts_is_expected_to_need_several_batches():
    """Its last text decides."""
    scheduler = make(seconds=1.0)
    busy(scheduler)
    with pytest.raises(TooLateError):
        scheduler.submit(items(*[100] * 5, deadline=5.9), 0.0)
    scheduler.submit(items(*[100] * 5, deadline=6.1), 0.0)


def test_priority_batch_expects_others_to_come_first():
    """With half of the engine used by interactive texts of late, the wait doubles at least."""
    scheduler = make(seconds=0.5)
    now = 0.0
    for _ in range(40):  # a text of 0.5 s each second
        running = busy(scheduler, now)
        scheduler.finish(running, now + 0.5)
        now += 1.0
    running = busy(scheduler, now)
    scheduler.submit(items(*[100] * 4, priority=Priority.BATCH), now)
    urgent = scheduler.completion_s(Priority.INTERACTIVE, 1, 100, now)
    patient = scheduler.completion_s(Priority.BATCH, 1, 100, now)
    assert urgent == pytest.approx(1.0, rel=0.01)
    assert 2 * 2.5 + 0.5 <= patient <= 15.0  # 0.5 s running, four before it, and its own


def test_text_that_would_be_computed_too_late_makes_room_for_one_that_would_not():
    """The engine was slower than expected; what can no longer be in time is not computed."""
    scheduler = make(seconds=1.0)
    running = busy(scheduler)
    late, in_time = items(100, deadline=2.5) + items(100, deadline=4.5)
    scheduler.submit([late], 0.0)
    scheduler.submit([in_time], 0.0)
    scheduler.finish(running, 2.0)
    assert scheduler.prepare(2.0).items == [in_time]
    assert len(scheduler) == 1
    assert scheduler.next_deadline == 2.5
    assert scheduler.expire(2.5) == [late]


def test_text_that_would_be_late_is_computed_if_there_is_nothing_else_to_do():
    """The prediction may be wrong."""
    scheduler = make(seconds=1.0)
    running = busy(scheduler)
    (late,) = items(100, deadline=2.5)
    scheduler.submit([late], 0.0)
    scheduler.finish(running, 2.0)
    assert scheduler.prepare(2.0).items == [late]


def test_a_few_requests_that_were_late_refuse_nobody():
    """Only when there have been many; then by no more than a quarter of the timeout."""
    scheduler = make(1.0, timeout_s=10)
    late = items(100)[0]
    late.expected = 0.0
    taken = []
    for number in range(1, 60):
        scheduler.answered(late, 8.0)
        running = busy(scheduler)
        try:
            scheduler.submit(items(1, deadline=4.0), 0.0)
            taken.append(number)
        except TooLateError:
            pass
        scheduler.finish(running, 0.0)
        scheduler.clear()
    assert taken == list(range(1, 40))


# Leaving


def test_overdue_item_is_never_in_a_batch_and_is_expired_once():
    """A deadline that has passed excludes from batches even before `expire` is called."""
    scheduler = make()
    late, early = items(5, deadline=2.0) + items(5, deadline=1.0)
    scheduler.submit([late, early], 0.0)
    assert scheduler.next_deadline == 1.0
    batch = scheduler.prepare(1.0)
    assert batch.items == [late]
    assert scheduler.expire(1.0) == [early]
    assert not scheduler.start(batch, 2.0)
    assert scheduler.expire(9.0) == [late]
    assert scheduler.expire(9.0) == []
    assert scheduler.next_deadline is None


def test_prepared_batch_loses_what_leaves_before_it_starts():
    """Cancelled or expired: the engine does not see it."""
    scheduler = make()
    gone, overdue, stays = items(5, 6, 7)
    overdue.deadline = 1.0
    scheduler.submit([gone, overdue, stays], 0.0)
    batch = scheduler.prepare(0.0)
    assert scheduler.cancel(gone)
    assert scheduler.start(batch, 1.0)
    assert batch.items == [stays]
    assert (batch.tokens, batch.padded_tokens) == (7, 7)


def test_item_that_leaves_while_it_is_computed_is_not_handed_out():
    """Its result is nobody's."""
    scheduler = make()
    gone, overdue, stays = items(5, 6, 7)
    overdue.deadline = 1.0
    scheduler.submit([gone, overdue, stays], 0.0)
    batch = scheduler.prepare(0.0)
    scheduler.start(batch, 0.0)
    scheduler.cancel(gone)
    assert scheduler.finish(batch, 1.0) == [stays]
    assert scheduler.expire(1.0) == [overdue]


def test_cancelled_item_is_gone():
    """It is in no batch, and cancelling again or after computing says so."""
    scheduler = make()
    first, second = items(5, 6)
    scheduler.submit([first, second], 0.0)
    assert scheduler.cancel(first)
    assert not scheduler.cancel(first)
    batch = scheduler.prepare(0.0)
    assert batch.items == [second]
    scheduler.start(batch, 0.0)
    scheduler.finish(batch, 0.0)
    assert not scheduler.cancel(second)


def test_closed_scheduler_refuses_but_gives_out_what_it_accepted():
    """Closing loses nothing."""
    scheduler = make()
    scheduler.submit(items(5), 0.0)
    scheduler.close()
    with pytest.raises(ClosedError):
        scheduler.submit(items(5), 0.0)
    assert lengths(scheduler.prepare(0.0)) == [5]


def test_stalled_scheduler_refuses():
    """Nothing will be computed."""
    scheduler = make()
    scheduler.stalled = True
    with pytest.raises(EngineStalledError):
        scheduler.check(Ticket(Priority.INTERACTIVE, FAR), 0.0)


def test_clear_returns_all_that_was_accepted_and_not_handed_out():
    """Waiting, overdue, prepared and running."""
    scheduler = make(max_batch_size=1)
    everything = items(100, 90, 80, 5)
    everything[3].deadline = 1.0
    scheduler.submit(everything, 0.0)
    running = scheduler.prepare(0.0)
    scheduler.start(running, 0.0)
    prepared = scheduler.prepare(1.0)
    assert sorted(item.payload for item in scheduler.clear()) == [0, 1, 2, 3]
    assert (len(scheduler), scheduler.next_deadline) == (0, None)
    assert scheduler.finish(running, 2.0) == []
    assert not scheduler.start(prepared, 2.0)


class SchedulerMachine(RuleBasedStateMachine):
    """Every accepted item leaves exactly once, whatever is called in whatever order.

    The model is a list per place: what waits (by priority, oldest first), what each batch holds,
    what was given up or is overdue and will expire.
    """

    MAX_OVERTAKING = 3

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(lane_module, "MAX_OVERTAKING", self.MAX_OVERTAKING)
        self.now = 0.0
        self.counter = 0
        self.accepted: list[Item[int]] = []
        self.waiting: dict[Priority, list[Item[int]]] = {priority: [] for priority in Priority}
        self.given_up: list[Item[int]] = []
        self.overdue: list[Item[int]] = []
        self.prepared: list[Batch[int]] = []
        self.outcomes: dict[int, str] = {}
        self.overtaken: dict[int, int] = {}

    @initialize(
        workers=st.integers(1, 3),
        seconds=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
        share=st.sampled_from([0.5, 0.9]),
    )
    def begin(self, workers: int, seconds: float, share: float) -> None:
        """Slow and fast engines, and one of which nothing is known."""
        self.service_time = taught(seconds)
        self.scheduler = make_taught(
            self.service_time,
            max_queue_size=12,
            max_batch_size=4,
            workers=workers,
            interactive_share=share,
        )

    # What is called

    @rule(
        sizes=st.lists(st.integers(1, 120), min_size=1, max_size=6),
        timeout=st.sampled_from([0.0, 0.5, 2.0, 10.0]),
        priority=st.sampled_from(Priority),
    )
    def submit(self, sizes: list[int], timeout: float, priority: Priority) -> None:
        """All are accepted, or none with a reason that is true."""
        new = [
            Item(length, self.now + timeout, self.counter + place, priority)
            for place, length in enumerate(sizes)
        ]
        self.counter += len(new)
        scheduler, held = self.scheduler, sum(len(batch.items) for batch in self.prepared)
        idle = not len(scheduler) and len(scheduler.running) < scheduler._limits.workers
        wanted = len(self.waiting[priority]) + held + len(new)
        seconds = scheduler.completion_s(priority, len(new), sum(sizes), self.now)
        seconds += scheduler._forecast.late_s(priority)
        refused = None
        try:
            scheduler.submit(new, self.now)
        except UnavailableError as error:
            refused = error
        if refused is None:
            assert not scheduler.closed
            assert wanted <= 12
            assert idle or (wanted <= scheduler.queue_limit and seconds <= timeout + ROUNDING)
            self.accepted += new
            self.waiting[priority] += new
            return
        assert refused.retry_after_s >= 1.0
        if isinstance(refused, QueueFullError):
            assert wanted > (12 if idle else scheduler.queue_limit)
        elif isinstance(refused, TooLateError):
            assert not idle
            assert seconds > timeout - ROUNDING
        else:
            assert isinstance(refused, ClosedError)
            assert scheduler.closed

    @rule()
    def prepare(self) -> None:
        """A batch within its limits, led by the oldest of its lane that can be in time."""
        batch = self.scheduler.prepare(self.now)
        self.notice_overdue()
        self.notice_given_up([] if batch is None else batch.items)
        taken = len(self.prepared) + len(self.scheduler.running)
        urgent = self.waiting[Priority.INTERACTIVE]
        is_full = len(urgent) >= 4 or sum(item.length for item in urgent) >= 100
        free = self.scheduler._limits.workers - taken
        assert (batch is not None) == (
            any(self.waiting.values()) if free > 0 else not free and is_full
        )
        if batch is None:
            return
        assert batch.items
        assert len(batch.items) <= 4
        assert len(batch.items) == 1 or len(batch.items) * max(lengths(batch)) <= 100
        assert lengths(batch) == sorted(lengths(batch))
        assert batch.padded_tokens == len(batch.items) * batch.items[-1].length
        assert any(waiting and waiting[0] in batch.items for waiting in self.waiting.values())
        for item in batch.items:
            self.waiting[item.priority].remove(item)
        for mate in batch.items:
            for item in self.waiting[mate.priority]:
                if item.payload < mate.payload:
                    assert item.length != mate.length
                    overtaken = self.overtaken.get(item.payload, 0) + 1
                    assert overtaken < self.MAX_OVERTAKING
                    self.overtaken[item.payload] = overtaken
        assert batch.left_waiting == any(self.waiting.values())
        self.prepared.append(batch)

    @precondition(lambda self: self.prepared)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """The engine sees nothing that is overdue or has left."""
        free = len(self.scheduler.running) < self.scheduler._limits.workers
        if not free:
            return
        batch = self.prepared.pop(data.draw(st.integers(0, len(self.prepared) - 1)))
        alive = self.alive(batch)
        assert self.scheduler.start(batch, self.now) == bool(alive)
        self.notice_overdue()
        assert batch.items == alive
        assert (batch in self.scheduler.running) == bool(alive)
        assert batch.expected_s >= 0.0

    @precondition(lambda self: self.scheduler.running)
    @rule(data=st.data(), learn=st.booleans())
    def finish(self, data: st.DataObject, learn: bool) -> None:
        """What is still waited for, and is not late."""
        batch = data.draw(st.sampled_from(list(self.scheduler.running)))
        alive = self.alive(batch)
        if learn and alive:
            self.service_time.observe(batch.padded_tokens, self.now - batch.ends + 10.0)
        computed = self.scheduler.finish(batch, self.now)
        self.notice_overdue()
        assert computed == alive
        self.settle(computed, "computed")

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Any item at any time; it leaves unless it has left or is overdue."""
        item = data.draw(st.sampled_from(self.accepted))
        can_leave = item.payload not in self.outcomes and item not in self.overdue
        assert self.scheduler.cancel(item) == can_leave
        if can_leave:
            self.forget(item)
            self.settle([item], "cancelled")

    @rule(passed=st.sampled_from([0.0, 0.1, 1.0, 5.0]))
    def expire(self, passed: float) -> None:
        """Exactly what is due, wherever it is."""
        self.now += passed
        self.notice_overdue()
        expired = self.scheduler.expire(self.now)
        assert set(map(id, expired)) == set(map(id, self.overdue))
        self.overdue.clear()
        self.settle(expired, "expired")

    @rule(passed=st.sampled_from([0.2, 0.6, 3.0]))
    def wait(self, passed: float) -> None:
        """Deadlines pass unnoticed."""
        self.now += passed

    @rule(chance=st.integers(0, 9))
    def fail(self, chance: int) -> None:
        """Nothing is left behind, and batches that were under way come back empty."""
        if chance:
            return
        left = self.scheduler.clear()
        self.settle(left, "failed")
        assert len(self.outcomes) == len(self.accepted)
        for place in (*self.waiting.values(), self.given_up, self.overdue):
            place.clear()

    @rule(chance=st.integers(0, 9))
    def close(self, chance: int) -> None:
        """May come at any time."""
        if not chance:
            self.scheduler.close()

    # What always holds

    @invariant()
    def counts_agree_with_the_model(self) -> None:
        """Length, tokens, the next deadline, and the number of batches taken."""
        scheduler = self.scheduler
        waiting = [item for lane in self.waiting.values() for item in lane]
        held = [item for batch in self.prepared for item in batch.items]
        running = [item for batch in scheduler.running for item in batch.items]
        assert len(scheduler) == len(waiting) + len(held)
        assert [len(lane) for lane in scheduler._lanes] == list(map(len, self.waiting.values()))
        assert sum(lane.tokens for lane in scheduler._lanes) == sum(it.length for it in waiting)
        due = [item.deadline for item in (*waiting, *held, *running, *self.given_up)]
        assert scheduler.next_deadline == min(due, default=None)
        assert len(due) + len(self.overdue) + len(self.outcomes) == len(self.accepted)
        assert len(self.prepared) + len(scheduler.running) <= scheduler._limits.workers + 1
        assert 1 <= scheduler.queue_limit <= 12

    @invariant()
    def idle_engine_never_waits(self) -> None:
        """A free worker can have a batch as soon as anything waits."""
        taken = len(self.prepared) + len(self.scheduler.running)
        if any(self.waiting.values()) and taken < self.scheduler._limits.workers:
            assert self.scheduler.can_prepare

    # The model

    def settle(self, settled: list[Item[int]], outcome: str) -> None:
        """Each item once, and only those that were accepted."""
        known = set(map(id, self.accepted))
        for item in settled:
            assert id(item) in known
            assert item.payload not in self.outcomes, "settled twice"
            self.outcomes[item.payload] = outcome

    def forget(self, item: Item[int]) -> None:
        """It is in no place any more; batches are the scheduler's own lists."""
        for place in (self.waiting[item.priority], self.given_up):
            if item in place:
                place.remove(item)

    def alive(self, batch: Batch[int]) -> list[Item[int]]:
        """What of it has not left and is not overdue."""
        return [item for item in batch.items if item.deadline > self.now]

    def notice_overdue(self) -> None:
        """The call has set aside what is due by now."""
        for item in self.accepted:
            settled = item.payload in self.outcomes or item in self.overdue
            if item.deadline <= self.now and not settled:
                self.forget(item)
                self.overdue.append(item)

    def notice_given_up(self, taken: list[Item[int]]) -> None:
        """What neither waits nor was taken could not be in time, and something else could."""
        worst_s = self.service_time.predict(120)
        ends = max((batch.ends for batch in self.scheduler.running), default=self.now)
        ahead = len(self.prepared)
        for priority, waiting in self.waiting.items():
            lane = self.scheduler._lanes[priority]
            lost = [item for item in waiting if item not in lane and item not in taken]
            for item in lost:
                assert item.deadline < max(ends, self.now) + (1 + ahead) * worst_s
                waiting.remove(item)
                self.given_up.append(item)
            assert not lost or any(self.waiting.values())

    def teardown(self) -> None:
        """After draining everybody has an outcome."""
        if hasattr(self, "scheduler"):
            self.drain()
        self._patch.undo()

    def drain(self) -> None:
        """As `Batcher.close` does."""
        scheduler = self.scheduler
        scheduler.close()
        while len(scheduler) or scheduler.running or self.prepared:
            for batch in list(scheduler.running):
                self.settle(scheduler.finish(batch, self.now), "computed")
            if batch := scheduler.prepare(self.now):
                self.prepared.append(batch)
            if self.prepared:
                scheduler.start(self.prepared.pop(0), self.now)
        self.settle(scheduler.expire(math.inf), "expired")
        assert len(self.outcomes) == len(self.accepted)


SchedulerMachine.TestCase.settings = settings(
    max_examples=CASES,
    stateful_step_count=40,
    deadline=None,
    derandomize="HEED_FUZZ_CASES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
TestScheduler = SchedulerMachine.TestCase
