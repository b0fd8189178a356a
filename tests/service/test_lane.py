"""The lane: which texts are neighbours, and how often one may be overtaken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import lane as lane_module
from service.items import Item, Room
from service.lane import Lane

WIDE = Room(max_batch_tokens=100, max_batch_size=8, max_padding_tokens=1000)


def fill(*lengths: int) -> tuple[Lane[None], list[Item[None]]]:
    """A lane with texts of these lengths, and the texts in order of arrival."""
    lane: Lane[None] = Lane()
    items = [Item(length, 0.0, None) for length in lengths]
    for item in items:
        lane.push(item)
    return lane, items


def take(lane: Lane[None], room: Room = WIDE, beside: tuple[int, ...] = ()) -> list[Item[None]]:
    """What comes into a batch that holds texts of the lengths `beside`."""
    held = [Item(length, 0.0, None) for length in beside]
    batch = list(held)
    lane.take(room, batch)
    assert batch == sorted(batch, key=lambda item: item.length)
    return [item for item in batch if item not in held]


def lengths(items: list[Item[None]]) -> list[int]:
    """Of the items."""
    return [item.length for item in items]


def test_oldest_is_taken_with_its_neighbours_in_length():
    """Around the oldest (20) the window grows to the closest lengths while the rectangle fits."""
    lane, _ = fill(20, 90, 21, 3, 19, 22)
    assert lengths(take(lane)) == [19, 20, 21, 22]  # 4 x 22 <= 100 < 5 x 22
    assert lengths(take(lane)) == [90]
    assert lengths(take(lane)) == [3]
    assert take(lane) == []


def test_neighbour_that_adds_too_much_padding_waits_for_another_run():
    """Starting a run is cheaper than computing a rectangle that is mostly padding."""
    lane, _ = fill(5, 6, 100, 16)
    room = Room(max_batch_tokens=1000, max_batch_size=8, max_padding_tokens=10)
    assert [lengths(take(lane, room)) for _ in range(3)] == [[5, 6], [100], [16]]


def test_text_longer_than_the_budget_goes_alone():
    """It is computed all the same, and takes nobody along, from neither lane."""
    lane, _ = fill(500, 1)
    assert lengths(take(lane)) == [500]
    assert take(lane, beside=(500,)) == []


@pytest.mark.parametrize("beside", [(), (7,), (6, 8)])
def test_texts_of_one_length_leave_in_the_order_of_arrival(beside):
    """Also those that fill a batch which another lane began, or one that a longer text began."""
    room = Room(max_batch_tokens=100, max_batch_size=len(beside) + 2, max_padding_tokens=64)
    lane, items = fill(7, 7, 7, 7, 7)
    taken = [item for _ in range(3) for item in take(lane, room, beside)]
    assert taken == items


def test_of_shorter_neighbours_the_oldest_is_taken():
    """A longer text that is the oldest of all takes the first of the shorter ones, not the last."""
    lane, items = fill(8, 7, 7, 7, 6)
    room = Room(max_batch_tokens=100, max_batch_size=3, max_padding_tokens=64)
    assert take(lane, room) == [items[1], items[2], items[0]]
    assert take(lane, room) == [items[4], items[3]]


def test_other_lane_fills_the_room_that_is_left():
    """Beside two texts of 20 there is room for three that are no longer than 20."""
    lane, items = fill(90, 20, 1, 19)
    assert take(lane, beside=(20, 20)) == [items[2], items[3], items[1]]


def test_what_left_is_not_found_again():
    """Near or far from the oldest."""
    lane, items = fill(*[5] * (lane_module.MAX_OVERTAKING + 2))
    for index in (0, 3, -1):
        assert items[index] in lane
        lane.remove(items[index])
        assert items[index] not in lane
    seen = []
    while batch := take(lane):
        seen += batch
    assert seen == [item for item in items if item not in (items[0], items[3], items[-1])]
    assert (len(lane), lane.tokens) == (0, 0)


def test_clear_gives_all_oldest_first_and_the_lane_serves_on():
    """Order of arrival goes on counting."""
    lane, items = fill(9, 1, 5)
    assert lane.clear() == items
    assert (len(lane), lane.tokens, take(lane)) == (0, 0, [])
    later = Item(4, 0.0, None)
    lane.push(later)
    assert take(lane) == [later]


@given(
    first=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    later=st.lists(st.lists(st.integers(1, 40), max_size=6), max_size=60),
    bound=st.integers(1, 9),
    size=st.integers(1, 6),
)
def test_fewer_than_the_bound_overtake_a_text_whatever_comes_later(first, later, bound, size):
    """Counted over its whole wait, for every text; and a batch is never too large."""
    room = Room(max_batch_tokens=60, max_batch_size=size, max_padding_tokens=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane_module, "MAX_OVERTAKING", bound)
        lane, waiting = fill(*first)
        overtaken = dict.fromkeys(map(id, waiting), 0)
        arrivals = iter(later)
        while waiting:
            batch = take(lane, room)
            assert waiting[0] in batch
            assert len(batch) <= size
            assert len(batch) == 1 or len(batch) * batch[-1].length <= 60
            for item in batch:
                waiting.remove(item)
            for item in waiting:
                overtaken[id(item)] += sum(mate.sequence > item.sequence for mate in batch)
                assert overtaken[id(item)] < bound
            for length in next(arrivals, []):
                item = Item(length, 0.0, None)
                lane.push(item)
                waiting.append(item)
                overtaken[id(item)] = 0
            assert (len(lane), lane.tokens) == (len(waiting), sum(lengths(waiting)))
