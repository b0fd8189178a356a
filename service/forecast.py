"""When what waits will be computed, and so how much may wait. Pure: takes `now`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.items import Batch, Item, Limits, PayloadT, Priority
from service.quantile import RollingQuantiles
from service.service_time import ServiceTime

_MEMORY = 0.1  # weight of the newest batch in the averages
_ROUNDING = 0.01  # of a batch: averages are no more exact
_ON_TIME = 0.95  # of the requests that were accepted at the last moment
_NEARLY_ALL = 0.99  # of them, where the queue is long enough
_BUSY_BATCHES = 3  # that an engine needs never to wait: computed, prepared, gathering
_REQUESTS = 256  # to learn that from
_MIN_REQUESTS = 40  # fewer say nothing: a single one that hung would refuse the next
_MAX_LATE = 0.25  # of the timeout: the margin alone must never refuse everything
_LOAD_S = 1.0  # over how long the load of priority interactive is averaged


@dataclass(slots=True)
class _Typical:
    """What a batch holds: moving averages."""

    texts: float
    tokens: float
    padded_tokens: float
    seen: int = 0

    def learn(self, batch: Batch[PayloadT]) -> None:
        self.seen += 1
        weight = max(_MEMORY, 1.0 / self.seen)
        self.texts += weight * (len(batch.items) - self.texts)
        self.tokens += weight * (batch.tokens - self.tokens)
        self.padded_tokens += weight * (batch.padded_tokens - self.padded_tokens)


class Forecast:
    """What batches have held and taken so far, applied to a queue."""

    def __init__(self, limits: Limits, service_time: ServiceTime) -> None:
        """Know only what `service_time` knows."""
        self._limits = limits
        self._service_time = service_time
        size, tokens = limits.max_batch_size, limits.max_batch_tokens
        self._typical = _Typical(size, tokens, tokens)  # of batches that left others waiting
        self._usual = _Typical(0.0, 0.0, 0.0)  # of all
        self._late = tuple(RollingQuantiles(_REQUESTS) for _ in Priority)
        self._load = 0.0  # seconds of work accepted per second
        self._load_at = 0.0

    def learn(self, batch: Batch[PayloadT]) -> None:
        """Take note of what a batch holds."""
        self._usual.learn(batch)
        if batch.left_waiting:
            self._typical.learn(batch)

    @property
    def queue_limit(self) -> int:
        """Texts of a priority that may wait: more could not be computed within `timeout_s`.

        C * (D - s), with D the timeout, s the upper quantile of a full batch, C = texts a second.
        """
        expected_s = self._typical_s
        if expected_s <= 0.0:
            return self._limits.max_queue_size
        rate = self._limits.workers * self._typical.texts / expected_s
        spare_s = self._limits.timeout_s - expected_s * self._service_time.upper_ratio
        return min(self._limits.max_queue_size, max(1, math.ceil(rate * spare_s)))

    def learn_answer(self, item: Item[PayloadT], now: float) -> None:
        """The request of `item` was answered, or given up: how much later than expected.

        That is what no batch shows: gaps between them, threads that wait, a busy event loop.
        """
        self._late[item.priority].add(now - item.expected)

    def late_s(self, priority: Priority) -> float:
        """How much later than predicted at its admission a request may be answered.

        To allow for more makes the queue shorter. That costs nothing while it still holds what the
        engine needs to stay busy, and half of the rest is for bursts.
        """
        seen, timeout_s = self._late[priority], self._limits.timeout_s
        if len(seen.values) < _MIN_REQUESTS:
            return 0.0
        often_s, nearly_s = seen.at(_ON_TIME) or 0.0, seen.at(_NEARLY_ALL) or 0.0
        free_s = (timeout_s - _BUSY_BATCHES * self._typical_s) / 2
        return max(0.0, min(max(often_s, min(nearly_s, free_s)), _MAX_LATE * timeout_s))

    def batch_s(self, padded_tokens: int) -> float:
        """Seconds of a batch in the engine."""
        return self._service_time.predict(padded_tokens)

    def next_batch_s(self, tokens: int) -> float:
        """Seconds of the next batch, when so many tokens wait."""
        return self._service_time.predict(min(self._typical.padded_tokens, tokens))

    def work_s(self, texts: float, tokens: float) -> float:
        """Seconds in which all workers together compute this much of a queue."""
        return self._batches(texts, tokens) * self._typical_s / self._limits.workers

    def engine_free_s(self, ends: Sequence[float], num_prepared: int, now: float) -> float:
        """Seconds until a worker can take what was not prepared yet.

        Args:
            ends: of the batches in the engine, when they are expected to be computed.
            num_prepared: batches ahead of the queue.
            now: on the clock of `ends`.
        """
        left = sorted(max(0.0, end - now) for end in ends)
        busy = len(left) - self._limits.workers
        prepared_s = num_prepared * self._typical_s / self._limits.workers
        return prepared_s + (left[busy] if busy >= 0 else 0.0)

    def completion_s(
        self, texts: int, tokens: int, free_s: float, speed: float, joins_full: bool
    ) -> float:
        """Seconds from when the engine is free until the last of so many texts is computed.

        Args:
            texts: ahead in the queue, and those asked about.
            tokens: theirs.
            free_s: seconds until the engine is free, as uncertain as all the rest.
            speed: share of the engine that they get.
            joins_full: whether their own batch will be a full one in any case.
        """
        batches = math.ceil(self._batches(texts, tokens) - _ROUNDING)
        ahead_s = max(0, batches - 1) * self._typical_s / self._limits.workers / speed
        # Others will come into their own batch: as many as of late, or it will be a full one.
        last_tokens = self._typical.padded_tokens
        if not ahead_s and not joins_full:
            last_tokens = max(self._usual.padded_tokens, min(last_tokens, tokens))
        last_s = self._service_time.predict(last_tokens)
        # Errors of single batches are independent of each other: their squares add up.
        spread = self._service_time.upper_ratio - 1.0
        margin_s = spread * math.sqrt(last_s * (free_s + ahead_s + last_s))
        return ahead_s + last_s + margin_s

    def count_load(self, texts: int, tokens: int, now: float) -> None:
        """So much was accepted of priority interactive."""
        self._load = self.load(now) + self.work_s(texts, tokens) / _LOAD_S
        self._load_at = now

    def load(self, now: float) -> float:
        """Seconds of work of priority interactive that come in a second, of late."""
        return self._load * math.exp((self._load_at - now) / _LOAD_S)

    @property
    def _typical_s(self) -> float:
        return self._service_time.predict(self._typical.padded_tokens)

    def _batches(self, texts: float, tokens: float) -> float:
        """How many typical batches this is."""
        return max(texts / self._typical.texts, tokens / self._typical.tokens)
