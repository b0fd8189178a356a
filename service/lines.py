"""Lines of the log on their way out, where a reader that has stopped holds nothing up.

What can be written without waiting is written at once: 1 to 2 us, no thread is woken. Once a pipe,
a socket or a terminal is full, lines queue for a thread that waits for its reader, and ends when it
has caught up. Lines beyond the queue are lost and counted, as those that a full disk refuses are.
A file is written at once, always: there, a write waits only for a disk that hangs.
"""

import os
import select
import stat
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

MAX_LINES = 10_000
_BATCH = 100  # lines
_FAILURES = (OSError, ValueError)  # a full disk, a reader that has left; a closed stream
# To what `poll` calls ready a pipe takes this much without waiting (pipe(7), on Linux).
_AT_ONCE_BYTES = select.PIPE_BUF


class Lines:
    """Writes whole lines to a stream, in order. Its methods are those of a structlog logger."""

    def __init__(self, stream: TextIO, max_lines: int = MAX_LINES) -> None:
        """Write to what is below `stream`, of which at most `max_lines` may wait.

        Not buffered: what a full disk refused would be tried again, and fail, at exit.
        """
        buffer = stream.buffer
        self._raw = getattr(buffer, "raw", buffer)
        self._max_lines = max_lines
        self._poll: select.poll | None = None
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            self._poll = select.poll()
            self._poll.register(stream.fileno(), select.POLLOUT)
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._thread: threading.Thread | None = None
        self._unreported = 0
        self.on_dropped: Callable[[int], object] = lambda lines: None  # as it happens
        self.on_recovered: Callable[[int], object] = lambda lines: None  # of all since the last

    def msg(self, line: bytes | str) -> None:
        """Write a line, or lose it; never waits, never raises."""
        data = (line if isinstance(line, bytes) else line.encode("utf-8", "replace")) + b"\n"
        with self._lock:
            if self._thread is not None or not self._is_ready(data):
                self._queue(data)
                return
            try:
                written = self._raw.write(data) or 0
            except _FAILURES:
                self._drop(1)
                return
            if written < len(data):
                self._queue(data[written:])
                return
            recovered, self._unreported = self._unreported, 0
        if recovered:
            self.on_recovered(recovered)

    debug = info = warning = error = critical = log = msg

    def close(self, timeout_s: float) -> None:
        """Wait for what is queued, but not longer than that."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _is_ready(self, data: bytes) -> bool:
        return self._poll is None or (len(data) <= _AT_ONCE_BYTES and bool(self._poll.poll(0)))

    def _queue(self, data: bytes) -> None:
        if len(self._waiting) >= self._max_lines:
            self._drop(1)
            return
        self._waiting.append(data)
        if self._thread is None:
            thread = threading.Thread(target=self._catch_up, name="log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has none to give
                self._waiting.clear()
                self._drop(1)
            else:
                self._thread = thread

    def _drop(self, lines: int) -> None:
        self._unreported += lines
        self.on_dropped(lines)

    def _catch_up(self) -> None:
        """Write what waits, until nothing does; on the thread."""
        healthy = True
        while True:
            with self._lock:
                lines = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                recovered = self._unreported if healthy and not lines else 0
                self._unreported -= recovered
                if not lines and not recovered:
                    self._thread = None
                    return
            if recovered:
                self.on_recovered(recovered)  # one more line to write
                continue
            try:
                self._write_all(b"".join(lines))
                healthy = True
            except _FAILURES:
                healthy = False
                with self._lock:
                    self._drop(len(lines))

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if self._poll is not None:
                self._poll.poll()  # the stream may be one that refuses to wait
            rest = rest[self._raw.write(rest) or 0 :]
