"""One timer for all connections, and a clock that stands still when the process does."""

import asyncio
from collections.abc import Callable

_LONGEST_TICK_S = 0.5


class Sweep:
    """Calls `check` every tick while there is something to check.

    `now_s` is the time of the last tick: reading it costs nothing, so a request needs no timer and
    no look at the clock. After a tick that came late (the process was stopped, the event loop was
    blocked) it has advanced by one tick only: bytes that arrived meanwhile could not be read, and
    nobody is cut for that.
    """

    def __init__(self, shortest_timeout_s: float, check: Callable[[float], bool]) -> None:
        """Sweep often enough for `shortest_timeout_s`.

        Args:
            shortest_timeout_s: of those that are checked; a tick is a twentieth.
            check: takes `now_s`; False if the sweep may rest until the next `start`.
        """
        self.tick_s = min(_LONGEST_TICK_S, shortest_timeout_s / 20)
        self.now_s = 0.0
        self._check = check
        self._ticked_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to tick, unless it does."""
        if self._timer is None:
            self._arm(loop)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ticked_s = loop.time()
        self._timer = loop.call_later(self.tick_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        elapsed_s = loop.time() - self._ticked_s
        self.now_s += elapsed_s if elapsed_s < 2 * self.tick_s else self.tick_s
        self._timer = None
        if self._check(self.now_s):
            self._arm(loop)
