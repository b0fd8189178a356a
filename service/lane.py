"""Texts of one priority that wait: the oldest is taken first, and its neighbours in length with it.

Neighbours are sought among the oldest `MAX_OVERTAKING` places only. So a text is overtaken by fewer
than that many others in all, whatever comes later, and the cost of a batch does not grow with the
queue.
"""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from typing import Generic

from service.items import Item, PayloadT, Room

MAX_OVERTAKING = 256


class Lane(Generic[PayloadT]):
    """A queue that can also be searched by length."""

    def __init__(self) -> None:
        self._by_arrival: OrderedDict[int, Item[PayloadT]] = OrderedDict()
        # Sorted; at this size moving pointers is cheaper than keeping a tree.
        self._near: list[tuple[int, int, Item[PayloadT]]] = []
        self._far: deque[Item[PayloadT]] = deque()  # may hold items that have left
        self._next_sequence = 0
        self.tokens = 0

    def __len__(self) -> int:
        """Number of items waiting."""
        return len(self._by_arrival)

    def __contains__(self, item: Item[PayloadT]) -> bool:
        return item.sequence in self._by_arrival

    def push(self, item: Item[PayloadT]) -> None:
        """Append `item`."""
        item.sequence = self._next_sequence
        self._next_sequence += 1
        self._by_arrival[item.sequence] = item
        self.tokens += item.length
        self._far.append(item)
        self._bring_near()

    def remove(self, item: Item[PayloadT]) -> None:
        """Take `item` out, which must be waiting."""
        index = bisect_left(self._near, (item.length, item.sequence))
        if index < len(self._near) and self._near[index][2] is item:
            del self._near[index]
        self._leave(item)
        self._bring_near()

    def take(self, room: Room, batch: list[Item[PayloadT]]) -> None:
        """Move items to `batch`, which holds none or has its longest item last.

        The oldest item comes first if `batch` is empty; then neighbours in length, always the one
        that adds less padding, of one length the oldest, as long as there is room. `batch` ends
        sorted by length.
        """
        if not self._near:
            return
        if batch:
            width, size = batch[-1].length, len(batch)
            low = high = bisect_left(self._near, (width,))
        else:
            oldest = next(iter(self._by_arrival.values()))
            low = bisect_left(self._near, (oldest.length, oldest.sequence))
            width, size, high = oldest.length, 1, low + 1
        for item in self._pop(*self._grow(room, low, high, width, size)):
            self._leave(item)
            batch.append(item)
        batch.sort(key=_length)
        self._bring_near()

    def clear(self) -> list[Item[PayloadT]]:
        """Take everything out, oldest first."""
        items = list(self._by_arrival.values())
        for waiting in (self._by_arrival, self._near, self._far):
            waiting.clear()
        self.tokens = 0
        return items

    def _grow(self, room: Room, low: int, high: int, width: int, size: int) -> tuple[int, int]:
        """Widen [low, high) of `_near`, beside a batch of `size` items, the longest `width`."""
        while size < room.max_batch_size:
            shorter = longer = room.max_padding_tokens + 1
            if high < len(self._near):
                length = self._near[high][0]
                if length * (size + 1) <= room.max_batch_tokens:
                    longer = (length - width) * size
            if low > 0 and width * (size + 1) <= room.max_batch_tokens:
                shorter = width - self._near[low - 1][0]
            if min(shorter, longer) > room.max_padding_tokens:
                break
            if longer <= shorter:
                width = self._near[high][0]
                high += 1
            else:
                low -= 1
            size += 1
        return low, high

    def _pop(self, low: int, high: int) -> list[Item[PayloadT]]:
        """Take [low, high) of `_near`; of the shortest length the oldest, if not all are in it."""
        if low == high:
            return []
        first = bisect_left(self._near, self._near[low][:1])
        surplus = low - first  # younger ones of that length stay in place of as many older ones
        end = min(high, bisect_left(self._near, (self._near[low][0] + 1,)))
        taken = self._near[first : end - surplus] + self._near[end:high]
        self._near[first:high] = self._near[end - surplus : end]
        return [item for _, _, item in taken]

    def _leave(self, item: Item[PayloadT]) -> None:
        del self._by_arrival[item.sequence]
        self.tokens -= item.length

    def _bring_near(self) -> None:
        """Let those be searched that are within `MAX_OVERTAKING` places of the oldest."""
        if not self._far:
            return
        oldest = next(iter(self._by_arrival), self._next_sequence)
        while self._far and self._far[0].sequence < oldest + MAX_OVERTAKING:
            item = self._far.popleft()
            if item.sequence in self._by_arrival:
                insort(self._near, (item.length, item.sequence, item))


def _length(item: Item[PayloadT]) -> int:
    return item.length
