"""The classifier with a fake engine: no HTTP, no model."""

import asyncio
import math
import time

import orjson
import pytest

from service.batcher import Batcher
from service.classifier import Classifier
from service.encoder import INLINE_CHARS, Encoder
from service.errors import DeadlineExceededError, QueueFullError, TooLateError
from service.items import Limits, Priority, Ticket
from service.loader import load_model
from service.service_time import ServiceTime
from tests.artifacts import LABELS, MAX_LENGTH

WHENEVER = Ticket(Priority.INTERACTIVE, math.inf)


@pytest.fixture
async def classifier(settings, fake_engine):
    """With room for two texts; what it reports is in `reported`."""
    limits = Limits(max_batch_tokens=1000, max_batch_size=8, max_queue_size=2, timeout_s=60.0)
    batcher = Batcher(fake_engine, fake_engine.num_labels, limits, ServiceTime())
    encoder = Encoder()
    reported = []
    instance = Classifier(
        load_model(settings, fake_engine), batcher, encoder, lambda *seen: reported.append(seen)
    )
    instance.reported = reported
    yield instance
    fake_engine.gate.set()
    await instance.close(20.0)
    encoder.close()


async def test_rows_are_what_the_tokenizer_makes(classifier, fake_engine):
    """One text, one row, cut at `max_length`."""
    texts = ["my card", "again " * 100]
    await classifier.classify(texts, WHENEVER)
    expected = [classifier.model.tokenizer.encode(text).input_ids for text in texts]
    assert sorted(fake_engine.computed) == sorted(expected)
    assert max(map(len, fake_engine.computed)) == MAX_LENGTH


async def test_answer_has_what_was_asked_for(classifier):
    """Words only on demand; `top_k` cuts."""
    (plain,) = await classifier.classify(["my card"], WHENEVER)
    (explained,) = await classifier.classify(["my card"], WHENEVER, top_k=1, with_words=True)
    assert plain.words is None
    assert plain.label == LABELS[0]
    scores = orjson.loads(plain.scores)
    assert {"label": plain.label, "score": plain.score} == pytest.approx(scores[0])
    assert [each["label"] for each in scores] == list(LABELS)
    assert len(orjson.loads(explained.scores)) == 1
    assert [word["text"] for word in orjson.loads(explained.words)] == ["my", "card"]


async def test_long_texts_get_the_same_answers_as_short_ones(classifier):
    """Where a text is encoded and explained makes no difference to what is answered."""
    text = "my card " + "again " * INLINE_CHARS
    (long,) = await classifier.classify([text], WHENEVER, with_words=True)
    (short,) = await classifier.classify([text[: MAX_LENGTH * 2]], WHENEVER, with_words=True)
    assert long.truncated
    assert short.truncated
    assert orjson.loads(long.words) == orjson.loads(short.words)


async def test_words_end_where_the_model_stopped_reading(classifier):
    """64 texts of 10,000 words had 33 MB of answer, nearly all of it with weight 0."""
    text = "my card " * 2000
    (answer,) = await classifier.classify([text], WHENEVER, with_words=True)
    words = orjson.loads(answer.words)
    assert len(words) <= MAX_LENGTH
    assert words[0] == {"start": 0, "end": 2, "text": "my", "weight": words[0]["weight"]}
    assert sum(word["weight"] for word in words) == pytest.approx(1.0)


async def test_tokenising_and_truncation_are_reported(classifier):
    """Once a request."""
    await classifier.classify(["my card", "again " * 100], WHENEVER)
    ((tokenize_s, truncated),) = classifier.reported
    assert tokenize_s > 0
    assert truncated == 1


async def test_request_larger_than_the_queue_is_refused(classifier, fake_engine):
    """And none of it is computed."""
    with pytest.raises(QueueFullError):
        await classifier.classify(["a", "b", "c"], WHENEVER)
    assert fake_engine.computed == []


async def test_headers_are_checked_against_the_queue(classifier, fake_engine):
    """The same refusal as later, before there is a text."""
    fake_engine.gate.clear()
    tasks = [asyncio.create_task(classifier.classify(["a"], WHENEVER))]
    assert await asyncio.to_thread(fake_engine.entered.acquire, timeout=20)
    tasks.append(asyncio.create_task(classifier.classify(["b", "c"], WHENEVER)))
    await asyncio.sleep(0)
    assert classifier.queue_depth == classifier.queue_limit == 2
    with pytest.raises(QueueFullError):
        classifier.check(WHENEVER)
    fake_engine.gate.set()
    await asyncio.gather(*tasks)
    classifier.check(WHENEVER)


async def test_late_result_is_an_error_even_if_the_loop_was_too_busy_to_notice(
    classifier, fake_engine
):
    """No answer leaves after its deadline, whatever held it up."""
    fake_engine.gate.clear()
    ticket = Ticket(Priority.INTERACTIVE, time.monotonic() + 0.05)
    task = asyncio.create_task(classifier.classify(["a"], ticket))
    assert await asyncio.to_thread(fake_engine.entered.acquire, timeout=20)
    fake_engine.gate.set()
    while classifier._batcher.scheduler.running:
        pass  # the loop does nothing until the batch is computed,
    while time.monotonic() <= ticket.deadline:
        pass  # nor until it is too late
    with pytest.raises(DeadlineExceededError):
        await task


async def test_texts_that_would_be_late_are_refused_after_tokenising(classifier, fake_engine):
    """By the seconds that the batches before them are expected to take."""
    classifier._batcher._service_time.observe(1, 5.0)
    fake_engine.gate.clear()
    first = asyncio.create_task(classifier.classify(["a"], WHENEVER))
    assert await asyncio.to_thread(fake_engine.entered.acquire, timeout=20)
    with pytest.raises(TooLateError):
        await classifier.classify(["b"], Ticket(Priority.INTERACTIVE, time.monotonic() + 1.0))
    fake_engine.gate.set()
    await first
    assert len(fake_engine.computed) == 1


async def test_classifier_is_idle_when_its_last_request_is_answered(classifier, fake_engine):
    """Whether it waits for the encoder or for the engine until then."""
    await classifier.idle()
    fake_engine.gate.clear()
    long = "again " * INLINE_CHARS
    requests = [asyncio.create_task(classifier.classify([text], WHENEVER)) for text in ("a", long)]
    await asyncio.sleep(0)
    idle = asyncio.create_task(classifier.idle())
    await asyncio.to_thread(fake_engine.entered.acquire)
    assert not idle.done()
    fake_engine.gate.set()
    await asyncio.gather(*requests)
    await idle
