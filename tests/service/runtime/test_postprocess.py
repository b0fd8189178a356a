"""Logits to probabilities to ranked labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.postprocess import ranked, softmax


def test_softmax_equals_its_formula():
    """exp(x) / sum(exp(x)), by hand for log 1, log 2, log 5."""
    logits = np.log(np.array([[1, 2, 5]], dtype=np.float32))
    np.testing.assert_allclose(softmax(logits), [[0.125, 0.25, 0.625]], rtol=1e-6)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=8))
def test_probabilities_sum_to_one_for_any_finite_logits(values):
    """Large ones do not overflow."""
    probabilities = softmax(np.array([values], dtype=np.float32))
    assert probabilities.dtype == np.float32
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-5)
    assert (probabilities >= 0).all()


@pytest.mark.parametrize(("top_k", "count"), [(None, 3), (1, 1), (2, 2), (5, 3)])
def test_ranked_falls_and_is_cut_at_top_k(top_k, count):
    """Best first; more than there are is all."""
    expected = [("b", 0.5), ("c", 0.3), ("a", 0.2)][:count]
    result = ranked(np.array([0.2, 0.5, 0.3], dtype=np.float32), ["a", "b", "c"], top_k)
    assert [(label, pytest.approx(score)) for label, score in result] == expected


def test_equal_scores_keep_the_order_of_the_labels():
    """So an answer does not depend on the sorting algorithm."""
    result = ranked(np.full(3, 1 / 3, dtype=np.float32), ["a", "b", "c"])
    assert [label for label, _ in result] == ["a", "b", "c"]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=400), st.integers(1, 500))
def test_many_labels_are_ranked_as_few_are(counts, top_k):
    """Equal ones by their ids too."""
    probabilities = np.array(counts, dtype=np.float32)
    labels = [str(label_id) for label_id in range(len(counts))]
    assert ranked(probabilities, labels, top_k) == ranked(probabilities, labels)[:top_k]
