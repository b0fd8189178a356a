"""The asyncio shell: who is computed with whom, and that everybody is answered once."""

import asyncio
import math
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import numpy as np
import pytest

from service.batcher import Batcher, BatchRecord, Hooks
from service.errors import (
    ClosedError,
    DeadlineExceededError,
    EngineStalledError,
    QueueFullError,
    UnavailableError,
)
from service.isolation import Output
from service.items import Limits, Priority, Ticket
from service.runtime.engine import EngineError, EngineOutput
from service.service_time import ServiceTime
from tests.fakes import FakeEngine

Start = Callable[..., AbstractAsyncContextManager[Batcher]]

NO_HOOKS = Hooks()
LIMITS = {"max_batch_tokens": 1000, "max_batch_size": 8, "max_queue_size": 8, "timeout_s": 60.0}


def worker_threads() -> list[threading.Thread]:
    """Of every batcher."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("engine-")]


@pytest.fixture
def start(fake_engine: FakeEngine) -> Start:
    """A batcher around the fake engine, closed at the end; it leaves nothing and no thread."""

    @asynccontextmanager
    async def _start(hooks: Hooks = NO_HOOKS, **limits) -> AsyncIterator[Batcher]:
        before = worker_threads()
        batcher = Batcher(
            fake_engine, fake_engine.num_labels, Limits(**(LIMITS | limits)), ServiceTime(), hooks
        )
        try:
            yield batcher
        finally:
            fake_engine.gate.set()
            await batcher.close(20.0)
            assert batcher.queue_depth == 0
            assert batcher.scheduler.next_deadline is None
            for thread in set(worker_threads()) - set(before):
                await asyncio.to_thread(thread.join, 20)
                assert not thread.is_alive()

    return _start


def ticket(timeout_s: float = 60.0, priority: Priority = Priority.INTERACTIVE) -> Ticket:
    """Of a request that comes now."""
    return Ticket(priority, time.monotonic() + timeout_s)


async def entered(engine: FakeEngine) -> None:
    """Wait until the engine has one more batch in hand."""
    assert await asyncio.to_thread(engine.entered.acquire, timeout=20)


async def begin(batcher: Batcher, *rows: list[int], **given) -> asyncio.Task:
    """Submit in a task, and return once it waits."""
    task = asyncio.create_task(batcher.submit(list(rows), ticket(**given)))
    await asyncio.sleep(0)
    return task


async def block(batcher: Batcher, engine: FakeEngine) -> asyncio.Task:
    """A request that the engine is busy with until the gate opens."""
    engine.gate.clear()
    task = await begin(batcher, [1])
    await entered(engine)
    return task


async def prepared(batcher: Batcher, count: int) -> None:
    """Wait until so many texts are in a batch that waits for the engine."""
    while batcher.scheduler._num_prepared != count:  # noqa: ASYNC110  # a thread does it
        await asyncio.sleep(0)


def answer_to(row: list[int]) -> float:
    """The probability of label 0 that the fake engine gives to a text alone."""
    return math.exp(sum(row) / 100) / (math.exp(sum(row) / 100) + 2.0)


def is_answer_to(output: Output, row: list[int]) -> bool:
    """Whether it belongs to this text and no other."""
    return output.probabilities[0] == pytest.approx(answer_to(row), abs=1e-6)


# Batches


async def test_idle_engine_computes_at_once(start, fake_engine):
    """A request alone is a batch alone: nothing waits for company."""
    async with start() as batcher:
        (output,) = await batcher.submit([[3, 4]], ticket())
    assert fake_engine.batches == [[[3, 4]]]
    assert is_answer_to(output, [3, 4])
    assert output.attention.tolist() == [0.5, 0.5]


async def test_requests_that_gather_while_the_engine_works_are_one_batch(start, fake_engine):
    """That is all the batching there is."""
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        others = [await begin(batcher, [number]) for number in (2, 3, 4)]
        assert batcher.queue_depth == 3
        fake_engine.gate.set()
        await asyncio.gather(first, *others)
    assert fake_engine.batches == [[[1]], [[2], [3], [4]]]


async def test_requests_that_come_in_one_go_are_one_batch(start, fake_engine):
    """What the loop reads together is computed together."""
    async with start() as batcher:
        await asyncio.gather(*(batcher.submit([[number]], ticket()) for number in range(1, 6)))
    assert fake_engine.batches == [[[1], [2], [3], [4], [5]]]


async def test_second_worker_takes_what_the_first_left(start, fake_engine):
    """Two workers compute two batches at the same time."""
    async with start(workers=2) as batcher:
        tasks = [await block(batcher, fake_engine)]
        tasks.append(await begin(batcher, [2]))
        await entered(fake_engine)
        assert fake_engine.batches == [[[1]], [[2]]]
        fake_engine.gate.set()
        await asyncio.gather(*tasks)


async def test_all_workers_start_at_once_for_a_request_of_many_texts(start, fake_engine):
    """Each takes its batch; nobody has to finish first."""
    async with start(workers=3, max_batch_size=1) as batcher:
        fake_engine.gate.clear()
        task = await begin(batcher, [1], [2], [3], [4], [5])
        for _ in range(3):
            await entered(fake_engine)
        assert not fake_engine.entered.acquire(blocking=False)
        assert len(batcher.scheduler.running) == 3
        fake_engine.gate.set()
        assert len(await task) == 5


async def test_full_batch_is_prepared_while_the_engine_works(start, fake_engine):
    """And still counts as waiting until the engine takes it."""
    async with start(max_batch_size=2) as batcher:
        first = await block(batcher, fake_engine)
        others = [await begin(batcher, [number]) for number in (2, 3, 4)]
        await prepared(batcher, 2)
        assert batcher.queue_depth == 3
        fake_engine.gate.set()
        await asyncio.gather(first, *others)
    assert fake_engine.batches == [[[1]], [[2], [3]], [[4]]]


async def test_request_larger_than_a_batch_is_answered_in_its_own_order(start, fake_engine):
    """Texts of one request may be computed in several batches and come back in order."""
    rows = [[number % 3 + 1] * (12 - number) for number in range(12)]
    async with start(max_queue_size=12) as batcher:
        outputs = await batcher.submit(rows, ticket())
    assert len(fake_engine.batches) > 1
    assert [int((output.attention > 0).sum()) for output in outputs] == list(map(len, rows))


async def test_text_longer_than_the_budget_passes_between_others(start, fake_engine):
    """It goes alone, and wedges nothing."""
    rows = [[1], [2] * 50, [3]]
    async with start(max_batch_tokens=10) as batcher:
        first = await block(batcher, fake_engine)
        others = [await begin(batcher, row) for row in rows]
        fake_engine.gate.set()
        await first
        outputs = [(await task)[0] for task in others]
    assert all(map(is_answer_to, outputs, rows))
    assert [[2] * 50] in fake_engine.batches


# Refusing


async def test_bound_of_the_queue_is_exact(start, fake_engine):
    """Of n + k requests exactly k are refused, at once, and the depth is right at every step."""
    async with start(max_queue_size=20) as batcher:
        first = await block(batcher, fake_engine)
        accepted = []
        for depth in range(1, 21):
            accepted.append(await begin(batcher, [depth]))
            assert batcher.queue_depth == depth
        for _ in range(7):
            with pytest.raises(QueueFullError):
                await batcher.submit([[99]], ticket())
            with pytest.raises(QueueFullError):
                batcher.check(ticket())
            assert batcher.queue_depth == 20
        fake_engine.gate.set()
        await asyncio.gather(first, *accepted)
        assert batcher.queue_depth == 0
    assert sorted(map(sum, fake_engine.computed)) == sorted([1, *range(1, 21)])


async def test_request_without_room_for_all_of_it_is_refused_at_once(start, fake_engine):
    """None of it is computed, and it does not wait for room."""
    async with start(max_queue_size=4) as batcher:
        first = await block(batcher, fake_engine)
        others = await begin(batcher, [2], [3])
        with pytest.raises(QueueFullError):
            await batcher.submit([[4], [5], [6]], ticket())
        assert batcher.queue_depth == 2
        fake_engine.gate.set()
        await asyncio.gather(first, others)
    assert fake_engine.computed == [[1], [2], [3]]


# Leaving


async def test_cancelled_caller_is_not_computed_and_does_not_affect_batch_mates(start, fake_engine):
    """Its queued texts leave; the others are answered."""
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        leaver = await begin(batcher, [2], [3])
        mate = await begin(batcher, [4])
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert batcher.queue_depth == 1
        fake_engine.gate.set()
        await asyncio.gather(first, mate)
    assert fake_engine.computed == [[1], [4]]


async def test_no_abandoned_text_of_a_thousand_requests_is_computed(start, fake_engine):
    """Half of the callers leave while they wait; the others all have their own answers."""
    async with start(max_queue_size=1000, max_batch_size=16) as batcher:
        first = await block(batcher, fake_engine)
        rows = [[number % 900 + 2] * (1 + number % 3) for number in range(1000)]
        tasks = [await begin(batcher, row) for row in rows]
        await prepared(batcher, 16)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks[::2], return_exceptions=True)
        assert batcher.queue_depth == 500
        fake_engine.gate.set()
        await first
        for row, task in list(zip(rows, tasks, strict=True))[1::2]:
            assert is_answer_to((await task)[0], row)
    assert sorted(fake_engine.computed) == sorted([[1], *rows[1::2]])


async def test_caller_cancelled_during_computing_does_not_affect_batch_mates(start, fake_engine):
    """The batch is computed to its end, one result of it is dropped."""
    async with start() as batcher:
        fake_engine.gate.clear()
        leaver, mate = await begin(batcher, [2]), await begin(batcher, [4])
        await entered(fake_engine)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        fake_engine.gate.set()
        (output,) = await mate
    assert is_answer_to(output, [4])


async def test_expired_request_is_answered_while_the_engine_is_busy_and_never_computed(
    start, fake_engine
):
    """A timer at the deadline answers; no batch has to end for it."""
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        patient = await begin(batcher, [5])
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[2], [3]], ticket(0.1))
        assert 0.1 <= time.monotonic() - started <= 0.6
        assert not fake_engine.gate.is_set()
        assert batcher.queue_depth == 1
        fake_engine.gate.set()
        await asyncio.gather(first, patient)
    assert fake_engine.computed == [[1], [5]]


async def test_earlier_deadline_of_a_later_request_is_kept(start, fake_engine):
    """The timer is set anew for it, and again for those that follow."""
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        tasks = [await begin(batcher, [number], timeout_s=0.01 * number) for number in (9, 3, 6)]
        done = []
        for task, number in zip(tasks, (9, 3, 6), strict=True):
            task.add_done_callback(lambda _, number=number: done.append(number))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert done == [3, 6, 9]
        fake_engine.gate.set()
        await first
    assert fake_engine.computed == [[1]]


async def test_request_that_expires_while_it_is_computed_is_answered_at_once(start, fake_engine):
    """A result that comes later is nobody's."""
    async with start() as batcher:
        fake_engine.gate.clear()
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[1]], ticket(0.02))
        assert fake_engine.batches
        fake_engine.gate.set()
        assert await batcher.submit([[2]], ticket())


