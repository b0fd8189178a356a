"""The artifact as a Python object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.artifact import ArtifactError
from service.runtime.predictor import Predictor, batches_by_length
from tests.artifacts import LABELS, MAX_LENGTH, sentences


@pytest.fixture(scope="module")
def predictor(tiny_artifact) -> Predictor:
    """Loaded once."""
    return Predictor(tiny_artifact, "cpu")


def test_predictions_keep_the_order_of_the_texts(predictor):
    """Batches are made by length, answers come back as asked."""
    texts = sentences()[::7]
    together = predictor.predict(texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = predictor.predict([text])
        assert prediction.label == alone.label
        assert prediction.score == pytest.approx(alone.score, abs=1e-5)


def test_prediction_has_ranked_scores_and_counts_tokens(predictor):
    """`top_k` cuts, truncation is told."""
    short, long = predictor.predict(["my card", "again " * 100], top_k=2)
    assert short.scores[0] == (short.label, short.score)
    assert len(short.scores) == 2
    assert not short.truncated
    assert long.truncated
    assert long.tokens > MAX_LENGTH
    assert short.label in LABELS


def test_nothing_to_predict_is_nothing(predictor):
    """No text, no answer, no error."""
    assert predictor.predict([]) == []


@pytest.mark.parametrize(
    ("texts", "error"), [("one string", TypeError), ([3], TypeError), (["\ud800"], ValueError)]
)
def test_what_is_no_list_of_texts_is_refused(predictor, texts, error):
    """One string is not a list of its characters; half a surrogate pair is no text."""
    with pytest.raises(error):
        predictor.predict(texts)


def test_folder_that_is_no_artifact_is_refused(tmp_path):
    """Before anything is loaded."""
    with pytest.raises(ArtifactError):
        Predictor(tmp_path)


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_batches_hold_every_index_once_within_the_budget(lengths, budget):
    """Padding counted; one that is larger than the budget goes alone."""
    batches = list(batches_by_length(lengths, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        width = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * width <= budget
