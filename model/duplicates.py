"""Texts that say the same: alike but for case, blanks, punctuation and Unicode form."""

import unicodedata
from collections.abc import Iterable

import regex  # `re` knows no classes of Unicode

# What is left are letters, marks, digits and symbols: a mark is a vowel in Hindi or Thai, and a
# symbol may be an emoji, the + of C++ or a currency.
_NOTHING_SAID = regex.compile(r"[\p{P}\p{Z}\p{C}]+")


def normalised(text: str) -> str:
    """What two texts that say the same have in common; never empty for a text that is not."""
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    folded = folded.casefold()
    return _NOTHING_SAID.sub("", folded) or " ".join(folded.split()) or text


def numbered(texts: Iterable[str]) -> list[int]:
    """For each text the number of its group: texts that say the same have one number."""
    groups: dict[str, int] = {}
    return [groups.setdefault(normalised(text), len(groups)) for text in texts]
