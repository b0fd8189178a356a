"""Which labels are spellings of one, and which are two."""

import pytest

from model.data import LabelledTexts
from model.spelling import merged, spelling_key, spellings, spelt_alike


@pytest.mark.parametrize(
    "label",
    [
        "Refund_Status",
        "refund-status",
        "REFUND STATUS",
        " refund  status ",
        "ｒｅｆｕｎｄ＿ｓｔａｔｕｓ",
        "refund\u200b_status\ufeff",
        "refund\u00a0status",
        "Refund status!",
        "refund_status.",
        "refundStatus",
    ],
)
def test_case_form_and_what_joins_words_do_not_count(label):
    """Six spellings were five classes too many."""
    assert spelling_key(label) == spelling_key("refund_status")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("-1", "-1.0"),
        ("True", "true"),
        ("café", "cafe\u0301"),
        ("STRASSE", "straße"),
        ("don’t", "don't"),
    ],
)
def test_numbers_and_booleans_have_one_key(one, other):
    """As programs write them: 1 became 1.0 when a column had gaps."""
    assert spelling_key(one) == spelling_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("007", "7"),
        ("1", "-1"),
        ("1.5", "1"),
        ("1", "true"),
        ("a/b", "a b"),
        ("-", "_"),
        ("C", "C++"),
        ("A-1", "A1"),
        ("1-1", "11"),
    ],
)
def test_other_labels_stay_two(one, other):
    """Codes, ratings below zero, and labels of punctuation."""
    assert spelling_key(one) != spelling_key(other)


def test_groups_name_the_most_frequent_spelling_first():
    """Of a tie the first that came."""
    counts = {"Spam": 2, "ham": 5, "spam": 3, "b c": 1, "b-c": 1}
    assert spelt_alike(counts) == [("spam", "Spam"), ("b c", "b-c")]


def test_merging_leaves_what_is_known_and_what_is_new():
    """Only labels that are spelt otherwise change."""
    data = LabelledTexts(["t"] * 4, ["Spam", "SPAM", "ham", "new"], "a.csv")
    assert merged(data, spellings(["spam", "ham"])).labels == ["spam", "spam", "ham", "new"]
    (note,) = merged(data, spellings(["spam", "ham"])).notes
    assert note == "a.csv: labels merged: 'Spam' to 'spam', 'SPAM' to 'spam'"
    assert merged(data, spellings(["Spam", "SPAM"]), {"Spam", "SPAM"}).notes == ()
    assert merged(data, spellings(["spam"]), {"Spam"}).labels == ["Spam", "spam", "ham", "new"]