async def test_prepared_batch_loses_its_expired_and_cancelled_rows(start, fake_engine):
    """And their padding: the engine does not see them, whoever of the batch left."""
    async with start(max_batch_size=4) as batcher:
        first = await block(batcher, fake_engine)
        expiring = await begin(batcher, [2] * 9, timeout_s=0.05)
        leaver = await begin(batcher, [3])
        mates = [await begin(batcher, [4, 4]), await begin(batcher, [5])]
        await prepared(batcher, 4)
        leaver.cancel()
        with pytest.raises(DeadlineExceededError):
            await expiring
        fake_engine.gate.set()
        await first
        outputs = [(await mate)[0] for mate in mates]
    assert fake_engine.batches == [[[1]], [[5], [4, 4]]]
    assert [output.attention.tolist() for output in outputs] == [[0.5, 0.5], [1.0, 0.0]]


async def test_prepared_batch_that_everybody_left_is_not_computed(start, fake_engine):
    """The worker that prepared it goes on with the next."""
    async with start(max_batch_size=2) as batcher:
        first = await block(batcher, fake_engine)
        leavers = [await begin(batcher, [2]), await begin(batcher, [3])]
        await prepared(batcher, 2)
        stays = await begin(batcher, [4])
        for leaver in leavers:
            leaver.cancel()
        await asyncio.gather(*leavers, return_exceptions=True)
        fake_engine.gate.set()
        await asyncio.gather(first, stays)
    assert fake_engine.computed == [[1], [4]]


