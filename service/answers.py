"""How many bytes of answers are held at once: those being made or sent, and what is not read."""

from collections.abc import Callable

from service.errors import QueueFullError

# Answers up to that size are not counted while they are made: the kernel takes as much for each
# connection. What a client leaves of them unread is.
UNCOUNTED_BYTES = 65_536


class Answers:
    """Counts the bytes of answers; those that do not fit are refused for load.

    Attributes:
        unread: bytes that wait in the connections for their readers; set by the server.
        making: bytes of large answers until they are handed to their connection.
    """

    def __init__(self, limit: int) -> None:
        """Hold at most `limit` bytes, or one answer."""
        self._limit = limit
        self.unread: Callable[[], int] = lambda: 0
        self.making = 0

    def hold(self, size: int) -> int:
        """Count an answer of about `size` bytes; returns how many are counted, to be released.

        Raises:
            QueueFullError: they do not fit beside those of others.
        """
        if size <= UNCOUNTED_BYTES:
            return 0
        held = self.making + self.unread()
        if held and held + size > self._limit:
            raise QueueFullError(
                f"the answers of requests under way would take more than {self._limit} bytes"
            )
        self.making += size
        return size

    def release(self, held: int) -> None:
        """Forget what `hold` counted."""
        self.making -= held
