"""What counts as the same text, and what does not."""

import pytest

from model.duplicates import normalised, numbered


@pytest.mark.parametrize(
    "text",
    [
        "CAN'T LOG IN",
        "  can't   log in ",
        "can't log in!!!",
        "cant log-in",
        "\u201cCan\u2019t\u201d log\u00a0in\u2026",
        "ｃａｎ'ｔ ｌｏｇ ｉｎ",
        "can't\tlog\r\nin\u200b",
    ],
)
def test_case_blanks_punctuation_and_form_do_not_count(text):
    """A row that was copied and changed only there says the same."""
    assert normalised(text) == normalised("can't log in")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pay 970 dollars", "pay 971 dollars"),
        ("great 😀", "great 😡"),
        ("I use C++", "I use C"),
        ("costs $5", "costs €5"),
        ("दिन", "दान"),  # day, gift: they differ by a vowel, which is a mark
        ("สี", "สู"),
        (":)", ":("),
        ("!", "?"),
        ("not good", "good"),
    ],
)
def test_what_says_something_else_stays_apart(one, other):
    """Digits, symbols, marks; of texts that are nothing but punctuation, all of it."""
    assert normalised(one) != normalised(other)


def test_texts_are_numbered_by_what_they_say():
    """In the order in which they come first."""
    assert numbered(["b", "A", "B!", "a", "c"]) == [0, 1, 0, 1, 2]
