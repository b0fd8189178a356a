"""The texts to send, read from files of any length. Standard library only."""

import csv
import gzip
import io
import json
import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

BUILT_IN = Path(__file__).with_name("texts.txt")

Rows = Callable[[TextIO, str], Iterator[str]]


class TextsError(ValueError):
    """The texts file cannot be used; the message names the file and the reason."""


def read_texts(path: Path = BUILT_IN, column: str = "text") -> list[str]:
    """All texts of a file, in order, without the blank ones; see `iter_texts`."""
    return list(iter_texts(path, column))


def iter_texts(path: Path, column: str = "text") -> Iterator[str]:
    """The texts of a file one by one, in order, without the blank ones and without outer blanks.

    Args:
        path: `.csv`, `.tsv` or `.jsonl` with a column of texts, or `.txt` (or no ending) with a
            text a line; UTF-8, gzipped when the name ends in `.gz`.
        column: where the texts are, in files with columns.

    Raises:
        TextsError: the file is missing, unreadable, has no such column or holds no text. It comes
            when the iteration gets there.
    """
    found = False
    try:
        for row in _rows(path, column):
            if text := row.strip():
                found = True
                yield text
    except FileNotFoundError:
        raise TextsError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise TextsError(f"{path}: not UTF-8 at byte {_bad_byte(path)}") from None
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise TextsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not found:
        raise TextsError(f"{path}: holds no text")


def sample(texts: Iterable[str], count: int, rng: random.Random) -> list[str]:
    """At most `count` of `texts`, each with the same chance, never holding more than that.

    Algorithm R (Vitter, Random Sampling with a Reservoir, 1985).
    """
    kept: list[str] = []
    for index, text in enumerate(texts):
        if index < count:
            kept.append(text)
        elif (place := rng.randrange(index + 1)) < count:
            kept[place] = text
    return kept


def _rows(path: Path, column: str) -> Iterator[str]:
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in _FORMATS:
        known = ", ".join(filter(None, _FORMATS))
        raise ValueError(f"unknown format, expected {known} or .gz of these")
    rows, newline = _FORMATS[suffix]
    with _open(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", newline=newline) as lines:
        yield from rows(lines, column)


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _bad_byte(path: Path) -> int:
    """Where a file stops being UTF-8. A line feed is never part of a longer character."""
    before = 0
    with _open(path) as raw:
        for line in raw:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return before + error.start
            before += len(line)
    return before


def _lines(lines: TextIO, _: str) -> Iterator[str]:
    return iter(lines)


def _tsv_rows(lines: TextIO, column: str) -> Iterator[str]:
    return _csv_rows(lines, column, "\t")


def _csv_rows(lines: TextIO, column: str, delimiter: str = ",") -> Iterator[str]:
    reader = csv.DictReader(lines, delimiter=delimiter)
    if column not in (reader.fieldnames or ()):
        columns = ", ".join(reader.fieldnames or ()) or "none"
        raise ValueError(f"no `{column}` column, only {columns}")
    return (row[column] or "" for row in reader)


def _jsonl_rows(lines: TextIO, column: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get(column), str):
                raise ValueError(f"line {number} has no `{column}` string")
            yield row[column]


# How rows are read, and what ends a line: in a .csv a bare \r may, elsewhere it is part of a text.
_FORMATS: dict[str, tuple[Rows, str]] = {
    "": (_lines, "\n"),
    ".txt": (_lines, "\n"),
    ".csv": (_csv_rows, ""),
    ".tsv": (_tsv_rows, ""),
    ".jsonl": (_jsonl_rows, "\n"),
    ".ndjson": (_jsonl_rows, "\n"),
}
