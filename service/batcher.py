"""The asyncio shell around scheduler and engine: futures on the loop, batches on worker threads.

A worker takes a batch as soon as it is free and something waits; while all workers compute,
requests gather in the scheduler. That is all the batching there is: no delay, no polling. (The GIL
is free while ONNX Runtime computes, so loop and workers overlap.)
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from service.errors import ClosedError, DeadlineExceededError
from service.runtime.engine import EngineError, EngineOutput
from service.runtime.postprocess import Float32Array, softmax
from service.runtime.tokenizer import Int64Array, pad
from service.scheduler import Item, Scheduler


class Runner(Protocol):
    """The part of `Engine` that computes."""

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """Logits and attention of a padded batch; see `Engine.run`."""


class Output(NamedTuple):
    """(C,) probabilities and (T,) attention weights of one text; T may count padding."""

    probabilities: Float32Array
    attention: Float32Array


class BatchRecord(NamedTuple):
    """What a batch was like: numbers of texts and tokens, and seconds of each part."""

    texts: int
    tokens: int
    padded_tokens: int
    engine_s: float
    queue_s: list[float]


@dataclass(slots=True, eq=False)
class Request:
    """Texts that are answered together, by one future."""

    future: asyncio.Future[list[Output]]
    outputs: list[Output | None]
    missing: int

    def deliver(self, position: int, output: Output) -> None:
        """One text is computed; the last one settles the future."""
        self.outputs[position] = output
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


class Row(NamedTuple):
    """One text of a request, as ids."""

    request: Request
    position: int
    input_ids: list[int]


_Batch = list[Item[Row]]


class Batcher:
    """Computes rows of ids in batches shared by all callers. Lives on the loop that made it."""

    def __init__(
        self,
        scheduler: Scheduler[Row],
        engine: Runner,
        workers: int = 1,
        on_batch: Callable[[BatchRecord], None] = lambda record: None,
    ) -> None:
        """Start the worker threads.

        Args:
            scheduler: decides what is computed together; belongs to the batcher from now on.
            engine: called from `workers` threads at once.
            workers: batches computed at the same time.
            on_batch: called on the loop after each batch that was computed.
        """
        self._scheduler = scheduler
        self._engine = engine
        self._on_batch = on_batch
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()  # guards the scheduler
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._running = workers
        self._stopped = asyncio.Event()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"engine-{number}", daemon=True).start()

    @property
    def queue_depth(self) -> int:
        """Number of texts waiting."""
        return len(self._scheduler)

    async def submit(self, rows: Sequence[list[int]], timeout_s: float) -> list[Output]:
        """Outputs of `rows`, in their order. Cancelling the caller drops what still waits.

        Args:
            rows: at least one row of at least one id each.
            timeout_s: how long they may wait to be computed, in seconds.

        Raises:
            QueueFullError: there is no room for all of them; none is computed.
            ClosedError: the batcher is closing.
            DeadlineExceededError: one of them waited for longer than `timeout_s`.
            EngineError: the engine failed on a batch with one of them.
        """
        request = Request(self._loop.create_future(), [None] * len(rows), len(rows))
        now = time.monotonic()
        items = [
            Item(len(ids), now + timeout_s, Row(request, position, ids))
            for position, ids in enumerate(rows)
        ]
        with self._changed:
            self._scheduler.submit(items, now)
            self._set_timer(now)
            self._changed.notify()
        try:
            return await request.future
        except BaseException:
            # Cancelled or failed: nobody will read what its other texts would give.
            with self._changed:
                for item in items:
                    self._scheduler.cancel(item)
            raise

    async def close(self, timeout_s: float) -> None:
        """Refuse what is new, compute what was accepted, stop the threads.

        Whatever is not computed after `timeout_s` seconds fails with `ClosedError`.
        """
        with self._changed:
            self._scheduler.close()
            self._changed.notify_all()
        try:
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()
        except TimeoutError:
            with self._changed:
                left = self._scheduler.clear()
            self._fail(left, ClosedError("the service shut down before this was computed"))
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _work(self) -> None:
        """Body of a worker thread."""
        while batch := self._take():
            outcome = self._compute(batch)
            self._tell_loop(self._settle, batch, *outcome)
        self._tell_loop(self._count_stopped)

    def _take(self) -> _Batch | None:
        """The next batch, as soon as there is one; None after the last."""
        with self._changed:
            while not (batch := self._scheduler.next_batch(time.monotonic())):
                if self._scheduler.closed:
                    return None
                self._changed.wait()
            if len(self._scheduler):
                self._changed.notify()  # enough for another worker
            return batch

    def _compute(self, batch: _Batch) -> tuple[list[Output] | Exception, BatchRecord]:
        started = time.monotonic()
        input_ids, attention_mask = pad([item.payload.input_ids for item in batch])
        outputs: list[Output] | Exception
        try:
            logits, attention = self._engine.run(input_ids, attention_mask)
            outputs = list(map(Output, softmax(logits), attention))
            if len(outputs) != len(batch):
                raise EngineError(f"the engine gave {len(outputs)} rows for {len(batch)} texts")
        except EngineError as error:
            outputs = error
        except Exception as error:  # handed to every caller of the batch, whatever it is
            outputs = EngineError(f"the engine failed with {type(error).__name__}")
            outputs.__cause__ = error
        ended = time.monotonic()
        tokens = sum(item.length for item in batch)
        waits = [started - item.submitted for item in batch]
        return outputs, BatchRecord(len(batch), tokens, input_ids.size, ended - started, waits)

    def _settle(
        self, batch: _Batch, outputs: list[Output] | Exception, record: BatchRecord
    ) -> None:
        if isinstance(outputs, Exception):
            self._fail(batch, outputs)
            return
        for item, output in zip(batch, outputs, strict=True):
            item.payload.request.deliver(item.payload.position, output)
        self._on_batch(record)

    def _expire(self) -> None:
        self._timer = None
        now = time.monotonic()
        with self._changed:
            overdue = self._scheduler.expire(now)
            self._set_timer(now)
        self._fail(overdue, DeadlineExceededError("the request waited for longer than it may"))

    def _set_timer(self, now: float) -> None:
        """Have `_expire` called at the earliest deadline; a timer set for earlier is left alone."""
        deadline = self._scheduler.next_deadline
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._timer_at = deadline
        # uvloop counts milliseconds and may be early by one: then `_expire` sets it once more.
        self._timer = self._loop.call_later(max(deadline - now, 0.001), self._expire)

    def _count_stopped(self) -> None:
        self._running -= 1
        if not self._running:
            self._stopped.set()

    def _tell_loop(self, callback: Callable[..., None], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *args)

    @staticmethod
    def _fail(items: Sequence[Item[Row]], error: Exception) -> None:
        for item in items:
            item.payload.request.fail(error)
