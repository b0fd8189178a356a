"""Labelled texts: read, and checked row by row. Where rows come from is `model.rows`'s."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from model.columns import MULTI_LABEL, Columns, DataError, described, listed
from model.lines import Tell
from model.rows import Rows, read_rows

NO_TEXT = re.compile("[\0\ud800-\udfff]")  # no tokenizer, file or terminal takes these
_SHOWN = 10  # problems, and rows of each, that an error lists


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and the label of each, in the order of `source`.

    Attributes:
        texts: one a row, none blank.
        labels: one a row.
        source: what was read.
        rows: the number of each row in `source`, where bad ones count too; the first is 1.
        notes: what was worth a warning in reading.
    """

    texts: list[str]
    labels: list[str]
    source: str
    rows: list[int] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    def row(self, index: int) -> int:
        """The number in `source` of the row at `index`."""
        return self.rows[index] if self.rows else index + 1

    def subset(self, indexes: Sequence[int]) -> "LabelledTexts":
        """The rows at `indexes`, which keep their numbers."""
        return replace(
            self,
            texts=[self.texts[index] for index in indexes],
            labels=[self.labels[index] for index in indexes],
            rows=[self.row(index) for index in indexes],
        )


@dataclass(frozen=True)
class Batch:
    """Rows in their order, ready to classify or to learn from.

    Attributes:
        texts: one a row; blank only if no label column was asked for.
        labels: one a row; None when no label column was asked for.
        rows: the number of each row in the source; the first row of a source is 1.
        columns: every column of the source as it was read, to be copied to an output.
    """

    texts: list[str]
    labels: list[str] | None
    rows: list[int]
    columns: dict[str, list[Any]]


def read_labelled(source: str, columns: Columns) -> LabelledTexts:
    """All rows of a file, a folder, an archive or a hub data set (`name:part`).

    Raises:
        DataError: the source or rows of it cannot be used; all of those are counted.
    """
    if columns.label is None:
        raise DataError(f"{source}: a label column is needed")
    notes: list[str] = []
    texts: list[str] = []
    labels: list[str] = []
    numbers: list[int] = []
    for batch in read_batches(source, columns, tell=notes.append):
        texts += batch.texts
        labels += batch.labels or ()
        numbers += batch.rows
    _check_first_row(source, columns, labels)
    return LabelledTexts(texts, labels, source, numbers, tuple(notes))


def read_batches(
    source: str, columns: Columns, batch_size: int = 1000, tell: Tell = lambda line: None
) -> Iterator[Batch]:
    """Rows of a file, a folder, a hub data set or stdin (`-`), without holding them all.

    Args:
        source: as the user named it.
        columns: what is asked for.
        batch_size: rows of a batch, at most.
        tell: called with what is worth a warning.

    Raises:
        DataError: the source cannot be used, or rows of it; the batches before those were yielded,
            and the rest was read to list them all (of stdin only to the end of the batch).
    """
    bad = _BadRows()
    for rows in read_rows(source, columns, batch_size, tell):
        batch = _checked(rows, columns, bad)
        if bad.count and not columns.skip_bad:
            if source == "-":
                break
        elif batch.texts:
            yield batch
    if bad.count and not columns.skip_bad:
        hint = " (--skip-bad goes on without them)" if bad.count > 1 else ""
        raise DataError(f"{bad.source}, {bad}{hint}")
    if bad.count:
        left = "1 bad row is" if bad.count == 1 else f"{bad.count:,} bad rows are"
        tell(f"{bad.source}: {left} left out: {bad}")


class _BadRows:
    """What is wrong with rows: each problem with the first few that have it."""

    def __init__(self) -> None:
        self.count = 0
        self.source = ""
        self._places: dict[str, list[str]] = {}

    def add(self, rows: Rows, index: int, problem: str) -> None:
        self.source = rows.source
        self.count += 1
        self._places.setdefault(problem, []).append(rows.where(index))

    def __str__(self) -> str:
        problems = list(self._places.items())
        shown = [f"{_enumerated(places)}: {problem}" for problem, places in problems[:_SHOWN]]
        rest = sum(len(places) for _, places in problems[_SHOWN:])
        more = f"; and {rest:,} more bad rows" if rest else ""
        return "; ".join(shown) + more


