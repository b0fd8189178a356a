"""Rows of a file, a folder or a hub data set, streamed in batches through HF `datasets`.

Parquet, folders and hub names go through `load_dataset`. Formats made of lines are parsed by
`model.lines` inside an `IterableDataset`, because the readers of `load_dataset` guess types (a
date in JSON becomes a timestamp), decode .gz texts in the locale's encoding and cannot name the
line that is wrong.
"""

import glob
import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

from model.lines import PARSERS, Columns, DataError, parse_file, parse_text

HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

Values = dict[str, list[Any]]  # column name -> one value a row
Batches = Iterator[tuple[Values, list[int] | None]]  # and the line each row starts at


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of one source.

    Attributes:
        source: what is read, as the user named it.
        first_row: number of the first of these rows; the first row with data of a source is 1.
        columns: the values of each column; None where a JSON row lacks it.
        lines: the line each row starts at; None where the format has no lines.
    """

    source: str
    first_row: int
    columns: Values
    lines: list[int] | None

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def where(self, index: int) -> str:
        """Source, row and line of the row at `index` of this batch."""
        line = f" (line {self.lines[index]})" if self.lines else ""
        return f"{self.source}, row {self.first_row + index}{line}"


def read_rows(source: str, columns: Columns, batch_size: int) -> Iterator[Rows]:
    """Rows of a file, a folder or hub data set (`name:split`), or the lines of stdin (`-`).

    Raises:
        DataError: the source is missing, empty, unreadable or malformed, or lacks a column.
    """
    try:
        batches = _batches(source, columns, batch_size)
    except OSError as error:  # a folder on the way may not be entered
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    name = "stdin" if source == "-" else source
    first_row = 1
    for values, lines in batches:
        if first_row == 1:
            columns.require_in(list(values), name)
        rows = Rows(name, first_row, values, lines)
        first_row += len(rows)
        yield rows
    if first_row == 1:
        raise DataError(f"{name}: holds no rows; expected at least one row with data")


def _batches(source: str, columns: Columns, batch_size: int) -> Batches:
    """Choose the reader by what `source` is: stdin, a file, a folder or a hub name."""
    path, kind = Path(source), _kind(source)
    if (source == "-" or kind == "txt") and columns.label is not None:
        raise DataError(f"{source}: lines have no labels; expected CSV, TSV, JSONL or Parquet")
    if source == "-":
        return _stdin(columns, batch_size)
    if path.is_file() and kind in PARSERS:
        return _parsed(batch_size, source=source, path=path, kind=kind, columns=columns)
    if path.is_file() and kind == "parquet":
        files = glob.escape(str(path.absolute()))
        return _loaded(source, batch_size, path=kind, data_files=files, split="train")
    if path.is_file():
        known = ", ".join(f".{kind}" for kind in PARSERS)
        raise DataError(f"{source}: unknown format; expected {known} (each also .gz) or .parquet")
    name, _, split = (source, "", "") if path.is_dir() else source.partition(":")
    if name and Path(name).is_dir():
        name = str(Path(name).absolute())
    elif _kind(name) in {*PARSERS, "parquet"} or not HUB_NAME.fullmatch(name):
        raise DataError(f"{source}: file not found")
    return _loaded(source, batch_size, path=name, split=split or "train")


def _kind(name: str) -> str:
    return name.lower().removesuffix(".gz").rpartition(".")[2]


def _stdin(columns: Columns, batch_size: int) -> Batches:
    parsed = parse_text("stdin", sys.stdin.buffer, columns)
    while rows := list(islice(parsed, batch_size)):
        yield _values([row["cells"] for row in rows]), [row["line"] for row in rows]


def _parsed(batch_size: int, **file: object) -> Batches:
    with _quiet_datasets() as datasets:
        dataset = datasets.IterableDataset.from_generator(parse_file, gen_kwargs=file)
    for batch in dataset.iter(batch_size):
        yield _values(batch["cells"]), batch["line"]


def _values(rows: list[dict[str, Any]]) -> Values:
    names = dict.fromkeys(chain.from_iterable(rows))
    return {name: [row.get(name) for row in rows] for name in names}


def _loaded(source: str, batch_size: int, **options: str) -> Batches:
    """Batches of what `load_dataset` streams; class ids become names, the id -1 becomes None."""
    try:
        with _quiet_datasets() as datasets:
            dataset = datasets.load_dataset(streaming=True, **options)
        class_names = {
            column: dict(enumerate(feature.names))
            for column, feature in (dataset.features or {}).items()
            if isinstance(feature, datasets.ClassLabel)
        }
        for table in dataset.with_format("arrow").iter(batch_size):
            values = table.to_pydict()
            for column, names in class_names.items():
                values[column] = [names.get(label_id) for label_id in values[column]]
            yield values, None
    except Exception as error:  # load_dataset has many readers behind it, each with its own errors
        local = "data_files" in options or Path(options["path"]).is_dir()
        problem = "cannot be read" if local else "no such file, and not readable from the hub"
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{source}: {problem} ({reason})") from error


@contextmanager
def _quiet_datasets() -> Iterator[ModuleType]:
    """HF `datasets`: imported late (a second), silent, without torch, away from the home folder."""
    import datasets

    datasets.disable_progress_bars()
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    datasets.config.TORCH_AVAILABLE = False  # else every IterableDataset imports torch
    cache = datasets.config.HF_DATASETS_CACHE  # opening a stream leaves a lock file there
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = folder
        try:
            yield datasets
        finally:
            datasets.config.HF_DATASETS_CACHE = cache
