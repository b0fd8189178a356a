"""The classifier with a fake engine: no HTTP, no model."""

import pytest

from service.batcher import Batcher
from service.classifier import Classifier
from service.errors import QueueFullError
from service.loader import load_model
from service.scheduler import Scheduler
from tests.artifacts import LABELS, MAX_LENGTH


@pytest.fixture
async def classifier(settings, fake_engine):
    """With room for two texts; what it reports is in `reported`."""
    batcher = Batcher(Scheduler(1000, 8, 2), fake_engine)
    reported = []
    instance = Classifier(
        load_model(settings, fake_engine), batcher, 10.0, lambda *seen: reported.append(seen)
    )
    instance.reported = reported
    yield instance
    await batcher.close(10.0)


async def test_rows_are_what_the_tokenizer_makes(classifier, fake_engine):
    """One text, one row, cut at `max_length`."""
    texts = ["my card", "again " * 100]
    await classifier.classify(texts)
    expected = [classifier.model.tokenizer.encode(text).input_ids for text in texts]
    assert sorted(fake_engine.computed) == sorted(expected)
    assert max(map(len, fake_engine.computed)) == MAX_LENGTH


async def test_answer_has_what_was_asked_for(classifier):
    """Words only on demand; `top_k` cuts."""
    (plain,) = await classifier.classify(["my card"])
    (explained,) = await classifier.classify(["my card"], top_k=1, with_words=True)
    assert plain.words is None
    assert plain.label == LABELS[0]
    assert (plain.label, plain.score) == plain.scores[0]
    assert len(explained.scores) == 1
    assert [word.text for word in explained.words] == ["my", "card"]


async def test_tokenising_and_truncation_are_reported(classifier):
    """Once a request."""
    await classifier.classify(["my card", "again " * 100])
    ((tokenize_s, truncated),) = classifier.reported
    assert tokenize_s > 0
    assert truncated == 1


async def test_request_larger_than_the_queue_is_refused(classifier, fake_engine):
    """And none of it is computed."""
    with pytest.raises(QueueFullError):
        await classifier.classify(["a", "b", "c"])
    assert fake_engine.computed == []
