"""The asyncio shell around scheduler and engine: futures on the loop, batches on worker threads.

A worker takes a batch as soon as the engine is free and something waits; while all compute,
requests gather in the scheduler. That is all the batching there is: no delay, no polling. One
thread more than the engine has workers pads the next full batch meanwhile. (The GIL is free while
ONNX Runtime computes, so loop and workers overlap.)
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.errors import ClosedError, DeadlineExceededError, EngineStalledError
from service.isolation import Outcome, Output, Runner, compute
from service.items import Batch, Item, Limits, Ticket
from service.runtime.engine import EngineError
from service.runtime.tokenizer import Int64Array, pad
from service.scheduler import Scheduler
from service.service_time import ServiceTime
from service.watchdog import Watchdog

_TOO_LATE = "the request was not computed in its time"
_ENOUGH = 8  # texts: a batch of 8 costs 3 % more for each of them than one of 32


class BatchRecord(NamedTuple):
    """What a batch was like: numbers of texts and tokens, and seconds of each part.

    `expected_s` is what was predicted for `engine_s`; `whole` is False if it failed and was split.
    """

    texts: int
    tokens: int
    padded_tokens: int
    engine_s: float
    expected_s: float
    queue_s: list[float]
    whole: bool


@dataclass(slots=True, eq=False)
class Request:
    """Texts that are answered together, by one future."""

    future: asyncio.Future[list[Output]]
    outputs: list[Output | None]
    missing: int

    def deliver(self, position: int, outcome: Outcome) -> None:
        """One text is computed; the last one settles the future, and so does one that failed."""
        if isinstance(outcome, EngineError):
            self.fail(outcome)
            return
        self.outputs[position] = outcome
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result([output for output in self.outputs if output is not None])

    def fail(self, error: Exception) -> None:
        """The request gets an error like `error`, its cause; the first one counts.

        Its own, since every caller that raises an exception adds to its traceback.
        """
        if not self.future.done():
            own = type(error)(str(error))
            own.__cause__ = error
            self.future.set_exception(own)


class Hooks(NamedTuple):
    """Who is told what, on the loop."""

    on_batch: Callable[[BatchRecord], None] = lambda record: None
    on_stall: Callable[[], None] = lambda: None  # once; everything has failed by then


_NOBODY = Hooks()


class Row(NamedTuple):
    """One text of a request, as ids."""

    request: Request
    position: int
    input_ids: list[int]


class Prepared(NamedTuple):
    """A batch with its rectangle of ids; `items` are those of the rows, whoever leaves later."""

    batch: Batch[Row]
    items: tuple[Item[Row], ...]
    input_ids: Int64Array
    attention_mask: Int64Array

    def rows(self) -> "Prepared":
        """Without the rows of items that have left."""
        if len(self.batch.items) == len(self.items):
            return self
        wanted = [row for row, item in enumerate(self.items) if item in self.batch.items]
        items = tuple(self.items[row] for row in wanted)
        width = items[-1].length
        ids, mask = self.input_ids[wanted, :width], self.attention_mask[wanted, :width]
        return Prepared(self.batch, items, ids, mask)


class Batcher:
    """Computes rows of ids in batches shared by all callers. Lives on the loop that made it."""

    def __init__(
        self,
        engine: Runner,
        num_labels: int,
        limits: Limits,
        service_time: ServiceTime,
        hooks: Hooks = _NOBODY,
    ) -> None:
        """Start the worker threads.

        Args:
            engine: called from `limits.workers` threads at once.
            num_labels: columns of its logits.
            limits: of batches and queue.
            service_time: knows what the warm-up measured; learns from every batch.
            hooks: are told of batches and of an engine that hangs.
        """
        self.scheduler: Scheduler[Row] = Scheduler(limits, service_time)
        self._service_time = service_time
        self._engine = engine
        self._num_labels = num_labels
        self._hooks = hooks
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # guards the scheduler
        self._slots = threading.Semaphore(limits.workers)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._stopped = asyncio.Event()
        self._workers = limits.workers
        self._asleep = 0  # threads
        self._gathering = False  # whether `_gathered` is going to be called
        self._threads = limits.workers + 1
        for number in range(self._threads):
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True).start()
        self._watchdog = Watchdog(limits.stall_s)
        self._watch_timer = self._loop.call_later(self._watchdog.period_s, self._watch)

    @property
    def queue_depth(self) -> int:
        """Number of texts waiting."""
        return len(self.scheduler)

    @property
    def queue_limit(self) -> int:
        """Number of texts that may wait, by the service time measured so far."""
        return self.scheduler.queue_limit

    def check(self, ticket: Ticket) -> None:
        """Refuse a request before its body is read; raises as `Scheduler.check`."""
        with self._changed:
            self.scheduler.check(ticket, time.monotonic())

    async def submit(self, rows: Sequence[list[int]], ticket: Ticket) -> list[Output]:
        """Outputs of `rows`, in their order. Cancelling the caller drops what still waits.

        Args:
            rows: at least one row of at least one id each.
            ticket: its deadline is on the clock of `time.monotonic`.

        Raises:
            QueueFullError, TooLateError: refused; none of the rows is computed.
            ClosedError, EngineStalledError: the batcher is closing; the engine hangs.
            DeadlineExceededError: they were not computed by their deadline.
            EngineError: the engine fails on one of the rows.
        """
        request = Request(self._loop.create_future(), [None] * len(rows), len(rows))
        items = [
            Item(len(ids), ticket.deadline, Row(request, position, ids), ticket.priority)
            for position, ids in enumerate(rows)
        ]
        with self._changed:
            now = time.monotonic()
            self.scheduler.submit(items, now)
            self._set_timer(now)
            self._gather()
        try:
            outputs = await request.future
        except BaseException:
            # Cancelled or failed: nobody will read what its other texts would give.
            with self._changed:
                for item in items:
                    self.scheduler.cancel(item)
                self._wake_if_closed()
            raise
        with self._changed:
            self.scheduler.answered(items[-1], time.monotonic())
        return outputs

    async def close(self, timeout_s: float) -> None:
        """Refuse what is new, compute what was accepted, stop the threads.

        Whatever is not computed after `timeout_s` seconds fails with `ClosedError`.
        """
        with self._changed:
            self.scheduler.close()
            self._changed.notify_all()
        left: Exception = DeadlineExceededError(_TOO_LATE)  # overdue, or given up as too late
        try:
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()
        except TimeoutError:
            left = ClosedError("the service shut down before this was computed")
        finally:
            self._fail_all(left)
            self._watch_timer.cancel()
            if self._timer is not None:
                self._timer.cancel()

    # On the worker threads

    def _work(self) -> None:
        """Body of a worker thread."""
        try:
            while (prepared := self._prepare()) is not None:
                with self._slots:
                    settled = self._run(prepared)
                if settled is not None:
                    self._tell_loop(self._settle, *settled)
        except BaseException:  # no memory, say: one thread less is as bad as one that hangs
            self._tell_loop(self._stall)
            raise
        finally:
            self._tell_loop(self._count_stopped)

    def _prepare(self) -> Prepared | None:
        """The next batch, as soon as there is one; None after the last."""
        with self._changed:
            while (batch := self._next_batch()) is None:
                if self.scheduler.closed and not len(self.scheduler):
                    return None
                self._asleep += 1
                self._changed.wait()
                self._asleep -= 1
            items = tuple(batch.items)
            self._wake_worker()  # there may be enough for another one
        return Prepared(batch, items, *pad([item.payload.input_ids for item in items]))

    def _run(
        self, prepared: Prepared
    ) -> tuple[list[tuple[Item[Row], Outcome]], BatchRecord] | None:
        """Compute what is still waited for; None if nothing is."""
        batch = prepared.batch
        with self._changed:
            started = time.monotonic()
            if not self.scheduler.start(batch, started):
                self._wake_if_closed()
                return None
            prepared = prepared.rows()
        outcomes, whole = compute(
            self._engine, self._num_labels, prepared.input_ids, prepared.attention_mask
        )
        with self._changed:
            ended = time.monotonic()
            wanted = self.scheduler.finish(batch, ended)
            self._wake_if_closed()
        settled = list(zip(prepared.items, outcomes, strict=True))
        if len(wanted) != len(settled):
            settled = [pair for pair in settled if pair[0] in wanted]
        return settled, BatchRecord(
            texts=len(prepared.items),
            tokens=sum(item.length for item in prepared.items),
            padded_tokens=prepared.input_ids.size,
            engine_s=ended - started,
            expected_s=batch.expected_s,
            queue_s=[started - item.submitted for item in prepared.items],
            whole=whole,
        )

    def _next_batch(self) -> Batch[Row] | None:
        return None if self._gathering else self.scheduler.prepare(time.monotonic())

    def _wake_worker(self) -> None:
        """Wake one if it has something to do that none of those awake will come to at once."""
        awake = self._threads - self._asleep
        is_short = awake < self._workers or (awake == self._workers and self.scheduler.is_full)
        if is_short and self.scheduler.can_prepare:
            self._changed.notify()

    def _wake_if_closed(self) -> None:
        """Items have left: a worker that waits for more may find that these were the last."""
        if self.scheduler.closed:
            self._changed.notify_all()

    def _tell_loop(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *args)

    # On the loop

    def _gather(self) -> None:
        """Hand over what the loop reads in one go as one arrival, or as soon as it is enough.

        A burst that wakes a worker with its first text gets batches of one and two: at 64
        connections that cost 150 us of CPU more for a request. The loop is busy with the burst
        meanwhile, nobody waits for a clock.
        """
        if len(self.scheduler) >= _ENOUGH:
            self._gathering = False
            self._wake_worker()
        elif not self._gathering:
            self._gathering = True
            self._loop.call_soon(self._gathered)

    def _gathered(self) -> None:
        if self._gathering:
            with self._changed:
                self._gathering = False
                self._wake_worker()

    def _settle(self, settled: list[tuple[Item[Row], Outcome]], record: BatchRecord) -> None:
        for item, outcome in settled:
            item.payload.request.deliver(item.payload.position, outcome)
        if record.whole:
            with self._changed:  # what the workers predict with
                self._service_time.observe(record.padded_tokens, record.engine_s)
        self._hooks.on_batch(record)

    def _expire(self) -> None:
        self._timer = None
        with self._changed:
            now = time.monotonic()
            overdue = self.scheduler.expire(now)
            self._set_timer(now)
            self._wake_if_closed()
        self._fail(overdue, DeadlineExceededError(_TOO_LATE))

    def _set_timer(self, now: float) -> None:
        """Have `_expire` called at the earliest deadline; a timer set for earlier is left alone."""
        deadline = self.scheduler.next_deadline
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        # uvloop counts milliseconds and may be early by one: then `_expire` sets it once more.
        self._timer = self._loop.call_later(max(deadline - now, 0.001), self._expire)

    def _watch(self) -> None:
        with self._changed:
            stalled = self._watchdog.tick(self.scheduler.running)
        if stalled:
            self._stall()
        else:
            self._watch_timer = self._loop.call_later(self._watchdog.period_s, self._watch)

    def _stall(self) -> None:
        """Nothing will be computed any more: once, and for good."""
        if self.scheduler.stalled:
            return
        self.scheduler.stalled = True
        self._watch_timer.cancel()
        self._fail_all(EngineStalledError("the engine hangs, the service is about to restart"))
        self._hooks.on_stall()

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            left = self.scheduler.clear()
            self._wake_if_closed()
        self._fail(left, error)

    def _count_stopped(self) -> None:
        self._threads -= 1
        if not self._threads:
            self._stopped.set()

    @staticmethod
    def _fail(items: Sequence[Item[Row]], error: Exception) -> None:
        for item in items:
            item.payload.request.fail(error)
