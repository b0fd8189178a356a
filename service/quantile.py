"""The upper quantile of what was seen of late. Pure."""

import math
from bisect import bisect_left, insort
from collections import deque


class RollingQuantile:
    """A quantile of the last `window` values: the one that a next value stays below so often."""

    def __init__(self, quantile: float, window: int) -> None:
        """Nothing seen."""
        self._quantile = quantile
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

    @property
    def value(self) -> float | None:
        """None before anything was seen; then with the place of the next value counted."""
        count = len(self._sorted)
        if not count:
            return None
        return self._sorted[min(count - 1, math.ceil(self._quantile * (count + 1)) - 1)]
