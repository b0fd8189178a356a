"""Upper quantiles of what was seen of late. Pure."""

import math
from bisect import bisect_left, insort
from collections import deque


class RollingQuantiles:
    """Quantiles of the last `window` values."""

    def __init__(self, window: int) -> None:
        """Nothing seen."""
        self._window = window
        self._sorted: list[float] = []
        self.values: deque[float] = deque()

    def add(self, value: float) -> None:
        """Take note of a value; the oldest is forgotten if there are too many."""
        self.values.append(value)
        insort(self._sorted, value)
        if len(self.values) > self._window:
            del self._sorted[bisect_left(self._sorted, self.values.popleft())]

    def clear(self) -> None:
        """Forget all values."""
        self.values.clear()
        self._sorted.clear()

    def at(self, quantile: float) -> float | None:
        """What a next value stays below so often, its own place counted; None without a value."""
        count = len(self._sorted)
        if not count:
            return None
        return self._sorted[min(count - 1, math.ceil(quantile * (count + 1)) - 1)]