# Failing


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (EngineError("the session rejected it"), "the session rejected it"),
        (ValueError("secret"), "the engine failed with ValueError"),
    ],
)
async def test_failing_batch_fails_its_own_callers_only(start, fake_engine, raised, message):
    """All of a batch get `EngineError`, each its own; the next batch is computed as ever."""
    async with start() as batcher:
        fake_engine.error = raised
        tasks = [await begin(batcher, [number]) for number in (1, 2)]
        errors = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in errors] == [message] * 2
        assert errors[0] is not errors[1]
        fake_engine.error = None
        assert await batcher.submit([[3]], ticket())


def spoil_row_of(poison: int, how: str):
    """What the engine does to a batch with this id in it."""

    def spoil(rows: list[list[int]], output: EngineOutput) -> EngineOutput:
        bad = [number for number, row in enumerate(rows) if poison in row]
        if not bad:
            return output
        if how == "raise":
            raise RuntimeError
        if how == "wrong shape":
            return EngineOutput(output.logits[:, :1], output.attention)
        if how == "wrong type":
            return EngineOutput([["a"]] * len(rows), output.attention)
        if how == "None":
            return None
        output.logits[bad, 0] = np.nan
        return output

    return spoil


@pytest.mark.parametrize("how", ["raise", "NaN", "wrong shape", "wrong type", "None"])
async def test_poison_fails_alone_and_its_batch_mates_are_answered(start, fake_engine, how):
    """One of sixteen callers gets the error, fifteen their own answers."""
    records: list[BatchRecord] = []
    async with start(Hooks(records.append), max_batch_size=16, max_queue_size=16) as batcher:
        first = await block(batcher, fake_engine)
        fake_engine.spoil = spoil_row_of(13, how)
        rows = [[number] * (1 + number % 2) for number in range(5, 21)]
        tasks = [await begin(batcher, row) for row in rows]
        fake_engine.gate.set()
        await first
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert len(fake_engine.batches) - 1 <= 2 * math.log2(16) + 2
    for row, result in zip(rows, results, strict=True):
        if 13 in row:
            assert isinstance(result, EngineError)
        else:
            assert is_answer_to(result[0], row)
    assert [record.whole for record in records] == [True, False]


