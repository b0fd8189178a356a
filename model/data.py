"""Labelled texts: read, checked, split and compared. Reading one row is `model.rows`'s."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model.lines import Columns, DataError, listed
from model.rows import Rows, read_rows

NO_TEXT = re.compile("[\0\ud800-\udfff]")  # no tokenizer, file or terminal takes these


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and the label of each, in the order of `source`."""

    texts: list[str]
    labels: list[str]
    source: str

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)


@dataclass(frozen=True)
class Batch:
    """Consecutive rows, ready to classify or to learn from.

    Attributes:
        texts: one a row; blank only if no label column was asked for.
        labels: one a row; None when no label column was asked for.
        first_row: number of the first row; the first row of a source is 1.
        columns: every column of the source as it was read, to be copied to an output.
    """

    texts: list[str]
    labels: list[str] | None
    first_row: int
    columns: dict[str, list[Any]]


def read_labelled(source: str, columns: Columns) -> LabelledTexts:
    """All rows of a file, a folder or a hub data set (`name:split`).

    Raises:
        DataError: the source or a row of it cannot be used.
    """
    if columns.label is None:
        raise DataError(f"{source}: a label column is needed")
    data = LabelledTexts([], [], source)
    for batch in read_batches(source, columns):
        data.texts.extend(batch.texts)
        data.labels.extend(batch.labels or ())
    return data


def read_batches(source: str, columns: Columns, batch_size: int = 1000) -> Iterator[Batch]:
    """Rows of a file, a folder, a hub data set or stdin (`-`), without holding them all.

    Raises:
        DataError: the source or a row of it cannot be used. Earlier batches were yielded.
    """
    for rows in read_rows(source, columns, batch_size):
        texts = _checked(rows, columns.text, _any_text if columns.label is None else _text)
        labels = None if columns.label is None else _checked(rows, (columns.label,), _label)
        yield Batch(texts, labels, rows.first_row, rows.columns)


def hold_out(
    data: LabelledTexts, fraction: float, seed: int
) -> tuple[LabelledTexts, LabelledTexts]:
    """Split into the rows to train on and about `fraction` of them held out, class by class.

    Each class keeps at least one row to train on, so classes of one row are never held out. At
    least one row is held out if a class has two. Both parts keep the order of `data`.

    Args:
        data: the rows to split.
        fraction: of the rows to hold out, above 0 and below 1.
        seed: which rows are held out; the same seed holds out the same rows.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction to hold out is {fraction}; expected above 0 and below 1")
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(data.labels):
        rows_of[label].append(row)
    generator = random.Random(seed)  # noqa: S311 - hides nothing
    ranked = []  # the rows of a class lie evenly between 0 and 1: below `fraction` is its share
    for rows in rows_of.values():
        generator.shuffle(rows)
        ranked += [
            ((place + 0.5) / len(rows), generator.random(), row)
            for place, row in enumerate(rows[:-1])
        ]
    count = max(1, round(fraction * len(data)))
    held = {row for *_, row in sorted(ranked)[:count]}
    kept = [row for row in range(len(data)) if row not in held]
    return _subset(data, kept), _subset(data, sorted(held))


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


def check_known(valid: LabelledTexts, labels: Sequence[str]) -> None:
    """Raise DataError naming the first row of `valid` whose label is not among `labels`."""
    known = set(labels)
    for row, label in enumerate(valid.labels, 1):
        if label not in known:
            raise DataError(
                f"{valid.source}, row {row}: label {label!r} is not in the training rows; "
                f"expected one of {listed(labels)}"
            )


def unseen_labels(test: LabelledTexts, labels: Sequence[str]) -> dict[str, int]:
    """Rows of `test` for each of its labels that is not among `labels`, most frequent first."""
    known = set(labels)
    return dict(Counter(label for label in test.labels if label not in known).most_common())


def warnings_for(
    train: LabelledTexts, valid: LabelledTexts | None, test: LabelledTexts | None
) -> list[str]:
    """What is worth knowing before training, a line each: repeated texts and tiny classes."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(train.texts, train.labels, strict=True):
        labels_of[text].add(label)
    lines = []
    for part, data in (("validation", valid), ("test", test)):
        repeated = sum(text in labels_of for text in data.texts) if data else 0
        if data and repeated:
            lines.append(
                f"{repeated} of {len(data)} {part} rows repeat a text of the training rows"
            )
    unclear = sum(len(labels) > 1 for labels in labels_of.values())
    if unclear:
        lines.append(f"{unclear} texts of the training rows occur with more than one label")
    single = sorted(label for label, count in Counter(train.labels).items() if count < 2)
    if single:
        lines.append(f"{len(single)} classes have fewer than 2 training rows: {listed(single)}")
    return lines


def _subset(data: LabelledTexts, rows: Sequence[int]) -> LabelledTexts:
    texts, labels = [data.texts[row] for row in rows], [data.labels[row] for row in rows]
    return LabelledTexts(texts, labels, data.source)


def _checked(
    rows: Rows, names: tuple[str, ...], check: Callable[[dict[str, Any]], str]
) -> list[str]:
    """`check` of the cells of each row in the columns `names`; its errors get file and row."""
    missing = [None] * len(rows)
    columns = [rows.columns.get(name, missing) for name in names]
    checked = []
    for index, cells in enumerate(zip(*columns, strict=True)):
        try:
            checked.append(check(dict(zip(names, cells, strict=True))))
        except DataError as problem:
            raise DataError(f"{rows.where(index)}: {problem}") from None
    return checked


def _text(cells: dict[str, Any]) -> str:
    """The text of one row; of several columns, those that are null or blank are left out."""
    for name, cell in cells.items():
        if not isinstance(cell, str) and (cell is not None or len(cells) == 1):
            raise DataError(f"column {name!r} holds {_described(cell)}; expected a string")
    return _readable("text", " ".join(cell for cell in cells.values() if cell and cell.strip()))


def _any_text(cells: dict[str, Any]) -> str:
    """Like `_text`, but a row without text is blank: one such row must not end a long job."""
    blank = all(
        cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells.values()
    )
    return "" if blank else _text(cells)


def _label(cells: dict[str, Any]) -> str:
    ((name, cell),) = cells.items()
    if not isinstance(cell, str | int):  # bool is an int
        raise DataError(
            f"column {name!r} holds {_described(cell)}; expected a string or an integer"
        )
    return _readable("label", str(cell))


def _readable(what: str, value: str) -> str:
    if not value.strip():
        raise DataError(f"the {what} is empty")
    if NO_TEXT.search(value):
        raise DataError(f"the {what} holds a NUL or half a surrogate pair, which is no text")
    return value


def _described(cell: object) -> str:
    return "nothing (null)" if cell is None else f"{type(cell).__name__} {cell!r:.40}"
