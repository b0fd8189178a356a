"""The encoder: where tokenising runs, and what is refused before it does."""

import asyncio
import math
import threading
import time
from types import SimpleNamespace

import pytest

from service.encoder import INLINE_CHARS, INLINE_WORK, Encoder
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


@pytest.mark.parametrize(
    ("texts", "beside"),
    [
        (["a" * INLINE_CHARS], False),
        (["a" * INLINE_CHARS, "b"], True),
        (["\ufdfa" * (INLINE_CHARS // 6)], False),
        (["\ufdfa" * (INLINE_CHARS // 6), "\ufdfa"], True),
    ],
)
async def test_little_text_is_encoded_on_the_loop_and_more_beside_it(
    encoder, tokenizer, texts, beside
):
    """By the characters of the whole request; beyond ASCII one may be normalised to many."""
    await encoder.encode(tokenizer, texts, FAR)
    assert all(name.startswith("encoder") == beside for name in tokenizer.threads)


async def test_little_is_answered_on_the_loop_and_more_beside_it(encoder, tokenizer):
    """By what it is said to take."""
    for works in ([INLINE_WORK], [INLINE_WORK, 1.0]):
        await encoder.answer(map(tokenizer.encode, "ab"[: len(works)]), works, FAR)
    assert tokenizer.threads[0] == threading.current_thread().name
    assert all(name.startswith("encoder") for name in tokenizer.threads[1:])
    assert len(tokenizer.threads) == 3


async def test_encodings_are_in_the_order_of_the_texts(encoder, tokenizer):
    """On the loop and beside it."""
    for texts in (["a", "b", "c"], [LONG, "b", LONG + "c"]):
        encodings = await encoder.encode(tokenizer, texts, FAR)
        assert [encoding.text for encoding in encodings] == texts


async def test_loop_answers_while_a_long_text_is_encoded(encoder, tokenizer):
    """Short texts pass long ones by."""
    long = await hold(encoder, tokenizer)
    other = FakeTokenizer()
    assert await encoder.encode(other, ["b"], FAR)
    assert not long.done()
    tokenizer.gate.set()
    assert await long


async def test_long_text_that_would_be_encoded_too_late_is_refused(encoder, tokenizer):
    """By what waits for the thread, at the speed measured; the first one in line never is."""
    first = await hold(encoder, tokenizer)
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
    first = await hold(encoder, tokenizer)
    late = asyncio.create_task(encoder.encode(tokenizer, [LONG], 1.0))
    await asyncio.sleep(0)
    now = 2.0
    tokenizer.gate.set()
    await first
    with pytest.raises(DeadlineExceededError):
        await late
    assert len(tokenizer.threads) == 1


async def test_request_that_waits_for_the_thread_is_answered_at_its_deadline(encoder, tokenizer):
    """Not when its turn comes: what is before it may take seconds."""
    first = await hold(encoder, tokenizer)
    with pytest.raises(DeadlineExceededError):
        await encoder.encode(tokenizer, [LONG], time.monotonic() + 0.05)
    assert not first.done()
    tokenizer.gate.set()
    await first
    assert len(tokenizer.threads) == 1


async def test_answers_that_would_be_late_are_refused(encoder, tokenizer):
    """As texts are that would be encoded too late."""
    first = await hold(encoder, tokenizer)
    with pytest.raises(TooLateError):
        await encoder.answer(map(tokenizer.encode, [LONG]), [1e6], time.monotonic() + 0.5)
    tokenizer.gate.set()
    await first


async def test_small_request_waits_for_a_text_of_a_large_one_and_not_for_all(encoder, tokenizer):
    """Which began before it."""
    tokenizer.gate.clear()
    large = asyncio.create_task(encoder.encode(tokenizer, [LONG * 10] * 64, FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    encoded = (len(tokenizer.threads) for _ in range(2))
    small = asyncio.create_task(encoder.answer(encoded, [200.0, 200.0], FAR))
    await asyncio.sleep(0)
    tokenizer.gate.set()
    assert await small == [1, 1]
    assert len(await large) == 64


async def test_work_that_never_began_frees_its_place_when_its_caller_leaves(encoder, tokenizer):
    """The thread will not do it."""
    first = await hold(encoder, tokenizer)
    before_s = encoder.waiting_s
    waiting = asyncio.create_task(encoder.encode(tokenizer, [LONG * 1000], FAR))
    await asyncio.sleep(0)
    assert encoder.waiting_s > 100 * before_s
    await cancel(waiting)
    assert encoder.waiting_s == before_s
    tokenizer.gate.set()
    await first
    assert len(tokenizer.threads) == 1
    assert encoder.waiting_s == 0.0


async def test_work_that_began_keeps_its_place_until_the_thread_is_through_with_it(
    encoder, tokenizer
):
    """Its caller has left, so its next text is not encoded; but this one holds others up."""
    tokenizer.gate.clear()
    task = asyncio.create_task(encoder.encode(tokenizer, [LONG, "b"], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    await cancel(task)
    assert encoder.waiting_s > 0.0
    with pytest.raises(TooLateError):
        await encoder.encode(tokenizer, [LONG], time.monotonic())
    tokenizer.gate.set()
    other = FakeTokenizer()
    await encoder.encode(other, [LONG], FAR)
    assert len(tokenizer.threads) == len(other.threads) == 1
    assert encoder.waiting_s == 0.0


async def test_each_kind_of_work_is_charged_at_its_own_speed(encoder, monkeypatch):
    """As measured: slow explaining does not make encoding look slow."""
    now = 0.0
    monkeypatch.setattr("service.encoder.time", SimpleNamespace(monotonic=lambda: now))

    def takes(seconds: float) -> int:
        nonlocal now
        now += seconds
        return 1

    for _ in range(100):
        await encoder._beside(encoder._encoding, map(takes, [0.001]), [10_000], FAR)
        await encoder._beside(encoder._answering, map(takes, [0.02, 0.02]), [5_000, 5_000], FAR)
    assert encoder._encoding.seconds == pytest.approx(1e-7, rel=0.01)
    assert encoder._answering.seconds == pytest.approx(4e-6, rel=0.01)


async def test_what_fails_on_the_thread_frees_its_place_and_reaches_its_caller(encoder):
    """And the next one is served."""
    with pytest.raises(ValueError, match="half"):
        await encoder.answer(map(int, ["half"]), [5000.0], FAR)
    assert encoder.waiting_s == 0.0
    assert await encoder.answer(map(int, ["1"]), [5000.0], math.inf) == [1]


async def hold(encoder, tokenizer) -> asyncio.Task:
    """The thread is busy with this until the gate of `tokenizer` opens."""
    tokenizer.gate.clear()
    task = asyncio.create_task(encoder.encode(tokenizer, [LONG], FAR))
    await asyncio.to_thread(tokenizer.entered.acquire)
    return task


async def cancel(task: asyncio.Task) -> None:
    """Let its caller leave."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


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
