"""The linear rival: the same features as the plain recipe, on a sample of large data."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from model.baseline import compare, lines
from model.data import LabelledTexts
from tests.runs import invented

ROWS = invented(400, seed=3)


def part(rows) -> LabelledTexts:
    """Rows of a file."""
    return LabelledTexts([text for text, _ in rows], [label for _, label in rows], "a.csv")


def test_baseline_is_the_plain_recipe():
    """TF-IDF of words and pairs and of 2 to 5 characters within words, LinearSVC with C = 1."""
    train, test = part(ROWS[:300]), part(ROWS[300:])
    plain = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LinearSVC(C=1, random_state=0),
    ).fit(train.texts, train.labels)
    expected = float(np.mean(plain.predict(test.texts) == np.array(test.labels)))
    result = compare(train, {"test": test}, {"test": test.labels}, 10**6)
    assert (result["rows"], result["of_rows"]) == (300, 300)
    assert abs(result["test"]["accuracy"] - expected) <= 0.01
    assert result["test"]["accuracy_low"] < expected < result["test"]["accuracy_high"]
    assert result["test"]["network"] == 1.0


def test_large_data_is_sampled_the_same_share_of_each_class():
    """And always the same rows."""
    train = part(ROWS)
    characters = sum(map(len, train.texts)) // 4
    first, second = (compare(train, {"v": train}, {"v": train.labels}, characters) for _ in "ab")
    assert 90 < first["rows"] < 110
    assert first["of_rows"] == 400
    assert 90 < first["v"]["n"] < 110
    assert first | {"seconds": 0} == second | {"seconds": 0}


@pytest.mark.parametrize(
    ("texts", "characters", "reason"),
    [
        (["a b", "c d"], 0, "switched off"),
        (["!", "?"], 10**6, "empty vocabulary"),
        (["", " "], 10**6, "empty vocabulary"),
    ],
)
def test_no_baseline_says_why(texts, characters, reason):
    """The training goes on without."""
    train = LabelledTexts(texts, ["a", "b"], "a.csv")
    result = compare(train, {"validation": train}, {"validation": ["a", "b"]}, characters)
    assert reason in result["none"]
    assert lines(result) == [f"baseline: none ({result['none']})"]


def test_more_classes_than_time_allows_have_no_baseline():
    """An SVM is fitted for each class."""
    train = LabelledTexts(
        [f"text {n}" for n in range(2_002)], [f"{n // 2}" for n in range(2_002)], ""
    )
    assert "more than 1,000 classes" in compare(train, {}, {}, 10**6)["none"]


def test_network_that_is_behind_is_said():
    """If it is more than chance."""
    train, test = part(ROWS[:300]), part(ROWS[300:])
    behind = compare(train, {"test": test}, {"test": ["account"] * 100}, 10**6)
    assert "the baseline is better than the network on the test rows" in lines(behind)[1]
    level = compare(train, {"test": test}, {"test": test.labels}, 10**6)
    assert len(lines(level)) == 1
