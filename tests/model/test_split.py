"""Holding rows out: nothing lost, nothing on both sides, the shares of the classes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data import LabelledTexts
from model.duplicates import normalised
from model.split import hold_out
from tests.model.test_data import labelled

ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "A!", " a", "b", "B.", "c", "d", "e", "f"]), st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(
    labels=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_held_out_rows_and_the_rest_are_all_rows(labels, fraction, seed):
    """No row is lost or doubled, each class stays in train, and the seed decides."""
    data = labelled(*labels)
    train, valid = hold_out(data, fraction, seed)
    assert sorted(train.texts + valid.texts) == sorted(data.texts)
    assert set(train.labels) == set(labels)
    assert bool(valid.texts) == (max(Counter(labels).values()) > 1)
    assert hold_out(data, fraction, seed) == (train, valid)


@settings(deadline=None)
@given(rows=ROWS, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 9))
def test_texts_that_say_the_same_stay_on_one_side(rows, fraction, seed):
    """Whatever their labels; each class stays in train, and rows keep their numbers."""
    data = LabelledTexts([text for text, _ in rows], [f"{label}" for _, label in rows], "a.csv")
    train, valid = hold_out(data, fraction, seed)
    assert sorted(train.rows + valid.rows) == list(range(1, len(rows) + 1))
    assert not {*map(normalised, train.texts)} & {*map(normalised, valid.texts)}
    assert set(train.labels) == set(data.labels)
    assert hold_out(data, fraction, seed) == (train, valid)
    assert [data.texts[number - 1] for number in valid.rows] == valid.texts


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
def test_fraction_is_that_of_the_rows(copies):
    """Up to the rows of one text, however often texts are repeated."""
    texts = [f"text {n}{'!' * copy}" for n in range(100) for copy in range(copies)]
    data = LabelledTexts(texts, ["ab"[n % 2] for n in range(100) for _ in range(copies)], "a.csv")
    _, valid = hold_out(data, 0.1, seed=0)
    assert abs(len(valid) - 10 * copies) < copies
    assert abs(Counter(valid.labels)["a"] - 5 * copies) <= copies


def test_one_text_that_is_most_of_the_rows_is_learned_from():
    """Held out it would leave nothing to learn."""
    texts = ["thanks"] * 90 + [f"text {n}" for n in range(10)]
    _, valid = hold_out(LabelledTexts(texts, [*"ab"] * 50, "a.csv"), 0.1, seed=0)
    assert valid.texts
    assert "thanks" not in valid.texts


def test_class_of_one_text_is_not_held_out():
    """Nothing could be learned of it; the others still are."""
    data = LabelledTexts(["thanks", "Thanks!", "THANKS", "x", "y", "z"], [*"aaabbb"], "a.csv")
    assert set(hold_out(data, 0.5, seed=0)[1].labels) == {"b"}
    only = LabelledTexts(["thanks", "Thanks!", "x", "X"], [*"aabb"], "a.csv")
    assert len(hold_out(only, 0.5, seed=0)[1]) == 0


def test_hold_out_takes_the_same_share_of_each_class():
    """Up to the rounding of a row."""
    train, valid = hold_out(labelled(*("a" * 500 + "b" * 100 + "c" * 37)), 0.1, seed=3)
    assert len(valid) == 64
    assert Counter(valid.labels) == {"a": 50, "b": 10, "c": 4}
    assert train.texts == sorted(train.texts, key=lambda text: int(text.split()[1]))


def test_hold_out_of_tiny_data():
    """Twenty rows of ten classes give two rows, of two classes."""
    _, valid = hold_out(labelled(*("abcdefghij" * 2)), 0.1, seed=0)
    assert len(set(valid.labels)) == len(valid) == 2


def test_seed_changes_the_rows_held_out():
    """Two seeds, two splits."""
    data = labelled(*("ab" * 50))
    assert hold_out(data, 0.2, seed=0)[1].texts != hold_out(data, 0.2, seed=1)[1].texts


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_hold_out_of_nothing_or_all_is_refused(fraction):
    """Both parts are needed."""
    with pytest.raises(ValueError, match="above 0 and below 1"):
        hold_out(labelled("a", "b"), fraction, seed=0)
