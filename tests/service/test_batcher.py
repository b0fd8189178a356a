"""The asyncio shell: who is computed with whom, and that everybody is answered once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from service.batcher import Batcher, BatchRecord, Output
from service.errors import ClosedError, DeadlineExceededError, QueueFullError
from service.runtime.engine import EngineError
from service.scheduler import Scheduler
from tests.fakes import FakeEngine

Start = Callable[..., AbstractAsyncContextManager[Batcher]]


@pytest.fixture
def start(fake_engine: FakeEngine) -> Start:
    """A batcher around the fake engine, closed at the end."""

    @asynccontextmanager
    async def _start(workers: int = 1, max_queue_size: int = 8, **hooks) -> AsyncIterator[Batcher]:
        batcher = Batcher(Scheduler(1000, 8, max_queue_size), fake_engine, workers, **hooks)
        try:
            yield batcher
        finally:
            fake_engine.gate.set()
            await batcher.close(10.0)

    return _start


async def entered(engine: FakeEngine) -> None:
    """Wait until the engine has one more batch in hand."""
    await asyncio.to_thread(engine.entered.acquire)


async def begin(batcher: Batcher, *rows: list[int], timeout_s: float = 10.0) -> asyncio.Task:
    """Submit in a task, and return once it waits."""
    task = asyncio.create_task(batcher.submit(list(rows), timeout_s))
    await asyncio.sleep(0)
    return task


def first_logit_wins(output: Output) -> bool:
    """The fake engine puts the sum of the ids there."""
    return output.probabilities.argmax() == 0


async def test_idle_engine_computes_at_once(start, fake_engine):
    """A request alone is a batch alone: nothing waits for company."""
    async with start() as batcher:
        (output,) = await batcher.submit([[3, 4]], 10.0)
    assert fake_engine.batches == [[[3, 4]]]
    assert first_logit_wins(output)
    assert output.attention.tolist() == [0.5, 0.5]


async def test_requests_that_gather_while_the_engine_works_are_one_batch(start, fake_engine):
    """That is all the batching there is."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        others = [await begin(batcher, [number]) for number in (2, 3, 4)]
        assert batcher.queue_depth == 3
        fake_engine.gate.set()
        await asyncio.gather(first, *others)
    assert fake_engine.batches == [[[1]], [[2], [3], [4]]]


async def test_second_worker_takes_what_the_first_left(start, fake_engine):
    """Two workers compute two batches at the same time."""
    async with start(workers=2) as batcher:
        fake_engine.gate.clear()
        tasks = [await begin(batcher, [1])]
        await entered(fake_engine)
        tasks.append(await begin(batcher, [2]))
        await entered(fake_engine)
        assert fake_engine.batches == [[[1]], [[2]]]
        fake_engine.gate.set()
        await asyncio.gather(*tasks)


async def test_request_larger_than_a_batch_is_answered_in_its_own_order(start, fake_engine):
    """Texts of one request may be computed in several batches and come back in order."""
    rows = [[number % 3 + 1] * (12 - number) for number in range(12)]
    async with start(max_queue_size=12) as batcher:
        outputs = await batcher.submit(rows, 10.0)
    assert len(fake_engine.batches) > 1
    assert [int((output.attention > 0).sum()) for output in outputs] == list(map(len, rows))


async def test_full_queue_refuses_at_once(start, fake_engine):
    """The caller hears it without waiting, and what was accepted goes on."""
    async with start(max_queue_size=2) as batcher:
        fake_engine.gate.clear()
        tasks = [await begin(batcher, [1])]
        await entered(fake_engine)
        tasks.append(await begin(batcher, [2]))
        with pytest.raises(QueueFullError):
            await batcher.submit([[3], [4]], 10.0)
        fake_engine.gate.set()
        await asyncio.gather(*tasks)
    assert fake_engine.computed == [[1], [2]]


async def test_cancelled_caller_is_not_computed_and_does_not_affect_batch_mates(start, fake_engine):
    """Its queued texts leave; the others are answered."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        leaver = await begin(batcher, [2], [3])
        mate = await begin(batcher, [4])
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert batcher.queue_depth == 1
        fake_engine.gate.set()
        await asyncio.gather(first, mate)
    assert fake_engine.computed == [[1], [4]]


async def test_caller_cancelled_during_computing_does_not_affect_batch_mates(start, fake_engine):
    """The batch is computed to its end, one result of it is dropped."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        leaver, mate = await begin(batcher, [2]), await begin(batcher, [4])
        fake_engine.gate.set()
        fake_engine.gate.clear()
        await entered(fake_engine)
        leaver.cancel()
        fake_engine.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert len(await mate) == len(await first) == 1


async def test_expired_request_is_answered_while_the_engine_is_busy_and_never_computed(
    start, fake_engine
):
    """A timer at the deadline answers; no batch has to end for it."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        patient = await begin(batcher, [5])
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[2], [3]], 0.01)
        assert not fake_engine.gate.is_set()
        fake_engine.gate.set()
        await asyncio.gather(first, patient)
    assert fake_engine.computed == [[1], [5]]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (EngineError("the session rejected it"), "the session rejected it"),
        (ValueError("secret"), "the engine failed with ValueError"),
    ],
)
async def test_failing_batch_fails_its_own_callers_only(start, fake_engine, raised, message):
    """All of a batch get `EngineError`; the next batch is computed as ever."""
    async with start() as batcher:
        fake_engine.error = raised
        with pytest.raises(EngineError) as caught:
            await batcher.submit([[1], [2]], 10.0)
        assert str(caught.value) == message
        fake_engine.error = None
        assert await batcher.submit([[3]], 10.0)


async def test_texts_of_a_failed_request_that_still_wait_are_not_computed(start, fake_engine):
    """Nobody would read them."""
    async with start(max_queue_size=20) as batcher:
        fake_engine.error = EngineError("broken")
        with pytest.raises(EngineError):
            await batcher.submit([[number] for number in range(12)], 10.0)
        await batcher.close(10.0)
    assert len(fake_engine.computed) <= 12


async def test_close_computes_what_was_accepted_and_refuses_the_rest(start, fake_engine):
    """Nothing accepted is lost."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        queued = await begin(batcher, [2])
        closing = asyncio.create_task(batcher.close(10.0))
        await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await batcher.submit([[3]], 10.0)
        fake_engine.gate.set()
        await closing
        assert first.done()
        assert len(await queued) == 1


async def test_close_gives_up_on_an_engine_that_hangs(start, fake_engine):
    """What waits fails with `ClosedError` once the grace is over."""
    async with start() as batcher:
        fake_engine.gate.clear()
        first = await begin(batcher, [1])
        await entered(fake_engine)
        queued = await begin(batcher, [2])
        await batcher.close(0.01)
        with pytest.raises(ClosedError):
            await queued
        fake_engine.gate.set()
        await first


async def test_each_computed_batch_is_reported(start):
    """What metrics are made of."""
    records: list[BatchRecord] = []
    async with start(on_batch=records.append) as batcher:
        await batcher.submit([[1, 2, 3], [4]], 10.0)
    (record,) = records
    assert (record.texts, record.tokens, record.padded_tokens) == (2, 4, 6)
    assert len(record.queue_s) == 2
    assert min(record.engine_s, *record.queue_s) >= 0.0
