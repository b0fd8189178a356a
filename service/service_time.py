"""How long a batch takes, learned from those that were computed. Pure: no clock, no threads.

A batch of P padded tokens takes about `fixed + per_token * P` seconds: the cost of starting a run,
and that of the arithmetic. Both come from least squares over the last batches, weighted by 1/P, so
that small batches count too. How far reality lies above the line is the upper quantile of the
measured ratios, each taken before its batch was learned from: what is promised was not fitted to.

When the last few batches all lie far off on the same side, the machine has changed and what was
known is forgotten: ten times slower is noticed after five batches, not after a window of them.
"""

from collections import deque

from service.quantile import RollingQuantiles

WINDOW = 256  # batches: at least 12 lie above the 95 % quantile
QUANTILE = 0.95
_SHIFT_BATCHES = 5
_SHIFT_RATIO = 1.5  # single batches on a shared machine exceed it, five in a row do not
_SPREAD = 0.05  # sizes that vary by less than this say nothing about the slope


class ServiceTime:
    """Seconds of a batch as a function of its padded tokens."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float]] = deque()
        self._ratios = RollingQuantiles(WINDOW)
        # Of weight, and of weighted tokens, seconds, tokens^2, tokens * seconds.
        self._sums = [0.0] * 5
        self._fixed_s = 0.0
        self._per_token_s = 0.0

    def predict(self, padded_tokens: float) -> float:
        """Expected seconds; 0 before anything was observed."""
        return self._fixed_s + self._per_token_s * padded_tokens

    @property
    def upper_ratio(self) -> float:
        """The upper quantile of measured over expected seconds; at least 1."""
        return max(1.0, self._ratios.at(QUANTILE) or 1.0)

    def observe(self, padded_tokens: int, seconds: float) -> None:
        """Learn from a batch that was computed.

        Args:
            padded_tokens: longest x number of texts, at least 1.
            seconds: of the engine, on a monotonic clock.
        """
        expected_s = self.predict(padded_tokens)
        self._learn(padded_tokens, seconds)
        if expected_s > 0.0:
            self._ratios.add(seconds / expected_s)
        if self._has_shifted():
            self._forget()
        self._fit()

    def _learn(self, tokens: int, seconds: float) -> None:
        self._samples.append((tokens, seconds))
        self._add(tokens, seconds, 1)
        if len(self._samples) > WINDOW:
            self._add(*self._samples.popleft(), -1)

    def _add(self, tokens: int, seconds: float, sign: int) -> None:
        weight = sign / tokens
        for index, term in enumerate((1.0, tokens, seconds, tokens * tokens, tokens * seconds)):
            self._sums[index] += weight * term

    def _has_shifted(self) -> bool:
        ratios = self._ratios.values
        if len(self._samples) <= _SHIFT_BATCHES or len(ratios) < _SHIFT_BATCHES:
            return False
        last = [ratios[-1 - index] for index in range(_SHIFT_BATCHES)]
        return min(last) > _SHIFT_RATIO or max(last) < 1.0 / _SHIFT_RATIO

    def _forget(self) -> None:
        """Start again from the last batches."""
        kept = list(self._samples)[-_SHIFT_BATCHES:]
        self._samples.clear()
        self._ratios.clear()
        self._sums = [0.0] * 5
        for tokens, seconds in kept:
            self._learn(tokens, seconds)

    def _fit(self) -> None:
        weight, tokens, seconds, squares, products = self._sums
        mean_tokens, mean_s = tokens / weight, seconds / weight
        variance = squares / weight - mean_tokens**2
        if variance > (_SPREAD * mean_tokens) ** 2:
            slope = (products / weight - mean_tokens * mean_s) / variance
            self._per_token_s = min(max(slope, 0.0), mean_s / mean_tokens)  # neither part below 0
            self._fixed_s = mean_s - self._per_token_s * mean_tokens
            return
        known_s = self.predict(mean_tokens)  # the line keeps its shape, its height moves
        scale = mean_s / known_s if known_s > 0.0 else 0.0
        self._per_token_s = self._per_token_s * scale if scale else mean_s / mean_tokens
        self._fixed_s *= scale
