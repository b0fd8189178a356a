"""The encoder: where tokenising runs, and what is refused before it does."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from service.encoder import INLINE_CHARS, Encoder
from service.errors import DeadlineExceededError, TooLateError

LONG = "a" * (INLINE_CHARS + 1)
FAR = 1e12  # a deadline


class FakeTokenizer:
    """Notes on which thread each text was encoded, and can block there."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def encode(self, text: str) -> SimpleNamespace:
        """See `Tokenizer.encode`."""
        self.threads.append(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(timeout=20), "the test forgot to open the gate"
        return SimpleNamespace(text=text)


@pytest.fixture
def tokenizer() -> FakeTokenizer:
    """One to block."""
    return FakeTokenizer()


@pytest.fixture
def encoder():
    """Closed at the end."""
    instance = Encoder()
    yield instance
    instance.close()


async def test_short_texts_are_encoded_on_the_loop_and_long_ones_beside_it(encoder, tokenizer):
    """By the characters of the whole request."""
    here = threading.current_thread().name
    await encoder.encode(tokenizer, ["a" * INLINE_CHARS], FAR)
    await encoder.encode(tokenizer, ["a" * INLINE_CHARS, "b"], FAR)
    assert tokenizer.threads[0] == here
    assert all(name.startswith("encoder") for name in tokenizer.threads[1:])


async def test_encodings_are_in_the_order_of_the_texts(encoder, tokenizer):
    """On the loop and beside it."""
    for texts in (["a", "b", "c"], [LONG, "b", LONG + "c"]):
        encodings = await encoder.encode(tokenizer, texts, FAR)
        assert [encoding.text for encoding in encodings] == texts


async def test_loop_answers_while_a_long_text_is_encoded(encoder, tokenizer):
    """Short texts pass long ones by."""
    tokenizer.gate.clear()
    long = asyncio.create_task(encoder.encode(tokenizer, [LONG], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    other = FakeTokenizer()
    assert await encoder.encode(other, ["b"], FAR)
    assert not long.done()
    tokenizer.gate.set()
    assert await long


async def test_long_text_that_would_be_encoded_too_late_is_refused(encoder, tokenizer):
    """By what waits for the thread, at the speed measured; the first one in line never is."""
    tokenizer.gate.clear()
    first = asyncio.create_task(encoder.encode(tokenizer, [LONG], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    with pytest.raises(TooLateError) as caught:
        await encoder.encode(tokenizer, [LONG], time.monotonic())
    assert caught.value.retry_after_s >= 1.0
    tokenizer.gate.set()
    await first
    with pytest.raises(DeadlineExceededError):  # alone it is tried, and found to be late
        await encoder.encode(tokenizer, [LONG], time.monotonic())


async def test_text_that_is_overdue_when_its_turn_comes_is_not_encoded(
    encoder, tokenizer, monkeypatch
):
    """The work would be for nobody; the texts before it were in time."""
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("service.encoder.time", clock)
    now = 0.0
    tokenizer.gate.clear()
    first = asyncio.create_task(encoder.encode(tokenizer, [LONG], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    late = asyncio.create_task(encoder.encode(tokenizer, [LONG], 1.0))
    await asyncio.sleep(0)
    now = 2.0
    tokenizer.gate.set()
    await first
    with pytest.raises(DeadlineExceededError):
        await late
    assert len(tokenizer.threads) == 1


async def test_cancelled_request_frees_its_place(encoder, tokenizer):
    """What waits for the thread is counted exactly, whoever leaves."""
    tokenizer.gate.clear()
    first = asyncio.create_task(encoder.encode(tokenizer, [LONG], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    waiting = asyncio.create_task(encoder.encode(tokenizer, [LONG * 1000], FAR))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    tokenizer.gate.set()
    await first
    assert len(tokenizer.threads) == 1
    assert encoder._waiting_chars == 0


async def test_closed_encoder_leaves_no_thread(tokenizer):
    """It ends when its last text is encoded."""
    others = set(threading.enumerate())  # of apps that other tests keep running
    encoder = Encoder()
    await encoder.encode(tokenizer, [LONG], FAR)
    (thread,) = [
        it for it in threading.enumerate() if it.name == tokenizer.threads[0] if it not in others
    ]
    encoder.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