async def test_several_poisons_fail_their_own_requests(start, fake_engine):
    """A request with a poisoned text fails as a whole, the others do not."""
    async with start(max_batch_size=16, max_queue_size=16) as batcher:
        first = await block(batcher, fake_engine)
        fake_engine.spoil = spoil_row_of(13, "NaN")
        requests = [[[2], [13]], [[3], [4]], [[13]], [[5]]]
        tasks = [await begin(batcher, *rows) for rows in requests]
        fake_engine.gate.set()
        await first
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, EngineError) for result in results] == [True, False, True, False]
    assert [len(results[1]), len(results[3])] == [2, 1]


async def test_split_batch_teaches_nothing_about_the_service_time(start, fake_engine):
    """Its seconds are those of several runs."""
    async with start() as batcher:
        fake_engine.spoil = spoil_row_of(13, "NaN")
        with pytest.raises(EngineError):
            await batcher.submit([[13], [2]], ticket())
        assert batcher._service_time.predict(10) == 0.0
        await batcher.submit([[2]], ticket())
        assert batcher._service_time.predict(10) > 0.0


async def test_texts_of_a_failed_request_that_still_wait_are_not_computed(start, fake_engine):
    """Nobody would read them; what the engine had begun with by then is lost."""

    def spoil(rows: list[list[int]], output: EngineOutput) -> EngineOutput:
        if [8] not in rows:
            return output
        if len(rows) == 1:
            fake_engine.gate.clear()  # for the next batch
        raise EngineError("broken")

    fake_engine.spoil = spoil
    async with start(max_queue_size=40) as batcher:
        with pytest.raises(EngineError):
            await batcher.submit([[number] for number in range(1, 41)], ticket())
        assert batcher.queue_depth == 0
        fake_engine.gate.set()
    assert max(number for row in fake_engine.computed for number in row) <= 16


