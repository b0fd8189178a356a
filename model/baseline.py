"""The strongest simple rival of the network: a linear SVM on words and characters.

Wang and Manning 2012, "Baselines and Bigrams", show how hard such a model is to beat.
"""

import random
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack
from scipy.stats import binomtest
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.svm import LinearSVC

from model.data import LabelledTexts
from model.figures import interval_text
from model.metrics import interval

_LONGEST = 2_000  # characters of a text
_CELLS = 100_000_000  # characters times classes: the time that fitting takes
_WEIGHTS = 50_000_000  # features times classes: 400 MB
_MOST_CLASSES = 1_000
_CHANCE = 0.05  # probability below which a difference counts as more than noise


def compare(
    train: LabelledTexts,
    parts: Mapping[str, LabelledTexts],
    predicted: Mapping[str, Sequence[str]],
    max_characters: int,
) -> dict[str, Any]:
    """Fit the baseline on the training rows and measure it beside the network.

    Args:
        train: the rows that the network learned from.
        parts: validation and test rows.
        predicted: the network's label for each row of `parts`.
        max_characters: to learn from and, for each part, to measure on; of more, a stratified
            sample is taken. 0 fits none.

    Returns:
        `rows` of `of_rows` that were learned from, `seconds`, and for each part `n`, `accuracy`
        with its interval, the `network`'s accuracy on the same rows and the probability `p` of such
        a difference by chance (McNemar 1947, exact). Or `none`: why there is no baseline.
    """
    started = time.monotonic()
    classes = len(set(train.labels))
    if max_characters == 0:
        return {"none": "switched off"}
    if classes > _MOST_CLASSES:
        return {"none": f"more than {_MOST_CLASSES:,} classes take too long"}
    sample = _sample(train, min(max_characters, _CELLS // classes))
    try:
        model = _Linear(_texts(train, sample), [train.labels[row] for row in sample])
    except (ValueError, MemoryError) as error:  # no word in any text, one class in the sample
        return {"none": " ".join(str(error).split())}
    result: dict[str, Any] = {"rows": len(sample), "of_rows": len(train)}
    for part, data in parts.items():
        rows = _sample(data, max_characters)
        truth = np.array([data.labels[row] for row in rows], dtype=object)
        right = model.predict(_texts(data, rows)) == truth
        networks = np.array([predicted[part][row] for row in rows], dtype=object) == truth
        result[part] = _figures(right, networks)
    return result | {"seconds": round(time.monotonic() - started, 1)}


def lines(result: Mapping[str, Any]) -> list[str]:
    """What to print of `compare`: a line, and another where the baseline is better."""
    if "none" in result:
        return [f"baseline: none ({result['none']})"]
    parts = {part: figures for part, figures in result.items() if isinstance(figures, dict)}
    of = "" if result["rows"] == result["of_rows"] else f"{result['rows']:,} of "
    shown = ", ".join(
        f"{part} {100 * figures['accuracy']:.1f} % ({interval_text(figures)})"
        for part, figures in parts.items()
    )
    printed = [
        f"baseline (words and characters, linear SVM, {of}{result['of_rows']:,} rows, "
        f"{result['seconds']:.1f} s): {shown}"
    ]
    for part, figures in parts.items():
        ahead = figures["accuracy"] - figures["network"]
        if ahead > 0 and figures["p"] < _CHANCE:
            printed.append(
                f"the baseline is better than the network on the {part} rows, by "
                f"{100 * ahead:.1f} points (p = {figures['p']:.2g}): more rows, more epochs or a "
                "larger preset may help; else a linear model does"
            )
    return printed


class _Linear:
    """TF-IDF of words, pairs of words and 2 to 5 characters within words; a linear SVM on it."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        classes = len(set(labels))
        most = max(1_000, _WEIGHTS // (2 * classes))
        self._words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=most)
        self._grams = CountVectorizer(analyzer="char_wb", ngram_range=(2, 5), max_features=most)
        self._weights = TfidfTransformer(sublinear_tf=True)
        words, vocabulary = _words(texts)
        characters = words @ self._grams.fit_transform(vocabulary)
        features = [self._words.fit_transform(texts), self._weights.fit_transform(characters)]
        # 0.01 is as good as scikit-learn's 0.0001 to a tenth of a point, in half the time.
        self._svm = LinearSVC(C=1, tol=0.01, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._svm.fit(hstack(features, format="csr"), labels)

    def predict(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        """The label of each text."""
        words, vocabulary = _words(texts)
        characters = words @ self._grams.transform(vocabulary)
        features = [self._words.transform(texts), self._weights.transform(characters)]
        return np.asarray(self._svm.predict(hstack(features, format="csr")), dtype=object)


def _words(texts: Sequence[str]) -> tuple[csr_matrix, list[str]]:
    """How often each word is in each text, and the words.

    Cut into characters is each word of the vocabulary, not of the texts: the counts are the same as
    those of `analyzer="char_wb"` on the texts, in less than half the time.
    """
    counter = CountVectorizer(token_pattern=r"\S+")  # noqa: S106  no password
    counts = counter.fit_transform(texts)
    return counts, list(counter.get_feature_names_out())


def _texts(data: LabelledTexts, rows: Sequence[int]) -> list[str]:
    return [data.texts[row][:_LONGEST] for row in rows]


def _sample(data: LabelledTexts, max_characters: int) -> list[int]:
    """Rows of about so many characters, the same share of each class; always the same rows."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(data.labels):
        rows_of[label].append(row)
    generator = random.Random(0)  # noqa: S311 - hides nothing
    ranked = []
    for rows in rows_of.values():
        generator.shuffle(rows)
        ranked += [((place + 0.5) / len(rows), row) for place, row in enumerate(rows)]
    taken: list[int] = []
    characters = 0
    for _, row in sorted(ranked):
        characters += min(len(data.texts[row]), _LONGEST)
        if characters > max_characters and len(taken) > 1:
            break
        taken.append(row)
    return sorted(taken)


def _figures(right: npt.NDArray[Any], networks: npt.NDArray[Any]) -> dict[str, Any]:
    low, high = interval(int(right.sum()), len(right))
    only, others = int((right & ~networks).sum()), int((networks & ~right).sum())
    return {
        "n": len(right),
        "accuracy": float(right.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "network": float(networks.mean()),
        "p": float(binomtest(only, only + others).pvalue) if only + others else 1.0,
    }
