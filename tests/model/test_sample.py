"""The built-in sample data set: its sizes, its honesty, and how hard it is for a simple model."""

import re
from collections import Counter

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from model.sample import TEST, TRAIN, WRITTEN
from model.sample.generate import Row, generate, read, to_csv

Trigrams = frozenset[tuple[str, ...]]


@pytest.fixture(scope="module")
def train() -> list[Row]:
    """The training part."""
    return read(TRAIN)


@pytest.fixture(scope="module")
def test() -> list[Row]:
    """The test part."""
    return read(TEST)


def _trigrams(text: str) -> Trigrams:
    words = re.findall(r"\w+", text.lower())
    return frozenset(zip(words, words[1:], words[2:], strict=False))


def test_generator_reproduces_the_training_file_byte_for_byte() -> None:
    """What is in the repository is what the seed gives."""
    assert to_csv(generate()) == TRAIN.read_bytes()


def test_both_parts_are_large_enough_and_share_their_labels(
    train: list[Row], test: list[Row]
) -> None:
    """At least eight intents, 2,500 training and 300 test rows, the same labels in both."""
    labels = {label for _, label in train}
    assert len(labels) >= 8
    assert labels == {label for _, label in test}
    assert len(train) >= 2500
    assert len(test) >= 300


def test_classes_are_roughly_balanced(train: list[Row], test: list[Row]) -> None:
    """The most frequent intent has at most one and a half times the rows of the rarest."""
    for rows in (train, test):
        counts = Counter(label for _, label in rows).values()
        assert max(counts) <= 1.5 * min(counts)


def test_every_written_row_is_in_the_training_part(train: list[Row]) -> None:
    """Widening adds rows and changes none."""
    assert set(read(WRITTEN)) <= set(train)


def test_no_text_appears_twice(train: list[Row], test: list[Row]) -> None:
    """No duplicate within or across the parts, so no text with two labels either."""
    texts = [" ".join(re.findall(r"\w+", text.casefold())) for text, _ in train + test]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_files_are_utf8_with_unix_line_ends_and_no_markup_left() -> None:
    """A bracket or brace in a text would be grammar that was never resolved."""
    for path in (TRAIN, TEST, WRITTEN):
        text = path.read_bytes().decode("utf-8")
        assert text.startswith("text,label\n")
        assert "\r" not in text
        assert not set("[]{}|") & set(text)


def test_no_test_row_is_close_to_a_training_row(train: list[Row], test: list[Row]) -> None:
    """At most 60 % of a test row's word trigrams are in any single training row."""
    train_trigrams = [_trigrams(text) for text, _ in train]
    for text, _ in test:
        trigrams = _trigrams(text)
        if trigrams:
            shared = max(len(trigrams & other) for other in train_trigrams)
            assert shared <= 0.6 * len(trigrams), text


@pytest.mark.parametrize(
    "vectorizer",
    [TfidfVectorizer(), TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)],
    ids=["words", "words and pairs"],
)
def test_tfidf_baseline_finds_the_test_part_neither_trivial_nor_hopeless(
    vectorizer: TfidfVectorizer, train: list[Row], test: list[Row]
) -> None:
    """TF-IDF with logistic regression scores between 80 and 93 %, so a better model shows."""
    texts, labels = zip(*train, strict=True)
    test_texts, test_labels = zip(*test, strict=True)
    baseline = LogisticRegression(max_iter=1000).fit(vectorizer.fit_transform(texts), labels)
    accuracy = baseline.score(vectorizer.transform(test_texts), test_labels)
    assert 0.80 <= accuracy <= 0.93
