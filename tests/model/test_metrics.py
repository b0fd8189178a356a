"""Figures, checked by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from model.metrics import classification_metrics, expected_calibration_error, interval

NAMES = ("a", "b", "c")


def certain(predicted: str, sure: float = 0.8) -> np.ndarray:
    """(N, 3) probabilities whose best labels spell `predicted`."""
    rows = np.full((len(predicted), len(NAMES)), (1 - sure) / 2, dtype=np.float32)
    for row, name in enumerate(predicted):
        rows[row, NAMES.index(name)] = sure
    return rows


def test_figures_checked_by_hand():
    """Four of six right; precision, recall and F1 as counted on paper."""
    figures = classification_metrics(certain("aabbca"), [*"aabbac"], NAMES)
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["per_class"] == {
        "a": {"precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3), "support": 3},
        "b": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2},
        "c": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["ece"] == pytest.approx(0.8 - 4 / 6, abs=1e-6)
    expected = -(4 * math.log(0.8) + 2 * math.log(0.1)) / 6
    assert figures["nll"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("truth", ["abcabc", "aaaaaa", "abzabz", "zzzzzz", "bbaacc"])
def test_macro_f1_is_that_of_scikit_learn(truth):
    """Over the labels that occur in truth or prediction, one unseen in training among them."""
    predicted = "abcaab"
    figures = classification_metrics(certain(predicted), [*truth], NAMES)
    expected = f1_score([*truth], [*predicted], average="macro", zero_division=0.0)
    assert figures["macro_f1"] == pytest.approx(expected)


def test_label_unseen_in_training_is_wrong():
    """It lowers accuracy and macro-F1 and has a line of its own; the likelihood leaves it out."""
    figures = classification_metrics(certain("aab"), ["a", "new", "b"], NAMES)
    assert figures["accuracy"] == pytest.approx(2 / 3)
    assert figures["per_class"]["new"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert figures["nll"] == pytest.approx(-math.log(0.8), abs=1e-6)


def test_rows_are_counted_in_integers():
    """Also where no label is known: 2.0 rows were printed, and written."""
    figures = classification_metrics(certain("aa"), ["new", "other"], NAMES)
    assert {type(row["support"]) for row in figures["per_class"].values()} == {int}


def test_figures_are_plain_numbers():
    """They are written as JSON."""
    figures = classification_metrics(certain("ab"), ["a", "b"], NAMES)
    per_class = figures.pop("per_class")["a"]
    assert figures.pop("never_predicted") == {}
    assert figures.pop("majority_label") == "a"
    assert {type(value) for value in figures.values()} <= {int, float}
    assert {type(value) for value in per_class.values()} <= {int, float}


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_calibrated_confidence_has_no_error(share):
    """As often right as it says: 0."""
    confidence = np.full(100, share)
    correct = (np.arange(100) < share * 100).astype(np.float64)
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.0, abs=1e-12)


def test_always_sure_and_half_right_is_off_by_half():
    """100 % sure, 50 % right: 0.5."""
    correct = np.array([1.0, 0.0] * 10)
    assert expected_calibration_error(np.ones(20), correct) == pytest.approx(0.5)


def test_errors_of_bins_do_not_cancel():
    """Too sure in one bin and too modest in another: the gaps add up, weighted by rows."""
    confidence = np.array([0.9, 0.9, 0.5, 0.5, 0.5, 0.5])
    correct = np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    expected = (2 * 0.4 + 4 * 0.5) / 6
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)


def test_gaps_within_a_bin_cancel():
    """Confidence and accuracy are compared bin by bin (Guo et al. 2017, equation 3)."""
    confidence = np.array([0.74, 0.76] * 2)  # both in [0.733, 0.8)
    correct = np.array([1.0, 1.0, 1.0, 0.0])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("correct", "rows", "low", "high"),
    [(0, 2, 0.0, 0.658), (2, 2, 0.342, 1.0), (299, 352, 0.808, 0.883), (81, 263, 0.255, 0.366)],
)
def test_interval_is_wilsons(correct, rows, low, high):
    """Newcombe 1998, table I, has 81 of 263; none and all of two rows give an interval too."""
    assert interval(correct, rows) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_constant_answer_and_missed_classes_stand_beside_the_accuracy():
    """The largest class of the rows; known classes that have rows and are never predicted."""
    figures = classification_metrics(certain("aaaaa"), [*"aaabn"], NAMES)
    assert (figures["majority"], figures["majority_label"]) == (0.6, "a")
    assert figures["never_predicted"] == {"b": 1}
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
