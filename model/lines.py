"""Rows of the formats made of lines: CSV, TSV, JSONL and plain text."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.runtime.errors import HeedError

MAX_CELL_CHARACTERS = 10_000_000  # a longer CSV cell is a quote that was never closed

Parsed = Iterator[dict[str, Any]]  # {"line": where the row starts, "cells": {column: value}}


class DataError(HeedError):
    """Input that cannot be used; the message says what, where (file, row) and what was expected."""


@dataclass(frozen=True)
class Columns:
    """Which columns to read, and how a CSV or TSV file is laid out.

    Attributes:
        text: columns of the text; several are joined by one space.
        label: column of the label; None reads texts only.
        delimiter: between two cells; None is a comma for .csv, a tab for .tsv.
        header: whether the first row names the columns. None: it does, unless every column
            asked for is a position (0, 1, ...) that the first row does not have as a name.
    """

    text: tuple[str, ...] = ("text",)
    label: str | None = "label"
    delimiter: str | None = None
    header: bool | None = None

    def require_in(self, found: Sequence[str], source: str, hint: str = "") -> None:
        """Raise DataError unless each column asked for is found once."""
        for name in self._wanted:
            if found.count(name) != 1:
                problem = "more than one column" if name in found else "no column"
                listing = f"columns found: {listed(found)}"
                raise DataError(f"{source}: {problem} {name!r}; {listing}{hint}")

    def header_in(self, first_row: Sequence[str]) -> bool:
        """Whether `first_row` names the columns."""
        positions = all(name.isascii() and name.isdigit() for name in self._wanted)
        named = not positions or set(self._wanted) <= set(first_row)
        return named if self.header is None else self.header

    @property
    def _wanted(self) -> tuple[str, ...]:
        return self.text if self.label is None else (*self.text, self.label)


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names in one line; long names and long lists are cut."""
    short = [repr(name if len(name) <= 40 else name[:39] + "…") for name in names]
    more = f" and {len(short) - limit} more" if len(short) > limit else ""
    return ", ".join(short[:limit]) + more


def parse_file(source: str, path: Path, kind: str, columns: Columns) -> Parsed:
    """Rows of the file at `path`, called `source` in errors.

    Raises:
        DataError: the file cannot be opened or unpacked, or a line is malformed or not UTF-8.
    """
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield from PARSERS[kind](source, stream, columns)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{source}: cannot be read ({error})") from error


def parse_text(source: str, stream: Iterable[bytes], columns: Columns) -> Parsed:
    """Each line is a text, in the column that is asked for."""
    for number, line in enumerate(_decoded(source, stream), 1):
        yield {"line": number, "cells": {columns.text[0]: line.rstrip("\r\n")}}


def _parse_json(source: str, stream: Iterable[bytes], _: Columns) -> Parsed:
    for number, line in enumerate(_decoded(source, stream), 1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            problem = f"is not JSON ({error}); expected one object a line"
            raise DataError(f"{source}, line {number}: {problem}") from error
        if not isinstance(cells, dict) or not cells:
            raise DataError(f"{source}, line {number}: expected a JSON object with columns")
        yield {"line": number, "cells": cells}


def _parse_tsv(source: str, stream: Iterable[bytes], columns: Columns) -> Parsed:
    return _parse_csv(source, stream, columns, "\t")


def _parse_csv(
    source: str, stream: Iterable[bytes], columns: Columns, delimiter: str = ","
) -> Parsed:
    names: list[str] = []
    for line, cells in _split(source, stream, columns.delimiter or delimiter):
        if not names:
            header = columns.header_in(cells)
            found = cells if header else [str(position) for position in range(len(cells))]
            columns.require_in(found, source, _hint(cells))
            names = [  # a name that came before gets its position
                name if name not in found[:i] else f"{name}.{i}" for i, name in enumerate(found)
            ]
            if header:
                continue
        if len(cells) != len(names):
            problem = f"malformed row of {len(cells)} cells; expected {len(names)}"
            raise DataError(f"{source}, line {line}: {problem}, as in the first row")
        yield {"line": line, "cells": dict(zip(names, cells, strict=True))}


def _split(source: str, stream: Iterable[bytes], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of each row that is not blank, with the line the row starts at."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        reader = csv.reader(_decoded(source, stream), delimiter=delimiter, strict=True)
    except TypeError as error:
        raise DataError(f"{source}: delimiter {delimiter!r} cannot be used ({error})") from error
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problem = f"malformed row ({str(error).partition(' - ')[0]}); are quotes doubled?"
            raise DataError(f"{source}, line {line}: {problem}") from error
        if cells is None:
            return
        if cells:
            yield line, cells


def _hint(first_row: Sequence[str]) -> str:
    if len(first_row) == 1 and any(mark in first_row[0] for mark in ",;|\t"):
        return "; is the delimiter another one (--delimiter)?"
    if any(len(cell) > 40 or cell.count(" ") > 1 or not cell.strip() for cell in first_row):
        return "; if the first row is data: --no-header --text-column 0 --label-column 1"
    return ""


def _decoded(source: str, stream: Iterable[bytes]) -> Iterator[str]:
    """Lines with their ends, as they are in the file but for a byte order mark."""
    offset = 0
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            problem = (
                f"byte 0x{line[error.start]:02x} at offset {offset + error.start} is not UTF-8"
            )
            message = f"{source}, line {number}: {problem}; expected a UTF-8 file"
            raise DataError(message) from error
        offset += len(line)
        yield text.removeprefix("\ufeff") if number == 1 else text


PARSERS = {
    "csv": _parse_csv,
    "tsv": _parse_tsv,
    "jsonl": _parse_json,
    "ndjson": _parse_json,
    "json": _parse_json,
    "txt": parse_text,
}
