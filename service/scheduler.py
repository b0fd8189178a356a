"""Who is accepted, and what is computed together. Pure: no model, no clock, no threads.

One object holds the queue, its places, deadlines and priorities, so that they cannot drift apart.
An accepted item leaves once: by `finish`, `expire`, `cancel` or `clear`.

    submit -> waiting (Lane) -> prepare -> prepared -> start -> running -> finish

A text is accepted if, by what batches have taken so far, it will be computed before its deadline;
the bound of the queue follows from the same figures. An idle engine takes whatever comes: only by
computing does it learn that it has become faster.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import takewhile
from typing import Generic

from service.errors import ClosedError, EngineStalledError, QueueFullError, TooLateError
from service.forecast import Forecast
from service.items import Batch, Item, Limits, PayloadT, Priority, Ticket
from service.lane import Lane
from service.service_time import ServiceTime


class Scheduler(Generic[PayloadT]):
    """Queue, places, deadlines and priorities. Not thread-safe: the caller holds a lock."""

    def __init__(self, limits: Limits, service_time: ServiceTime) -> None:
        """Make an empty queue.

        Args:
            limits: of batches and queue.
            service_time: predicts; somebody else teaches it.
        """
        self._limits = limits
        self._room = limits.room
        self._forecast = Forecast(limits, service_time)
        self._lanes: tuple[Lane[PayloadT], ...] = tuple(Lane() for _ in Priority)
        self._by_deadline: list[tuple[float, int, Item[PayloadT]]] = []
        self._overdue: list[Item[PayloadT]] = []
        self._prepared: list[Batch[PayloadT]] = []
        self._running: list[Batch[PayloadT]] = []
        self._credit = 0.0  # of priority batch, in batches
        self.closed = False
        self.stalled = False

    def __len__(self) -> int:
        """Number of items waiting or prepared."""
        return sum(map(len, self._lanes)) + self._num_prepared

    @property
    def next_deadline(self) -> float | None:
        """When `expire` will next have something to return; None if nothing is waited for."""
        return self._by_deadline[0][0] if self._by_deadline else None

    @property
    def running(self) -> Sequence[Batch[PayloadT]]:
        """The batches in the engine."""
        return self._running

    @property
    def queue_limit(self) -> int:
        """Texts of a priority that may wait: see `Forecast.queue_limit`."""
        return self._forecast.queue_limit

    # Admission

    def check(self, ticket: Ticket, now: float) -> None:
        """Refuse a request of which nothing is known yet but its deadline.

        Raises:
            QueueFullError, TooLateError: not even one short text would be accepted.
            ClosedError, EngineStalledError: nothing is.
        """
        self._admit(ticket, 1, 1, now)

    def submit(self, items: Sequence[Item[PayloadT]], now: float) -> None:
        """Accept all of `items`, of one priority and deadline, or none.

        Raises:
            QueueFullError: there is no room for all of them.
            TooLateError: they are not expected to be computed before their deadline.
            ClosedError, EngineStalledError: `close` was called; the engine hangs.
        """
        first, tokens = items[0], sum(item.length for item in items)
        expected = self._admit(Ticket(first.priority, first.deadline), len(items), tokens, now)
        if first.priority is Priority.INTERACTIVE:
            self._forecast.count_load(len(items), tokens, now)
        lane = self._lanes[first.priority]
        for item in items:
            item.submitted, item.expected = now, expected
            lane.push(item)
            insort(self._by_deadline, _deadline_entry(item))

    def answered(self, item: Item[PayloadT], now: float) -> None:
        """The request of `item` is; learn from how well that was predicted."""
        self._forecast.learn_answer(item, now)

    def completion_s(self, priority: Priority, texts: int, tokens: int, now: float) -> float:
        """Seconds from `now` until a request of so many texts and tokens will be computed.

        Priority interactive waits for its own lane, at its share of the engine while the other
        lane waits too; priority batch waits for both, and for what will come to the first
        meanwhile: with load r of that, the wait grows by 1 / (1 - r) (Cobham 1954).
        """
        interactive, batch = self._lanes
        ends = [running.ends for running in self._running]
        free_s, speed = self._forecast.engine_free_s(ends, len(self._prepared), now), 1.0
        texts, tokens = texts + len(interactive), tokens + interactive.tokens
        if priority is Priority.BATCH:
            texts, tokens = texts + len(batch), tokens + batch.tokens
            speed = 1.0 - min(self._forecast.load(now), self._limits.interactive_share)
            free_s /= speed
        elif batch:
            speed = self._limits.interactive_share
        joins_full = bool(self._prepared)
        return free_s + self._forecast.completion_s(texts, tokens, free_s, speed, joins_full)

    def _admit(self, ticket: Ticket, texts: int, tokens: int, now: float) -> float:
        """When the last of so many texts is expected to be computed; raises if that is no use."""
        if self.stalled:
            raise EngineStalledError("the engine hangs, the service is about to restart")
        if self.closed:
            raise ClosedError("the service is shutting down")
        # Each priority has the bound to itself: texts without hurry take no place from the others.
        waiting = len(self._lanes[ticket.priority]) + self._num_prepared
        if waiting + texts > self._limits.max_queue_size:
            raise self._full(waiting, texts, self._limits.max_queue_size)
        expected = now + self.completion_s(ticket.priority, texts, tokens, now)
        if self._is_idle:
            return expected
        limit = self.queue_limit
        if waiting + texts > limit:
            raise self._full(waiting, texts, limit)
        late_s = expected + self._forecast.late_s(ticket.priority) - ticket.deadline
        if late_s > 0.0:
            raise TooLateError(
                f"expected to be computed {late_s:.3f} s after its deadline", max(1.0, late_s)
            )
        return expected

    def _full(self, waiting: int, texts: int, limit: int) -> QueueFullError:
        excess = waiting + texts - limit
        return QueueFullError(
            f"{waiting} texts are waiting and the queue holds {limit}, no room for {texts} more",
            max(1.0, self._forecast.work_s(excess, 0)),
        )

    @property
    def _waiting(self) -> tuple[int, int]:
        """Texts that no batch holds yet, and their tokens."""
        return sum(map(len, self._lanes)), sum(lane.tokens for lane in self._lanes)

    @property
    def _num_prepared(self) -> int:
        return sum(len(batch.items) for batch in self._prepared)

    @property
    def _is_idle(self) -> bool:
        """Whether an item that comes now is computed at once."""
        return len(self) == 0 and len(self._running) < self._limits.workers

    # Batches

    @property
    def can_prepare(self) -> bool:
        """Whether `prepare` would return a batch.

        While every worker computes, one batch is prepared ahead, but only a full one: one with room
        left is better off waiting for company.
        """
        taken = len(self._running) + len(self._prepared)
        if taken < self._limits.workers:
            return any(self._lanes)
        return taken == self._limits.workers and self.is_full

    @property
    def is_full(self) -> bool:
        """Whether the texts of priority interactive that wait fill a batch.

        Those of priority batch do not: once prepared they would be ahead of what comes meanwhile.
        """
        first, limits = self._lanes[Priority.INTERACTIVE], self._limits
        return len(first) >= limits.max_batch_size or first.tokens >= limits.max_batch_tokens

    def prepare(self, now: float) -> Batch[PayloadT] | None:
        """Form a batch: the oldest item and its neighbours in length; None if not `can_prepare`.

        An item whose deadline has passed is never in it: `expire` returns that.
        """
        self._set_overdue_aside(now)
        if self.can_prepare:
            self._give_up_late(now)
        if not self.can_prepare:
            return None
        items: list[Item[PayloadT]] = []
        first = self._next_lane()
        for priority in (first, Priority(1 - first)):
            self._lanes[priority].take(self._room, items)
        batch = Batch(items, left_waiting=any(self._lanes))
        self._forecast.learn(batch)
        self._prepared.append(batch)
        return batch

    def start(self, batch: Batch[PayloadT], now: float) -> bool:
        """A worker computes `batch` now, less what has expired or left since; False if all has."""
        self._set_overdue_aside(now)
        self._prepared.remove(batch)
        if not batch.items:
            return False
        batch.expected_s = self._forecast.batch_s(batch.padded_tokens)
        batch.ends = now + batch.expected_s
        self._running.append(batch)
        return True

    def finish(self, batch: Batch[PayloadT], now: float) -> list[Item[PayloadT]]:
        """`batch` is computed; take those of its items that are still waited for."""
        self._set_overdue_aside(now)
        self._running.remove(batch)
        for item in batch.items:
            self._forget_deadline(item)
        return batch.items

    def _next_lane(self) -> Priority:
        interactive, batch = self._lanes
        if not batch:
            return Priority.INTERACTIVE
        if not interactive:
            return Priority.BATCH
        self._credit += 1.0 - self._limits.interactive_share
        if self._credit < 1.0:
            return Priority.INTERACTIVE
        self._credit -= 1.0
        return Priority.BATCH

    # Leaving

    def expire(self, now: float) -> list[Item[PayloadT]]:
        """Take every item whose deadline has passed, computed at the moment or not."""
        self._set_overdue_aside(now)
        overdue, self._overdue = self._overdue, []
        for item in overdue:
            self.answered(item, now)
        return overdue

    def cancel(self, item: Item[PayloadT]) -> bool:
        """Take `item` out; False if it had left already."""
        if not self._holds(item):
            return False
        self._remove(item)
        return True

    def clear(self) -> list[Item[PayloadT]]:
        """Take everything out: for a caller that can compute no more."""
        items = [*self._overdue, *(item for _, _, item in self._by_deadline)]
        for batch in (*self._prepared, *self._running):
            batch.items.clear()
        for lane in self._lanes:
            lane.clear()
        self._overdue.clear()
        self._by_deadline.clear()
        return items

    def close(self) -> None:
        """Refuse new items; those accepted stay until they are taken."""
        self.closed = True

    def _set_overdue_aside(self, now: float) -> None:
        while self._by_deadline and self._by_deadline[0][0] <= now:
            item = self._by_deadline[0][2]
            self._remove(item)
            self._overdue.append(item)

    def _give_up_late(self, now: float) -> None:
        """What would be computed too late waits no more, and will expire.

        Not if nothing else waits: a prediction that is too high is only corrected by computing.
        """
        waiting, tokens = self._waiting
        running = [batch.ends for batch in self._running]
        free_s = self._forecast.engine_free_s(running, len(self._prepared), now)
        ends = now + free_s + self._forecast.next_batch_s(tokens)
        late = [
            item
            for _, _, item in takewhile(lambda entry: entry[0] < ends, self._by_deadline)
            if item in self._lanes[item.priority]
        ]
        if len(late) < waiting:
            for item in late:
                self._lanes[item.priority].remove(item)

    def _remove(self, item: Item[PayloadT]) -> None:
        self._forget_deadline(item)
        lane = self._lanes[item.priority]
        if item in lane:
            lane.remove(item)
            return
        for batch in (*self._prepared, *self._running):
            if item in batch.items:
                batch.items.remove(item)
                return

    def _holds(self, item: Item[PayloadT]) -> bool:
        index = self._deadline_index(item)
        return index < len(self._by_deadline) and self._by_deadline[index][2] is item

    def _forget_deadline(self, item: Item[PayloadT]) -> None:
        del self._by_deadline[self._deadline_index(item)]

    def _deadline_index(self, item: Item[PayloadT]) -> int:
        return bisect_left(self._by_deadline, _deadline_entry(item)[:2])


def _deadline_entry(item: Item[PayloadT]) -> tuple[float, int, Item[PayloadT]]:
    return item.deadline, len(Priority) * item.sequence + item.priority, item
