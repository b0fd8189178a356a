"""Bytes of answers that are held: counted, bounded, and given back."""

import asyncio

import pytest

from service.answers import UNCOUNTED_BYTES, Answers
from service.api.held import HeldResponse
from service.errors import QueueFullError

LARGE = UNCOUNTED_BYTES + 1


def test_small_answers_are_not_counted_and_large_ones_up_to_the_limit():
    """Those being made, and what is not read yet."""
    answers = Answers(3 * LARGE)
    answers.unread = lambda: LARGE
    assert answers.hold(UNCOUNTED_BYTES) == 0
    held = [answers.hold(LARGE), answers.hold(LARGE)]
    with pytest.raises(QueueFullError):
        answers.hold(LARGE)
    assert answers.hold(UNCOUNTED_BYTES) == 0
    answers.release(held.pop())
    assert answers.hold(LARGE) == LARGE


def test_one_answer_is_made_however_large():
    """Else it would be refused for ever."""
    answers = Answers(10)
    held = answers.hold(LARGE)
    with pytest.raises(QueueFullError):
        answers.hold(LARGE)
    answers.release(held)
    assert answers.making == 0


@pytest.mark.parametrize("fails", [False, True])
async def test_answer_is_counted_until_its_connection_has_it(fails):
    """Also if the client leaves meanwhile."""
    answers = Answers(10 * LARGE)
    response = HeldResponse(b"{}", answers, answers.hold(LARGE))
    sent = asyncio.Event()

    async def send(message):
        assert answers.making == LARGE
        sent.set()
        if fails:
            raise ConnectionResetError

    if fails:
        with pytest.raises(ConnectionResetError):
            await response({"type": "http"}, None, send)
    else:
        await response({"type": "http"}, None, send)
    assert sent.is_set()
    assert answers.making == 0
