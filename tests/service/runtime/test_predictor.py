"""The artifact as a Python object."""

import numpy as np
import pandas as pd
import pyarrow as pa
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


TABLE = pd.DataFrame({"text": ["my card", "a refund"], "note": ["", ""]})


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("one string", r"got one str; pass a list: \[text\]"),
        (b"one", r"got one bytes; pass a list: \[text.decode\(\)\]"),
        (bytearray(b"one"), "got one bytearray"),
        (TABLE, r"got a DataFrame; pass one column: data\[\"text\"\]"),
        ({"text": ["a"]}, "got a dict; pass one column"),
        (pa.table({"text": ["a"]}), "got a Table; pass one column"),
        ({"a", "b"}, "got one set; pass a list"),
        (None, "got one NoneType"),
        (3, "got one int"),
        ([3], r"texts\[0\] is a int; expected a string"),
        (["a", None], r"texts\[1\] is a NoneType"),
        (["a", b"b"], r"texts\[1\] is a bytes"),
        (TABLE.values, r"texts\[0\] is a ndarray"),
        (pd.Series(["a", float("nan")], dtype=object), r"texts\[1\] is a float"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(predictor, texts, says):
    """With what to pass instead: a table would otherwise classify the names of its columns."""
    with pytest.raises(TypeError, match=says):
        predictor.predict(texts)


@pytest.mark.parametrize(
    "texts",
    [
        TABLE["text"],
        TABLE["text"].set_axis([7, 7]),
        tuple(TABLE["text"]),
        TABLE["text"].to_numpy(),
        np.array(["my card", "a refund"]),
        pd.Index(["my card", "a refund"]),
        (text for text in ["my card", "a refund"]),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_any_ordered_iterable_of_strings_is_a_list_of_texts(predictor, texts):
    """A Series whatever its index, an array, a tuple, a generator."""
    labels = [prediction.label for prediction in predictor.predict(texts)]
    assert labels == [p.label for p in predictor.predict(["my card", "a refund"])]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n\u3000", "is empty"),
        ("a\0b", "holds a NUL character"),
        ("\ud800", "holds half a surrogate pair"),
    ],
)
def test_texts_are_refused_by_the_rule_of_the_service(predictor, text, says):
    """Named by their place, before anything is computed."""
    with pytest.raises(ValueError, match=rf"texts\[1\]: {says}"):
        predictor.predict(["a", text])


@pytest.mark.parametrize("top_k", [0, -1, True, 1.0, "2", float("nan")])
def test_top_k_is_refused_by_the_rule_of_the_service(predictor, top_k):
    """An integer of 1 or more; also with nothing to predict."""
    for texts in ([], ["a"]):
        with pytest.raises(ValueError, match="expected an integer of 1 or more"):
            predictor.predict(texts, top_k=top_k)


def test_top_k_above_the_labels_cuts_nothing(predictor):
    """As the service answers."""
    (prediction,) = predictor.predict(["my card"], top_k=99)
    assert len(prediction.scores) == len(LABELS)


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
