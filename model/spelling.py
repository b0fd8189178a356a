"""Labels that differ by spelling only: `Spam` and `spam`, `refund-status` and `refund status`."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from model.data import LabelledTexts

_SHOWN = 20  # labels that a note names
_UNSEEN = re.compile(
    "[\u00ad\u200b-\u200f\u2060\ufeff]"
)  # soft hyphens, joiners, marks of direction
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc]")
_ENDS = " .,;:!…"  # what may end a sentence
_BETWEEN_WORDS = re.compile(r"[-_\s\u2010-\u2015]+")
_WITHIN = re.compile(r"(?<=[^\W\d]) (?=[^\W\d])")  # between letters; A 1 and A1 are codes
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d*[1-9])?)\.?0*")  # its minus is no hyphen


def spelling_key(label: str) -> str:
    """What spellings of one label have in common.

    Case, Unicode form, what cannot be seen, and hyphens, underscores and blanks do not count, and
    between letters there may be none of these: refundStatus. Nor do the marks that
    end a sentence, nor whether a whole number is written 1 or 1.0. Leading zeros do: 007 is a code,
    and 7 another.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    folded = _APOSTROPHES.sub("'", _UNSEEN.sub("", folded)).strip()
    number = _NUMBER.fullmatch(folded)
    if number:
        return number[1]
    words = _BETWEEN_WORDS.sub(" ", folded.rstrip(_ENDS) or folded).strip()
    return _WITHIN.sub("", words) or folded


def spelt_alike(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """The groups of labels that differ by spelling only, the most frequent of each first."""
    groups = defaultdict(list)
    for label, _ in Counter(counts).most_common():
        groups[spelling_key(label)].append(label)
    return [tuple(labels) for labels in groups.values() if len(labels) > 1]


def spellings(preferred: Iterable[str]) -> dict[str, str]:
    """The label for each key: of several spellings the one that comes first."""
    chosen: dict[str, str] = {}
    for label in preferred:
        chosen.setdefault(spelling_key(label), label)
    return chosen


def merged(
    data: LabelledTexts, chosen: Mapping[str, str], known: Collection[str] = ()
) -> LabelledTexts:
    """`data` with each label that is not `known` in the spelling that was chosen, if one was.

    Its notes say which labels that are.
    """
    changed = {
        label: chosen.get(spelling_key(label), label)
        for label in dict.fromkeys(data.labels)
        if label not in known
    }
    pairs = [f"{old!r} to {new!r}" for old, new in changed.items() if old != new]
    more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
    note = f"{data.source}: labels merged: {', '.join(pairs[:_SHOWN])}{more}"
    labels = [changed.get(label, label) for label in data.labels]
    return replace(data, labels=labels, notes=(*data.notes, *([note] if pairs else [])))
