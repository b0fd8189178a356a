"""Texts to ids, and outputs to answers, where the event loop is not held up.

Little work is done on the loop itself: 4 to 11 us for a short text, less than a hop to a thread and
back. More is done on one thread beside it, where SentencePiece leaves the GIL free: text by text,
each time of the request whose turn it is (`service.turns`), so that a small one waits for one text
of a large one and not for 64. What waits is bounded by the deadlines: at the speeds measured so
far, a request that would not be done in time is refused; work that is overdue, or whose caller has
left, is not done.

On the loop 0.5 ms at most to explain, whatever the text, and 1.3 ms to encode. The longest text of
20,000 characters holds the thread for 40 ms to encode (U+FDFA: 340,000 tokens) and for 30 ms to
explain (20,000 emoji: no word ends early). On 2 virtual cores, a vocabulary of 3,030:

| us per character | English | worst ASCII | Han | worst: U+FDFA, 18 letters in one |
|---|---|---|---|---|
| encode | 0.02 | 0.03 | 0.02 | 0.65 to 2 |
| explain what the model reads | 0.6 | 2.1 | 1.3 | 19 |
"""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from service.errors import DeadlineExceededError, TooLateError
from service.runtime.tokenizer import Encoding, Tokenizer
from service.turns import Cost, Job, Turns

INLINE_CHARS = 4_000  # of one request in ASCII, to encode
INLINE_WORK = 180  # of one request, to answer
_BEYOND_ASCII = 6  # as many characters of ASCII is one that may be normalised to several

ResultT = TypeVar("ResultT")

_NOT_IN_TIME = "the texts were not processed in their time"


@dataclass(slots=True, eq=False)
class _Task:
    """What one request wants of the thread.

    Attributes:
        units: work when they are asked for the next.
        works: what each of them is, in the units of `cost`.
        deadline: on the clock of `time.monotonic`.
        cost: learns from it.
        rate: seconds that a unit of `cost` was expected to take.
        settle: called once on the thread, with an error or None.
        results: of the units that are done.
        seconds: they took.
        left: nobody waits for it.
    """

    units: Iterator[Any]
    works: Sequence[float]
    deadline: float
    cost: Cost
    rate: float
    settle: Callable[[Exception | None], None]
    results: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    left: bool = False

    def step(self) -> None:
        """Do the next unit."""
        started = time.monotonic()
        if self.left or started > self.deadline:
            raise DeadlineExceededError(_NOT_IN_TIME)
        self.results.append(next(self.units))
        self.seconds += time.monotonic() - started

    @property
    def is_done(self) -> bool:
        """Whether no unit is left."""
        return len(self.results) == len(self.works)


class Encoder:
    """Encodes and answers for every version of a model."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._lock = threading.Lock()  # of the turns
        self._turns: Turns[_Task] = Turns()
        self._current: Job[_Task] | None = None
        self._encoding = Cost(1e-7)
        self._answering = Cost(1e-6)

    @property
    def waiting_s(self) -> float:
        """Seconds that the thread is expected to take for what waits for it."""
        with self._lock:
            return self._turns.left_s

    async def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], deadline: float
    ) -> list[Encoding]:
        """Ids of `texts`, in their order.

        Args:
            tokenizer: of the version that was asked for.
            texts: at least one.
            deadline: on the clock of `time.monotonic`.

        Raises:
            TooLateError: refused; they would not be encoded by then.
            DeadlineExceededError: they were not.
        """
        encodings = map(tokenizer.encode, texts)
        works = [len(text) if text.isascii() else _BEYOND_ASCII * len(text) for text in texts]
        if sum(works) <= INLINE_CHARS:
            return list(encodings)
        return await self._beside(self._encoding, encodings, works, deadline)

    async def answer(
        self, answers: Iterable[ResultT], works: Sequence[float], deadline: float
    ) -> list[ResultT]:
        """What `answers` gives.

        Args:
            answers: work when they are asked for the next.
            works: of each of them, in microseconds of a slow machine.
            deadline: on the clock of `time.monotonic`.

        Raises:
            TooLateError: refused; they would not be there by then.
            DeadlineExceededError: they were not.
        """
        if sum(works) <= INLINE_WORK:
            return list(answers)
        return await self._beside(self._answering, iter(answers), works, deadline)

    async def _beside(
        self, cost: Cost, units: Iterator[ResultT], works: Sequence[float], deadline: float
    ) -> list[ResultT]:
        """What `units` gives, each of which is work for the thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, error)

        task = _Task(units, works, deadline, cost, cost.seconds, settle)
        job = self._submit(task, sum(works) * task.rate)
        timeout_s = None if math.isinf(deadline) else deadline - time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            raise DeadlineExceededError(_NOT_IN_TIME) from None
        finally:
            task.left = True
            with self._lock:
                if job is not self._current:  # else when the thread is through with it
                    self._turns.remove(job)
        return task.results

    def _submit(self, task: _Task, expected_s: float) -> Job[_Task]:
        now = time.monotonic()
        with self._lock:
            before_s = self._turns.before_s(expected_s, now)
            if before_s is not None:  # alone it is tried
                late_s = now + before_s + expected_s - task.deadline
                if late_s > 0.0:
                    message = f"expected to be processed {late_s:.3f} s after its deadline"
                    raise TooLateError(message, max(1.0, late_s))
            job = self._turns.submit(task, expected_s, now)
        self._thread.submit(self._work)  # as many calls are waiting as there are jobs, or more
        return job

    def _work(self) -> None:
        """Do one unit of whose turn it is."""
        with self._lock:
            job = self._current = self._turns.next()
        if job is None:  # its caller has left
            return
        task, error = job.payload, None
        try:
            task.step()
        except Exception as failure:  # handed to the caller, whatever it is
            error = failure
        is_over = error is not None or task.is_done
        with self._lock:
            self._current = None
            if is_over or task.left:
                self._turns.remove(job)
                task.cost.observe(sum(task.works[: len(task.results)]), task.seconds)
            else:
                job.left_s = max(0.0, job.left_s - task.rate * task.works[len(task.results) - 1])
        if is_over:
            task.settle(error)
        elif not task.left:
            with contextlib.suppress(RuntimeError):  # it is closing
                self._thread.submit(self._work)

    def close(self) -> None:
        """Stop the thread; what waits for it is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