def _enumerated(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more


def label_names(train: LabelledTexts) -> list[str]:
    """The labels to learn, sorted.

    Raises:
        DataError: there are fewer than two.
    """
    names = sorted(set(train.labels))
    if len(names) < 2:
        raise DataError(
            f"{train.source}: every row has the label {listed(names)}; expected two or more"
        )
    return names


def unseen_labels(test: LabelledTexts, labels: Sequence[str]) -> dict[str, int]:
    """Rows of `test` for each of its labels that is not among `labels`, most frequent first."""
    known = set(labels)
    return dict(Counter(label for label in test.labels if label not in known).most_common())


def _check_first_row(source: str, columns: Columns, labels: Sequence[str]) -> None:
    """Refuse a first row that was taken for data because of positions, and is a header likely."""
    if columns.header is not None or not all(name.isdigit() for name in columns.wanted):
        return
    counts = Counter(labels)
    alone = [label for label, count in counts.items() if count == 1]
    if len(labels) >= 20 and len(counts) > 2 and alone == labels[:1]:
        raise DataError(
            f"{source}: only the first row has the label {labels[0]!r}: is it a header? say "
            "--header if it is, --no-header if it is a row of data"
        )


def _checked(rows: Rows, columns: Columns, bad: _BadRows) -> Batch:
    """The rows that can be used; the others go to `bad`."""
    missing = [None] * len(rows)
    cells = [rows.columns.get(name, missing) for name in columns.wanted]
    text_of = _any_text if columns.label is None else _text
    texts, labels, kept = [], [], []
    for index, values in enumerate(zip(*cells, strict=True)):
        row = dict(zip(columns.wanted, values, strict=True))
        try:
            if index in rows.problems:
                raise DataError(rows.problems[index])
            label = "" if columns.label is None else _label(columns.label, row.pop(columns.label))
            text = text_of(row)
        except DataError as problem:
            bad.add(rows, index, str(problem))
            continue
        texts.append(text)
        labels.append(label)
        kept.append(index)
    numbers = [rows.numbers[index] for index in kept]
    copied = rows.columns
    if len(kept) < len(rows):
        copied = {name: [of[index] for index in kept] for name, of in rows.columns.items()}
    return Batch(texts, None if columns.label is None else labels, numbers, copied)


def _text(cells: dict[str, Any]) -> str:
    """The text of one row; of several columns, those that are null or blank are left out."""
    for name, cell in cells.items():
        if not isinstance(cell, str) and (cell is not None or len(cells) == 1):
            raise DataError(f"column {name!r} holds {described(cell)}; expected a string")
    return _readable("text", " ".join(cell for cell in cells.values() if cell and cell.strip()))


def _any_text(cells: dict[str, Any]) -> str:
    """Like `_text`, but a row without text is blank: one such row must not end a long job."""
    blank = all(
        cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.values()
    )
    return "" if blank else _text(cells)


def _label(name: str, cell: Any) -> str:  # noqa: ANN401  any cell of any format
    """A label by one spelling: without outer blanks, NFC, true and false, whole numbers."""
    if isinstance(cell, list | tuple):
        raise DataError(f"column {name!r} holds a list: {MULTI_LABEL}")
    if isinstance(cell, bool):
        cell = str(cell).lower()
    elif isinstance(cell, float) and math.isfinite(cell):
        cell = int(cell) if cell.is_integer() else repr(cell)
    if not isinstance(cell, str | int):
        raise DataError(f"column {name!r} holds {described(cell)}; expected a string or a number")
    return unicodedata.normalize("NFC", _readable("label", str(cell)).strip())


def _readable(what: str, value: str) -> str:
    if not value.strip():
        raise DataError(f"the {what} is empty")
    if NO_TEXT.search(value):
        raise DataError(f"the {what} holds a NUL or half a surrogate pair, which is no text")
    return value
