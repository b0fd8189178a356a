"""Notices a batch that hangs in the engine. Pure: somebody calls `tick`."""

from collections.abc import Iterable

from service.items import Batch, PayloadT

_PATIENCE = 20.0  # times the expected duration: swapping and a busy machine stay below


class Watchdog:
    """Counts its own ticks: time in which the whole process stood still is not among them."""

    def __init__(self, stall_s: float) -> None:
        """Watch nothing yet.

        Args:
            stall_s: a batch may run this long, in seconds, or `_PATIENCE` times its expected time.
        """
        self._stall_s = stall_s
        self.period_s = min(0.1, stall_s / 4)

    def tick(self, running: Iterable[Batch[PayloadT]]) -> bool:
        """Call every `period_s`; True if one of the batches hangs."""
        for batch in running:
            batch.age_s += self.period_s
            if batch.age_s > max(self._stall_s, _PATIENCE * batch.expected_s):
                return True
        return False
