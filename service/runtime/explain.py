"""How much each word counted: the pooling weights of the tokens, gathered over words.

Words are runs of letters, digits and marks (with inner apostrophes); in scripts that put no space
between words (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) each character with its marks is one;
every other visible character (punctuation, an emoji with its joiners) is one by itself. Controls
and characters of no width are no words.

There are at most five words for each token: of those that one token covers, up to four are told
apart. More are one, as the model read them as one; 20,000 emoji that it does not know, say.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import regex

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_SPACED = rf"[[\p{{L}}\p{{N}}_]--[{_UNSPACED}]]\p{{M}}*"
_APOSTROPHE = "['\N{RIGHT SINGLE QUOTATION MARK}]"
_UNSEEN = r"[[\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]--\p{Prepended_Concatenation_Mark}]"
_TOLD_APART = 4  # words of one token
WORDS_PER_TOKEN = _TOLD_APART + 1  # at most: one may reach into the next token
_WORD = regex.compile(
    rf"(?:{_SPACED})+(?:{_APOSTROPHE}(?:{_SPACED})+)*"
    rf"|[[{_UNSPACED}]&&\p{{L}}]\p{{M}}*"
    # Flags: \X counts from the first of a run to know which two belong together, for each of them.
    r"|\p{Regional_Indicator}{2}[\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}]*"
    rf"|(?!{_UNSEEN})\X",
    regex.VERSION1,
)


@dataclass(slots=True)  # which orjson writes without a dict for each
class WordWeight:
    """A word, where it stands (`text[start:end]`, code points), and its share of the attention."""

    start: int
    end: int
    text: str
    weight: float


def words(text: str, before: float = math.inf) -> list[tuple[int, int]]:
    """Start and end of each word of `text` that begins `before`; in order, never overlapping."""
    places = []
    for match in _WORD.finditer(text):
        place = match.span()
        if place[0] >= before:
            break
        places.append(place)
    return places


def explain(
    text: str, spans: Sequence[tuple[int, int]], weights: Sequence[float]
) -> list[WordWeight]:
    """Weights of tokens to weights of words.

    Args:
        text: the input as it was sent.
        spans: start and end of each token, in order and at least one, as `Tokenizer.spans` gives.
        weights: the attention weight of each token.

    Returns:
        The words of `text` up to the last that the tokens reach: those behind it were truncated. A
        token that covers several words is shared out by characters. The weights sum to 1. A text of
        which nothing can be seen is one word.
    """
    last_start, last_end = spans[-1]
    places = _gathered(words(text, before=max(last_end, last_start + 1)), spans)
    places = places or [(0, len(text))]
    totals = [0.0] * len(places)
    first = 0
    for (start, end), weight in zip(spans, weights, strict=True):
        while first < len(places) and places[first][1] <= start:
            first += 1
        shares = _overlaps(places, first, start, max(end, start + 1))
        covered = sum(length for _, length in shares)
        for index, length in shares:
            totals[index] += weight * length / covered
    total = sum(totals)
    if total <= 0.0:
        totals, total = [1.0] * len(places), float(len(places))
    return [
        WordWeight(start, end, text[start:end], value / total)
        for (start, end), value in zip(places, totals, strict=True)
    ]


def _gathered(
    places: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The words at `places`, those between the starts of two tokens as one if they are many."""
    borders = [*sorted({start for start, _ in spans}), math.inf]

    def token(place: tuple[int, int]) -> int | None:
        index = bisect_right(borders, place[0])
        return index if place[1] <= borders[index] else None  # it reaches into the next

    gathered: list[tuple[int, int]] = []
    for index, group in groupby(places, token):
        run = list(group)
        if index is not None and len(run) > _TOLD_APART:
            run = [(run[0][0], run[-1][1])]
        gathered += run
    return gathered


def _overlaps(
    places: Sequence[tuple[int, int]], first: int, start: int, end: int
) -> list[tuple[int, int]]:
    """Index and shared characters of the words from `first` on that touch [start, end)."""
    shares = []
    for index in range(first, len(places)):
        word_start, word_end = places[index]
        if word_start >= end:
            break
        shares.append((index, min(end, word_end) - max(start, word_start)))
    return shares