# Hanging


class Ticking:
    """Ticks of the watchdog, as fast as the loop can."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    async def until(self, happened: Callable[[], bool]) -> None:
        """Tick until it has."""
        while not happened():
            self._batcher._watch_timer.cancel()
            self._batcher._watch()
            await asyncio.sleep(0)


async def test_engine_that_hangs_fails_everything_once_and_for_good(start, fake_engine):
    """What runs, what is prepared, what waits; whoever comes later is refused."""
    stalls = []
    hooks = Hooks(on_stall=lambda: stalls.append(batcher.queue_depth))
    async with start(hooks, max_batch_size=2) as batcher:
        tasks = [await block(batcher, fake_engine)]
        tasks += [await begin(batcher, [number]) for number in (2, 3, 4)]
        await prepared(batcher, 2)
        await Ticking(batcher).until(lambda: bool(stalls))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [EngineStalledError] * 4
        for attempt in (
            batcher.submit([[5]], ticket()),
            asyncio.to_thread(batcher.check, ticket()),
        ):
            with pytest.raises(EngineStalledError):
                await attempt
        batcher._stall()
        assert stalls == [0]
    assert fake_engine.computed == [[1]]


async def test_engine_that_works_is_never_taken_for_one_that_hangs(start):
    """However often the watchdog looks, an idle engine and short batches are fine."""
    stalls = []
    async with start(Hooks(on_stall=lambda: stalls.append(1))) as batcher:
        for number in range(1, 50):
            batcher._watch_timer.cancel()
            batcher._watch()
            await batcher.submit([[number]], ticket())
    assert stalls == []


async def test_worker_that_dies_counts_as_an_engine_that_hangs(start, monkeypatch):
    """No text waits for a thread that is gone."""
    died, stalls = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: died.append(args.exc_type))

    def no_memory(rows):
        raise MemoryError

    async with start(Hooks(on_stall=lambda: stalls.append(1))) as batcher:
        monkeypatch.setattr("service.batcher.pad", no_memory)
        with pytest.raises(EngineStalledError):
            await batcher.submit([[1]], ticket())
        while not died:  # noqa: ASYNC110  # the thread tells the loop before it ends
            await asyncio.sleep(0)
        assert (died, stalls) == ([MemoryError], [1])


# Closing


async def test_close_computes_what_was_accepted_and_refuses_the_rest(start, fake_engine):
    """Nothing accepted is lost: what runs, what is prepared, what waits."""
    async with start(max_batch_size=2) as batcher:
        tasks = [await block(batcher, fake_engine)]
        tasks += [await begin(batcher, [number]) for number in (2, 3, 4)]
        await prepared(batcher, 2)
        closing = asyncio.create_task(batcher.close(20.0))
        await asyncio.sleep(0)
        with pytest.raises(ClosedError):
            await batcher.submit([[5]], ticket())
        fake_engine.gate.set()
        await closing
        assert all(task.done() for task in tasks)
        outputs = [task.result()[0] for task in tasks]
    assert all(is_answer_to(output, [number]) for number, output in enumerate(outputs, start=1))


async def test_close_gives_up_on_an_engine_that_hangs(start, fake_engine):
    """Once the grace is over everything fails, and only the thread that hangs is left."""
    others = len(worker_threads())  # of apps that other tests keep running
    async with asyncio.timeout(20), start(workers=2) as batcher:
        tasks = [await block(batcher, fake_engine)]
        await batcher.close(0.01)
        tasks += [await begin(batcher, [2])]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ClosedError] * 2
        while len(worker_threads()) > others + 1:  # noqa: ASYNC110  # threads have no event of ours
            await asyncio.sleep(0)


async def test_close_answers_what_was_overdue_when_the_last_worker_stopped(start, fake_engine):
    """The timer of its deadline is never going to fire."""
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        late = await begin(batcher, [2], timeout_s=0.05)
        batcher._timer.cancel()  # as a busy loop would delay it
        closing = asyncio.create_task(batcher.close(20.0))
        deadline = batcher.scheduler.next_deadline
        await asyncio.sleep(deadline - time.monotonic() + 0.001)
        fake_engine.gate.set()
        await closing
        assert await first
        with pytest.raises(DeadlineExceededError):
            await asyncio.wait_for(late, 20)
    assert fake_engine.computed == [[1]]


async def test_closing_an_idle_batcher_wakes_every_thread(start):
    """Twice does no harm; the fixture looks for threads that are left."""
    async with start(workers=4) as batcher:
        await batcher.close(20.0)
        await batcher.close(20.0)


async def test_each_computed_batch_is_reported(start):
    """What metrics are made of."""
    records: list[BatchRecord] = []
    async with start(Hooks(records.append)) as batcher:
        await batcher.submit([[1, 2, 3], [4]], ticket())
        await batcher.submit([[1, 2, 3]], ticket())
    first, second = records
    assert (first.texts, first.tokens, first.padded_tokens, first.whole) == (2, 4, 6, True)
    assert len(first.queue_s) == 2
    assert min(first.engine_s, *first.queue_s) >= 0.0
    assert (first.expected_s, second.expected_s > 0.0) == (0.0, True)


# All together


@pytest.mark.parametrize("workers", [1, 3])
async def test_no_request_is_lost_in_a_storm(start, fake_engine, workers):
    """Thousands of requests of all kinds from many tasks: each has exactly one outcome, its own."""
    rng = random.Random(workers)
    outcomes = {"answered": 0, "refused": 0, "expired": 0, "left": 0, "failed": 0}
    fake_engine.spoil = spoil_row_of(500, "NaN")

    async def client(seed: int, batcher: Batcher) -> None:
        own = random.Random(seed)
        for _ in range(40):
            rows = [[own.randint(1, 499)] * own.randint(1, 5) for _ in range(own.randint(1, 4))]
            if own.random() < 0.02:
                rows[0] = [500]
            given = ticket(own.choice([0.0005, 0.01, 20.0]), own.choice(list(Priority)))
            task = asyncio.create_task(batcher.submit(rows, given))
            if own.random() < 0.2:
                for _ in range(own.randint(0, 3)):
                    await asyncio.sleep(0)
                task.cancel()
            outcome = await settled(task, rows)
            outcomes[outcome] += 1

    async with start(workers=workers, max_queue_size=32) as batcher:
        clients = [client(rng.randint(0, 10**9), batcher) for _ in range(60)]
        await asyncio.wait_for(asyncio.gather(*clients), 60)
        assert batcher.queue_depth == 0
        assert not batcher.scheduler.running
    assert sum(outcomes.values()) == 60 * 40
    assert min(outcomes.values()) > 0


async def settled(task: asyncio.Task, rows: list[list[int]]) -> str:
    """What became of a request; an answer must be the answer to these rows."""
    try:
        outputs = await task
    except asyncio.CancelledError:
        return "left"
    except DeadlineExceededError:
        return "expired"
    except UnavailableError:
        return "refused"
    except EngineError:
        assert [500] in rows
        return "failed"
    assert all(map(is_answer_to, outputs, rows))
    return "answered"


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_wake_up_is_lost(start, workers):
    """One request after the other, each the only one there is: any sleeper would stay asleep."""
    async with start(workers=workers) as batcher:
        for number in range(1, 500):
            outputs = await asyncio.wait_for(batcher.submit([[number]], ticket()), 20)
            assert is_answer_to(outputs[0], [number])


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_step_of_the_wall_clock_changes_nothing(start, fake_engine, monkeypatch, step_s):
    """Deadlines and queue are on the monotonic clock: nobody expires early, nobody late."""
    real = time.time
    async with start() as batcher:
        first = await block(batcher, fake_engine)
        patient = await begin(batcher, [2], timeout_s=60.0)
        monkeypatch.setattr(time, "time", lambda: real() + step_s)
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            await batcher.submit([[3]], ticket(0.05))
        assert 0.05 <= time.monotonic() - started <= 1.0
        assert not patient.done()
        assert batcher.queue_depth == 1
        fake_engine.gate.set()
        assert len(await first) == len(await patient) == 1
