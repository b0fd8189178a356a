"""Widens the hand-written rows of written.csv to the training set train.csv.

    python -m model.sample.generate

Every hand-written row goes in as it is. The rest is drawn, seeded: either a hand-written row with
something said around it, or a message put together from scenes.toml after a shape of grammar.toml.
Then come the habits of hurried people: small letters, no full stop, abbreviations, typing errors.
The test rows in test.csv are written by hand, and nothing here reads them.
"""

import csv
import io
import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from model.sample import GRAMMAR, SCENES, TRAIN, WRITTEN

T = TypeVar("T")
Row = tuple[str, str]  # text, label

SEED = 11
NUM_ROWS = 4500
FRAMED_SHARE = 0.3  # of the drawn rows: a hand-written row in a frame

_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")  # innermost first
_SLOT = re.compile(r"\{(\w+)\}")
_LONG_WORD = re.compile(r"\b[A-Za-z]{5,}\b")


class Author:
    """Writes messages. Every choice is taken from one seeded stream of numbers.

    Only `Random.random` is used: it is the one method whose numbers Python promises to keep
    from version to version.
    """

    def __init__(self, grammar: Mapping[str, Any], scenes: Mapping[str, Any], seed: int) -> None:
        self._grammar = grammar
        self._scenes = scenes
        self._random = random.Random(seed).random  # noqa: S311 - texts, not secrets
        self._said: dict[str, str] = {}  # the steady words of the message at hand

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self._random() * len(options))]

    def chance(self, probability: float) -> bool:
        """True in this share of the calls."""
        return self._random() < probability

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order."""
        return sorted(items, key=lambda _: self._random())

    def message(self, label: str) -> str:
        """A message of this intent, put together from one of its scenes."""
        scene = self.pick(self._scenes[label])
        return self._fill(self.pick(self._grammar["shapes"]), scene, label)

    def framed(self, row: Row) -> str:
        """A hand-written row with something said before or after it."""
        text, label = row
        return self._fill(self.pick(self._grammar["frames"]), {"row": [text]}, label)

    def roughened(self, text: str) -> str:
        """The text as somebody in a hurry might have typed it."""
        habits = self._grammar["habits"]
        if self.chance(habits["abbreviate"]):
            for word, short in self._grammar["abbreviations"].items():
                text = re.sub(rf"\b{word}\b", short, text, flags=re.IGNORECASE)
        if self.chance(habits["typo"]):
            text = self._with_typo(text)
        if self.chance(habits["no_apostrophe"]):
            text = text.replace("'", "")
        if self.chance(habits["no_final_stop"]):
            text = text.rstrip(".?!")
        if self.chance(habits["lowercase"]):
            return text.lower()
        return text.upper() if self.chance(habits["shout"]) else text

    def _fill(self, shape: str, parts: Mapping[str, Sequence[str]], label: str) -> str:
        asides = [
            aside
            for topic, sentences in self._grammar["asides"].items()
            if topic != label
            for aside in sentences
        ]
        options = {
            "opening": self._grammar["openings"],
            "closing": self._grammar["closings"],
            "aside": asides,
            **parts,
        }
        self._said.clear()
        sentences = [self._expand(self.pick(options[name])) for name in _SLOT.findall(shape)]
        return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)

    def _expand(self, text: str) -> str:
        """Resolve the [a|b] and {name} of a sentence."""
        while _ALTERNATIVES.search(text):
            text = _ALTERNATIVES.sub(lambda match: self.pick(match[1].split("|")), text)
        while _SLOT.search(text):
            text = _SLOT.sub(lambda match: self._word(match[1]), text)
        return re.sub(r" +(?=[ .,?!]|$)", "", text).strip()

    def _word(self, name: str) -> str:
        word = self._said.get(name) or self.pick(self._grammar["words"][name])
        if name in self._grammar["steady"]:
            self._said[name] = word
        return word

    def _with_typo(self, text: str) -> str:
        """Swap, drop or double one letter inside a long word, if there is one."""
        words = list(_LONG_WORD.finditer(text))
        if not words:
            return text
        word = self.pick(words)
        at = self.pick(range(word.start() + 1, word.end() - 2))
        one, other = text[at], text[at + 1]
        return text[:at] + self.pick([other + one, other, one + one + other]) + text[at + 2 :]


def generate(seed: int = SEED, num_rows: int = NUM_ROWS) -> list[Row]:
    """The training set: all hand-written rows and as many drawn ones as are missing.

    No two rows are the same but for case and punctuation, so none has two labels either.
    """
    grammar, scenes = (tomllib.loads(path.read_text("utf-8")) for path in (GRAMMAR, SCENES))
    author = Author(grammar, scenes, seed)
    written = read(WRITTEN)
    labels = sorted(scenes)
    rows = {_bare(text): (text, label) for text, label in written}
    while len(rows) < num_rows:
        if author.chance(FRAMED_SHARE):
            row = author.pick(written)
            text, label = author.framed(row), row[1]
        else:
            label = author.pick(labels)
            text = author.message(label)
        text = author.roughened(text)
        rows.setdefault(_bare(text), (text, label))
    return author.shuffled(list(rows.values()))


def read(path: Path) -> list[Row]:
    """The rows of a labelled file, in order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def to_csv(rows: Sequence[Row]) -> bytes:
    """The rows as a labelled file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("text", "label"))
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8")


def _bare(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


if __name__ == "__main__":
    TRAIN.write_bytes(to_csv(generate()))
