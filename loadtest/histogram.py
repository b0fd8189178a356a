"""Latency histograms: HdrHistogram in whole microseconds, three significant digits (0.1 %)."""

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from hdrh.histogram import HdrHistogram

HIGHEST_S = 600.0  # longer is recorded as this
_US = 1_000_000


def new_histogram(digits: int = 3) -> HdrHistogram:
    """An empty histogram of seconds, recorded with `record`."""
    return HdrHistogram(1, int(HIGHEST_S * _US), digits)


def record(histogram: HdrHistogram, seconds: float) -> None:
    """Count one duration; below 1 us is 1 us, above `HIGHEST_S` is `HIGHEST_S`."""
    histogram.record_value(min(max(1, round(seconds * _US)), int(HIGHEST_S * _US)))


def encode(histogram: HdrHistogram) -> str:
    """The histogram in HdrHistogram's own V2 format, compressed, base64: any HDR tool reads it."""
    return str(histogram.encode(), "ascii")


class Distribution:
    """Latencies of some requests, those that were never answered included.

    An unanswered request (timed out, or due and never sent) took longer than any answered one: it
    counts as infinitely late. To leave it out would make a server look faster by not answering.
    """

    def __init__(self, encoded: Iterable[str], unanswered: int = 0) -> None:
        """Merge histograms that `encode` wrote; `unanswered` requests lie above all of them."""
        merged = new_histogram()
        for histogram in encoded:
            merged.decode_and_add(histogram)
        indices = [i for i, count in enumerate(merged.counts) if count]
        lowest = [merged.get_value_from_index(i) for i in indices]
        self.values_s: list[float] = [
            (value + merged.get_highest_equivalent_value(value)) / 2 / _US for value in lowest
        ]
        self.counts: list[int] = [merged.counts[i] for i in indices]
        self._cumulative = list(accumulate(self.counts))
        self.answered = self._cumulative[-1] if indices else 0
        self.unanswered = unanswered

    @property
    def total(self) -> int:
        """Requests, answered or not."""
        return self.answered + self.unanswered

    def at_rank(self, rank: int) -> float:
        """The `rank`-th smallest latency in seconds, from 1; infinite above the answered ones."""
        if rank > self.answered:
            return math.inf
        return self.values_s[bisect_left(self._cumulative, max(1, rank))]

    def quantile(self, fraction: float) -> float:
        """Nearest rank: the least latency that `fraction` of all requests did not exceed.

        Args:
            fraction: above 0, at most 1.
        """
        return self.at_rank(math.ceil(fraction * self.total - 1e-9)) if self.total else math.nan

    def within(self, seconds: float) -> int:
        """How many were answered in at most `seconds`, to the histogram's 0.1 %."""
        below = bisect_left(self.values_s, seconds * (1 + 1e-9))
        return self._cumulative[below - 1] if below else 0
