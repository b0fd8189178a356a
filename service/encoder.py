"""Texts to ids, and weights to words, where the event loop is not held up.

Little work is done on the loop itself: 4 to 11 us for a short text, less than a hop to a thread and
back. More is done on one thread beside it, where SentencePiece leaves the GIL free. What waits for
that thread is bounded by the deadlines: at the speeds measured so far, a request that would not be
encoded in time is refused; work that is overdue, or whose caller has left, is not done.

On the loop 0.5 ms at most, whatever the text. Measured on 2 virtual cores, a vocabulary of 3,030:

| us per character | English | worst ASCII | Han | worst: U+FDFA, 18 letters in one |
|---|---|---|---|---|
| encode | 0.02 | 0.03 | 0.02 | 0.65 |
| explain, and 6 for each text | 0.6 | 2.1 | 1.3 | 2.7 |
"""

import asyncio
import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from service.errors import DeadlineExceededError, TooLateError
from service.runtime.tokenizer import Encoding, Tokenizer

INLINE_CHARS = 4_000  # of one request in ASCII, to encode
INLINE_EXPLAINED_CHARS = 180  # of one request, to explain
_BEYOND_ASCII = 6  # as many characters of ASCII is one that may be normalised to several
_EXPLAINED_TEXT = 6  # as many characters is what a text costs by itself

ResultT = TypeVar("ResultT")

_MEMORY = 0.1


@dataclass(slots=True)
class _Kind:
    """A kind of work: what a character of it takes, as measured, and how many wait."""

    seconds_per_char: float
    waiting_chars: int = 0


class Encoder:
    """Encodes and explains for every version of a model."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._lock = threading.Lock()  # of the waiting characters
        self._encoding = _Kind(1e-7)
        self._explaining = _Kind(1e-6)

    @property
    def waiting_s(self) -> float:
        """Seconds that the thread is expected to take for what waits for it."""
        kinds = (self._encoding, self._explaining)
        return sum(kind.waiting_chars * kind.seconds_per_char for kind in kinds)

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
        num_chars = sum(map(len, texts))
        beyond = sum(len(text) for text in texts if not text.isascii())
        if num_chars + (_BEYOND_ASCII - 1) * beyond <= INLINE_CHARS:
            return list(encodings)
        waiting_s = self.waiting_s
        own_s = num_chars * self._encoding.seconds_per_char
        late_s = time.monotonic() + waiting_s + own_s - deadline
        if late_s > 0.0 and waiting_s:
            raise TooLateError(
                f"expected to be tokenised {late_s:.3f} s after its deadline", max(1.0, late_s)
            )
        return await self._beside(self._encoding, encodings, num_chars, deadline)

    async def explain(
        self, answers: Iterator[ResultT], texts: Sequence[str], deadline: float
    ) -> list[ResultT]:
        """What `answers` gives, each of which explains one of `texts`.

        Args:
            answers: work when they are asked for the next.
            texts: at least one.
            deadline: on the clock of `time.monotonic`.

        Raises:
            DeadlineExceededError: they were not explained by then.
        """
        num_chars = sum(len(text) + _EXPLAINED_TEXT for text in texts)
        if num_chars <= INLINE_EXPLAINED_CHARS:
            return list(answers)
        return await self._beside(self._explaining, answers, num_chars, deadline)

    async def _beside(
        self, kind: _Kind, results: Iterator[ResultT], num_chars: int, deadline: float
    ) -> list[ResultT]:
        """What `results` gives, each of which is work for the thread."""
        left = False

        def check() -> None:
            if left or time.monotonic() > deadline:
                raise DeadlineExceededError("the texts were not processed in their time")

        def work() -> list[ResultT]:
            started = time.monotonic()
            check()
            done = []
            for result in results:
                done.append(result)
                check()
            taken_s = (time.monotonic() - started) / num_chars
            kind.seconds_per_char += _MEMORY * (taken_s - kind.seconds_per_char)
            return done

        def release(_: Future[list[ResultT]]) -> None:
            with self._lock:
                kind.waiting_chars -= num_chars

        with self._lock:
            kind.waiting_chars += num_chars
        future = self._thread.submit(work)
        future.add_done_callback(release)  # when the thread is through with it, or will not begin
        timeout_s = None if math.isinf(deadline) else deadline - time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise DeadlineExceededError("the texts were not processed in their time") from None
        finally:
            left = True

    def close(self) -> None:
        """Stop the thread; what waits for it is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)
