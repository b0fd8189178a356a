"""The scheduler in virtual time: arrivals as events, an engine that is a formula, no thread.

Twenty seconds of overload take well under a second, and two runs of one seed are equal.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from service.errors import UnavailableError
from service.items import Batch, Item, Limits, Priority, Ticket
from service.scheduler import Scheduler
from service.service_time import ServiceTime

LENGTH = 32  # tokens of a text, unless a test says otherwise
BATCH_SIZE = 16
LIMITS = Limits(
    max_batch_tokens=LENGTH * BATCH_SIZE,
    max_batch_size=BATCH_SIZE,
    max_queue_size=100_000,  # out of the way: what bounds the queue is the service time
    timeout_s=0.25,
)

Curve = Callable[[Batch[Any], float], float]  # a batch and when it begins, to seconds


@dataclass(slots=True, eq=False)
class Call:
    """A request: when it comes, and what became of it (`on_time`, `late`, `expired`, `shed`)."""

    at: float
    timeout_s: float = 0.25
    lengths: tuple[int, ...] = (LENGTH,)
    priority: Priority = Priority.INTERACTIVE
    attempt: int = 0
    outcome: str = ""
    answered: float = math.inf
    missing: int = 0
    items: list[Item["Call"]] = field(default_factory=list)


def linear(fixed_s: float = 0.004, per_text_s: float = 0.001) -> Curve:
    """Seconds by the number of texts."""
    return lambda batch, now: fixed_s + per_text_s * len(batch.items)


def by_tokens(fixed_s: float = 0.004, per_token_s: float = 0.001 / LENGTH) -> Curve:
    """Seconds by the tokens, padding counted."""
    return lambda batch, now: fixed_s + per_token_s * batch.padded_tokens


def noisy(curve: Curve, sigma: float, seed: int = 7) -> Curve:
    """`curve` times a lognormal factor of median 1."""
    rng = random.Random(seed)
    return lambda batch, now: curve(batch, now) * rng.lognormvariate(0.0, sigma)


def capacity_of(curve: Curve, workers: int = 1) -> float:
    """Texts of `LENGTH` a second in full batches."""
    full = Batch([Item(LENGTH, 0.0, None) for _ in range(BATCH_SIZE)], left_waiting=True)
    return workers * BATCH_SIZE / curve(full, 0.0)


def poisson(
    rate: float, until: float, seed: int = 1, start: float = 0.0, **given: Any
) -> Iterator[Call]:
    """Calls at random, `rate` a second."""
    rng = random.Random(seed)
    at = start
    while (at := at + rng.expovariate(rate)) < until:
        yield Call(at, **given)


@dataclass(slots=True, eq=False)
class World:
    """A scheduler, its engine, and everybody who called.

    Attributes:
        curve: the engine.
        limits: of the scheduler.
        retry: what a refused call does next, given it and Retry-After; None gives up.
        on_event: called with the time, after each event.
        delivery_s: from when a text is computed until its answer is out; nobody measures it.
    """

    curve: Curve
    limits: Limits = LIMITS
    retry: Callable[[Call, float], Call | None] = lambda call, retry_after_s: None
    on_event: Callable[[float], None] = lambda now: None
    delivery_s: Callable[[], float] = lambda: 0.0
    learns: ServiceTime = field(default_factory=ServiceTime)
    scheduler: Scheduler[Call] = field(init=False)
    calls: list[Call] = field(default_factory=list)
    now: float = 0.0
    batches: int = 0
    max_depth: int = 0
    _events: list[tuple[float, int, Any]] = field(default_factory=list)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _prepared: list[Batch[Call]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.limits, self.learns)

    def run(self, calls: Iterable[Call], until: float = math.inf) -> None:
        """Let `calls` (in order of time) come and everything happen that follows from them."""
        coming = iter(calls)
        self._push_next(coming)
        while self._events:
            due = self.scheduler.next_deadline
            if due is not None and due <= self._events[0][0]:
                self.now = due
                self._settle(self.scheduler.expire(due), "expired")
            elif self._events[0][0] > until:
                return
            else:
                self.now, _, event = heapq.heappop(self._events)
                if isinstance(event, Call):
                    self._submit(event)
                elif isinstance(event, tuple):
                    self._finish(*event)
                else:
                    self._push_next(event)
            self._work()
            self.max_depth = max(self.max_depth, len(self.scheduler))
            self.on_event(self.now)

    def _push(self, at: float, event: object) -> None:
        heapq.heappush(self._events, (at, next(self._order), event))

    def _push_next(self, coming: Iterator[Call]) -> None:
        call = next(coming, None)
        if call is not None:
            self._push(call.at, call)
            self._push(call.at, coming)

    def _submit(self, call: Call) -> None:
        self.calls.append(call)
        deadline = call.at + call.timeout_s
        call.missing = len(call.lengths)
        call.items = [Item(length, deadline, call, call.priority) for length in call.lengths]
        try:
            self.scheduler.check(Ticket(call.priority, deadline), self.now)
            self.scheduler.submit(call.items, self.now)
        except UnavailableError as error:
            call.outcome, call.answered = "shed", self.now
            again = self.retry(call, error.retry_after_s)
            if again is not None:
                self._push(again.at, again)

    def _work(self) -> None:
        scheduler = self.scheduler
        while True:
            while (batch := scheduler.prepare(self.now)) is not None:
                self._prepared.append(batch)
            if not self._prepared or len(scheduler.running) == self.limits.workers:
                return
            batch = self._prepared.pop(0)
            if scheduler.start(batch, self.now):
                self.batches += 1
                seconds, tokens = self.curve(batch, self.now), batch.padded_tokens
                self._push(self.now + seconds, (batch, tokens, seconds))

    def _finish(self, batch: Batch[Call], tokens: int, seconds: float) -> None:
        computed = self.scheduler.finish(batch, self.now)
        self._settle(self.scheduler.expire(self.now), "expired")
        for item in computed:
            item.payload.missing -= 1
            if not item.payload.missing:
                self._answer(item, self.now + self.delivery_s())
        self.learns.observe(tokens, seconds)

    def _answer(self, item: Item[Call], now: float) -> None:
        in_time = "on_time" if self.now <= item.deadline else "late"
        item.payload.outcome = in_time if now <= item.deadline else "withheld"
        item.payload.answered = now
        self.scheduler.answered(item, now)

    def _settle(self, items: Iterable[Item[Call]], outcome: str) -> None:
        for item in items:
            item.payload.outcome, item.payload.answered = outcome, self.now

    # What came of it

    def count(self, *outcomes: str, **wanted: Any) -> int:
        """Texts of calls with one of these outcomes and these attributes."""
        return sum(
            len(call.lengths)
            for call in self.calls
            if call.outcome in outcomes
            and all(getattr(call, name) == value for name, value in wanted.items())
        )

    def goodput(self, start: float, until: float) -> float:
        """Texts answered on time, a second, in this span."""
        good = sum(
            len(call.lengths)
            for call in self.calls
            if call.outcome == "on_time" and start <= call.answered < until
        )
        return good / (until - start)


def warm(curve: Curve) -> ServiceTime:
    """What a warm-up with `curve` teaches."""
    learned = ServiceTime()
    for size in (1, BATCH_SIZE, 2, BATCH_SIZE // 2):
        batch = Batch([Item(LENGTH, 0.0, None) for _ in range(size)], left_waiting=True)
        learned.observe(batch.padded_tokens, curve(batch, 0.0))
    return learned


def limits(**changed: Any) -> Limits:
    """`LIMITS`, changed."""
    return replace(LIMITS, **changed)
