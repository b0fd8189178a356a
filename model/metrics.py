"""Figures from probabilities and true labels: pure numpy and scikit-learn. One path for all."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from model.data import LabelledTexts, unseen_labels
from service.runtime.postprocess import Float32Array, softmax
from service.runtime.tokenizer import Tokenizer

ECE_BINS = 15

Logits = Callable[[list[list[int]]], Float32Array]  # N rows of ids -> (N, C)


def labelled_metrics(
    logits: Logits,
    tokenizer: Tokenizer,
    data: LabelledTexts,
    names: Sequence[str],
) -> tuple[dict[str, Any], list[str]]:
    """Figures on labelled texts, with `unseen_labels` and how many were `truncated`; predictions.

    Args:
        logits: (N, C) of N rows of ids.
        tokenizer: makes the ids, and cuts them.
        data: N labelled texts.
        names: the C labels in the order of the columns.
    """
    encoded = [tokenizer.encode(text) for text in data.texts]
    probabilities = softmax(logits([encoding.input_ids for encoding in encoded]))
    figures = classification_metrics(probabilities, data.labels, names) | {
        "unseen_labels": unseen_labels(data, names),
        "truncated": sum(encoding.truncated for encoding in encoded),
    }
    return figures, [names[label_id] for label_id in probabilities.argmax(axis=1)]


def classification_metrics(
    probabilities: npt.NDArray[np.float32], truth: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, macro-F1, ECE, NLL and a table per class; fractions, not percent.

    Args:
        probabilities: (N, C), rows sum to 1.
        truth: N true labels; one that is not in `names` counts as wrong.
        names: the C labels in the order of the columns.

    Returns:
        `n`, `accuracy` with its 95 % interval (`accuracy_low`, `accuracy_high`), `majority` (share
        of the largest class, `majority_label`: what a constant answer would get), `macro_f1` (mean
        over the labels that occur in truth or prediction), `ece`, `nll` (over the rows with a known
        label; None if there is none), `never_predicted` (rows of each known label that is in truth
        and not in prediction, most first) and `per_class`: precision, recall, f1, support.
    """
    predicted = [names[label_id] for label_id in probabilities.argmax(axis=1)]
    correct = np.array([a == b for a, b in zip(predicted, truth, strict=True)], dtype=np.float64)
    occurring = sorted({*truth, *predicted})
    columns = precision_recall_fscore_support(truth, predicted, labels=occurring, zero_division=0.0)
    *shares, support = (column.tolist() for column in columns)
    # scikit-learn counts in floats if no true label was ever predicted.
    rows = zip(*shares, map(int, support), strict=True)
    keys = ("precision", "recall", "f1", "support")
    per_class = {
        name: dict(zip(keys, row, strict=True)) for name, row in zip(occurring, rows, strict=True)
    }
    counts = Counter(truth).most_common()
    missed = {*names} - {*predicted}
    low, high = interval(int(correct.sum()), len(truth))
    return {
        "n": len(truth),
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "majority": counts[0][1] / len(truth),
        "majority_label": counts[0][0],
        "never_predicted": {label: count for label, count in counts if label in missed},
        "macro_f1": float(np.mean(columns[2])),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
        "nll": _negative_log_likelihood(probabilities, truth, names),
        "per_class": per_class,
    }


def interval(correct: int, rows: int) -> tuple[float, float]:
    """Where the true share lies with 95 % confidence, of `correct` in `rows` (Wilson 1927)."""
    found = binomtest(correct, rows).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def expected_calibration_error(
    confidence: npt.NDArray[np.floating[Any]], correct: npt.NDArray[np.float64]
) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins, weighted by rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / counts.sum())


def _negative_log_likelihood(
    probabilities: npt.NDArray[np.float32], truth: Sequence[str], names: Sequence[str]
) -> float | None:
    label_ids = {name: label_id for label_id, name in enumerate(names)}
    known = [(row, label_ids[label]) for row, label in enumerate(truth) if label in label_ids]
    if not known:
        return None
    rows, columns = zip(*known, strict=True)
    likelihoods = probabilities[list(rows), list(columns)].astype(np.float64)
    return float(-np.log(np.maximum(likelihoods, 1e-12)).mean())
