"""What waits, and what is computed together: plain data, times in seconds on one clock."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

PayloadT = TypeVar("PayloadT")

_PADDING_PARTS = 64
_MIN_PADDING = 8  # tokens


class Priority(IntEnum):
    """Who goes first; the value is the index of the lane."""

    INTERACTIVE = 0
    BATCH = 1


class Ticket(NamedTuple):
    """What a request may expect: its priority, and until when it is of use, in seconds."""

    priority: Priority
    deadline: float


@dataclass(slots=True, eq=False)
class Item(Generic[PayloadT]):
    """One text that waits.

    Attributes:
        length: in tokens, as the engine will see them.
        deadline: until when it may be computed, on the clock of `now`, in seconds.
        payload: the caller's; never looked at.
        priority: its lane.
        submitted: when it was accepted.
        expected: when it would be computed, as predicted then.
        sequence: its place in the order of arrival in its lane.
    """

    length: int
    deadline: float
    payload: PayloadT
    priority: Priority = Priority.INTERACTIVE
    submitted: float = 0.0
    expected: float = math.inf
    sequence: int = -1


@dataclass(slots=True, eq=False)
class Batch(Generic[PayloadT]):
    """Items that are computed together, sorted by length.

    Attributes:
        items: at least one.
        left_waiting: whether others waited when it was formed.
        expected_s: seconds in the engine, as predicted at `start`.
        ends: when it will then be computed.
        age_s: how long it has been running, as the watchdog counts.
    """

    items: list[Item[PayloadT]]
    left_waiting: bool
    expected_s: float = 0.0
    ends: float = math.inf
    age_s: float = 0.0

    @property
    def tokens(self) -> int:
        """Without padding."""
        return sum(item.length for item in self.items)

    @property
    def padded_tokens(self) -> int:
        """With padding."""
        return self.items[-1].length * len(self.items)


class Room(NamedTuple):
    """What a batch may hold: tokens with padding, texts, tokens of padding for one more text."""

    max_batch_tokens: int
    max_batch_size: int
    max_padding_tokens: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What batches and queue may hold.

    Attributes:
        max_batch_tokens: longest x number of texts of a batch; a longer text goes alone.
        max_batch_size: texts of a batch.
        max_queue_size: texts of a priority that may wait, whatever the service time.
        timeout_s: the longest that a request may have: the bound of the queue follows from it.
        interactive_share: of the batches, for priority interactive, while both priorities wait.
        workers: batches computed at the same time.
        stall_s: seconds after which a batch may count as hanging.
    """

    max_batch_tokens: int
    max_batch_size: int
    max_queue_size: int
    timeout_s: float
    interactive_share: float = 0.9
    workers: int = 1
    stall_s: float = 60.0

    @property
    def room(self) -> Room:
        """What a batch may hold; for one text more, padding of a 64th of it (8 of 512 tokens).

        A text left out for that waits for nearer neighbours. By benchmarks/padding.py 64 tokens
        would cost 15 % of the rate where 64 texts of 1 to 151 tokens wait, and 1 token as much
        where 8 do. To a GPU, with larger batches, padding matters as much less.
        """
        padding = max(_MIN_PADDING, self.max_batch_tokens // _PADDING_PARTS)
        return Room(self.max_batch_tokens, self.max_batch_size, padding)
