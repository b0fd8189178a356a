"""What the signals of the process do, from its first moment on. Standard library only."""

import asyncio
import os
import signal
from collections.abc import Callable
from types import FrameType


class Signals:
    """SIGTERM and SIGINT end the process in order, then at once; SIGHUP looks for a new version.

    Python's handlers, not the event loop's: the second signal must work when the loop does not, and
    the first one while there is none yet.
    """

    def __init__(self) -> None:
        """Until `follow`, SIGTERM and SIGINT end the process at once, and SIGHUP is remembered."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_stopping: Callable[[], None] = lambda: None
        self._stopping = False
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def follow(self, on_stopping: Callable[[], None]) -> None:
        """From now on there is something to stop in order, on the running loop.

        Args:
            on_stopping: called at the first signal, between any two instructions of the loop.
        """
        self._on_stopping = on_stopping
        self._loop = asyncio.get_running_loop()

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if self._loop is None or self._stopping:
            os._exit(128 + number)
        self._stopping = True
        self._on_stopping()
        self._loop.call_soon_threadsafe(self.stop.set)

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        if self._loop is None:
            self.reload.set()  # nobody waits for it yet
        else:
            self._loop.call_soon_threadsafe(self.reload.set)
