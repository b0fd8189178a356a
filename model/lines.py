"""Rows of the formats made of lines: CSV, TSV, JSON, fastText's and plain text.

A parser yields (line, cells) for each row, where `line` is the line on which the row starts, and
for a row that cannot be used (line, problem), a string that says why. It stops the source with a
DataError only where nothing after that place can be trusted.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

from model.columns import MULTI_LABEL, Columns, DataError, listed

MAX_CELL_CHARACTERS = 10_000_000  # a longer CSV cell is a quote that was never closed
MAX_ARRAY_BYTES = 2**30  # an array is read as a whole; more goes into a line each
_PEEK = 65_536  # bytes that tell the encoding and the line ends
_NO_LINES = {
    b"PK\x03\x04": "a zip archive or a workbook (.xlsx: save it as CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "a workbook of old (.xls: save it as CSV UTF-8)",
    b"\x1f\x8b": "packed by gzip (.gz)",
    b"BZh": "packed by bzip2 (.bz2)",
    b"\xfd7zXZ": "packed by xz (.xz)",
    b"PAR1": "Parquet (.parquet)",
    b"%PDF": "a PDF",
}  # how such files begin
_LABEL = re.compile(r"__label__(\S*)\s*")  # Joulin et al. 2016: fastText's own format

NO_LABELS = "lines have no labels; expected CSV, TSV, JSONL or Parquet"

Parsed = Iterator[tuple[int, dict[str, Any] | str]]
Tell = Callable[[str], None]


def parse_csv(source: str, lines: Iterable[str], columns: Columns, tell: Tell) -> Parsed:
    """Rows of cells between delimiters; all have as many cells as the first row."""
    layout = replace(columns, quoting=columns.quoting is not False)
    yield from _table(source, lines, layout, ",", tell)


def parse_tsv(source: str, lines: Iterable[str], columns: Columns, tell: Tell) -> Parsed:
    """As CSV, but a tab between the cells, and quotes are characters like others."""
    layout = replace(columns, quoting=columns.quoting is True)
    yield from _table(source, lines, layout, "\t", tell)


def parse_json(source: str, lines: Iterable[str], columns: Columns, tell: Tell) -> Parsed:
    """A JSON object a line."""
    blank = _Blank(source, tell)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            blank.line(number)
            continue
        blank.row()
        try:
            yield number, _object(json.loads(line, object_pairs_hook=_members))
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", error)  # without its place, so that rows are told as one
            way = ", or --format json for an array" if line.lstrip().startswith("[") else ""
            yield number, f"is not a JSON object ({reason}); expected one object a line{way}"


def parse_json_file(source: str, lines: Iterable[str], columns: Columns, tell: Tell) -> Parsed:
    """An array of JSON objects, or an object a line."""
    rest = iter(lines)
    first = next((line for line in rest if line.strip()), "")
    if first.strip() == "{":
        raise DataError(
            f"{source}: is one object over several lines; expected an array of objects, or an "
            "object a line"
        )
    if not first.lstrip().startswith("["):
        second = next((line for line in rest if line.strip()), "")
        _refuse_whole(source, first, second)
        rest = _joined([second] if second else [], rest)
        yield from parse_json(source, _joined([first] if first else [], rest), columns, tell)
        return
    text = io.StringIO()
    for line in _joined([first], rest):
        if text.write(line) + text.tell() > MAX_ARRAY_BYTES:
            raise DataError(f"{source}: an array of more than 1 GiB; write an object a line")
    try:
        rows = json.loads(text.getvalue(), object_pairs_hook=_members)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: is not JSON ({error}); expected an array of objects") from error
    for row in rows:
        try:
            yield 0, _object(row)
        except ValueError as error:
            yield 0, f"{error}; expected an array of objects"


def _refuse_whole(source: str, first: str, second: str) -> None:
    """Refuse a file that is one object of lists or objects: the rows are in there."""
    try:
        whole = {} if second else json.loads(first)
    except (ValueError, RecursionError):
        return  # the parser says where
    if (
        whole
        and isinstance(whole, dict)
        and all(isinstance(of, list | dict) for of in whole.values())
    ):
        raise DataError(
            f"{source}: is one object that holds all rows; expected an array of objects, or an "
            "object a line (of pandas: to_json(orient='records'))"
        )


def parse_text(source: str, lines: Iterable[str], columns: Columns, tell: Tell) -> Parsed:
    """Each line is a text in the column that is asked for; or `__label__x` and a text."""
    labelled = False
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if number == 1:
            labelled = text.startswith("__label__")
            if columns.label is not None and not labelled:
                raise DataError(f"{source}: {NO_LABELS}, or lines that begin with __label__x")
        yield number, _tagged(text, columns) if labelled else {columns.text[0]: text}


def decoded(source: str, stream: BinaryIO, columns: Columns, tell: Tell) -> Iterator[str]:
    """The lines of a file with their ends; a byte order mark is left out.

    A line ends at LF; in a file whose first line ends at a CR without LF, at CR.

    Raises:
        DataError: the bytes are not of the encoding; says where and what to try.
    """
    start = stream.peek(_PEEK)[:_PEEK] if hasattr(stream, "peek") else b""
    encoding = columns.encoding or _encoding(source, start, tell)
    end = re.search(rb"\r\0*\n?|\n", re.sub(rb'"[^"]*("|$)', b"", start))
    bare = end is not None and not end[0].endswith(b"\n")
    if encoding != "utf-8" or bare:
        yield from _wrapped(source, stream, encoding, "\r" if bare else "\n")
        return
    offset = 0
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            place = f"byte 0x{line[error.start]:02x} at offset {offset + error.start}"
            raise _not_decoded(f"{source}, line {number}: {place}", encoding) from error
        offset += len(line)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _encoding(source: str, start: bytes, tell: Tell) -> str:
    for mark, what in _NO_LINES.items():
        if start.startswith(mark):
            raise DataError(f"{source}: is {what}, whatever its name says; expected lines of text")
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32")):
        if start.startswith(mark):
            tell(f"{source}: read as UTF-32, as its byte order mark says")
            return encoding
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        tell(f"{source}: read as UTF-16, as its byte order mark says")
        return "utf-16"
    if start.count(0) > len(start) // 5:
        zeros = start[::2].count(0), start[1::2].count(0)
        if min(zeros) > max(zeros) / 4:
            raise DataError(f"{source}: holds bytes of 0: is it a file of texts?")
        order = "be" if zeros[0] > zeros[1] else "le"
        raise DataError(
            f"{source}: looks like UTF-16 without a byte order mark; try --encoding utf-16-{order}"
        )
    return "utf-8"


def _wrapped(source: str, stream: BinaryIO, encoding: str, end: str) -> Iterator[str]:
    lines = io.TextIOWrapper(stream, encoding, newline=end)
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:
        place = f"{source}, after line {number}: what follows" if number else source
        raise _not_decoded(place, encoding) from error
    finally:
        with suppress(ValueError):  # nobody reads on, and the caller has closed it
            lines.detach()  # else it closes what the caller closes


def _not_decoded(place: str, encoding: str) -> DataError:
    if encoding == "utf-8":
        ways = "--encoding cp1252 (Windows, Excel), latin-1 or utf-16; or save it as CSV UTF-8"
        return DataError(f"{place} is not UTF-8; expected a UTF-8 file, or say which: {ways}")
    return DataError(f"{place} cannot be read as {encoding}; is it another --encoding?")


class _Blank:
    """Counts blank lines between rows, which are no rows, and says so; not those at the end."""

    def __init__(self, source: str, tell: Tell) -> None:
        self._source, self._tell = source, tell
        self._first: int | None = None
        self._told = False

    def line(self, number: int) -> None:
        self._first = self._first or number

    def row(self) -> None:
        if self._first and not self._told:
            self._tell(f"{self._source}, line {self._first}: blank lines are no rows")
            self._told = True


def _table(
    source: str, lines: Iterable[str], columns: Columns, delimiter: str, tell: Tell
) -> Parsed:
    """Rows of cells; `delimiter` is the one of the format."""
    rest, before = iter(lines), 0
    first = next(rest, "")
    if match := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):  # Excel, above a table
        before, first, delimiter = 1, next(rest, ""), match[1]
        why = "--delimiter says, not its line sep=" if columns.delimiter else "its line sep= says"
        tell(f"{source}: the delimiter is {columns.delimiter or delimiter!r}, as {why}")
    delimiter = columns.delimiter or delimiter
    split = _split_quoted if columns.quoting else _split_plain
    names: list[str] = []
    blank = _Blank(source, tell)
    suspects = _Suspects(source, delimiter if columns.quoting else None, tell)
    every = _joined([first] if first else [], rest)
    for line, cells in split(source, every, delimiter):
        number = line + before
        if isinstance(cells, str):
            yield number, cells
            continue
        if not cells and len(names) != 1:
            blank.line(number)
            continue
        if not names:
            names, header = _names(source, cells, columns)
            if header:
                continue
        blank.row()
        if len(cells or [""]) != len(names):
            hint = "" if columns.quoting else "; if cells are quoted: --quoting"
            if any("\n" in cell for cell in cells):
                hint = "; is a quote not closed? --no-quoting reads quotes as characters"
            problem = f"malformed row of {len(cells)} cells; expected {len(names)}"
            yield number, f"{problem}, as in the first row{hint}"
            continue
        suspects.see(number, cells)
        yield number, dict(zip(names, cells or [""], strict=True))


def _names(source: str, cells: list[str], columns: Columns) -> tuple[list[str], bool]:
    found, header = columns.named(cells, source)
    columns.require_in(found, source, _hint(cells, columns))
    names = [  # a name that came before gets its position
        name if name not in found[:i] else f"{name}.{i}" for i, name in enumerate(found)
    ]
    return names, header


class _Suspects:
    """Says once where a quote seems to have swallowed rows, or cells seem to be quoted."""

    def __init__(self, source: str, quoted: str | None, tell: Tell) -> None:
        """`quoted` is the delimiter of a table whose cells may be quoted."""
        self._source, self._quoted, self._tell = source, quoted, tell
        self._told = False

    def see(self, line: int, cells: Sequence[str]) -> None:
        if self._told:
            return
        if self._quoted:
            reason = (
                "a cell holds what looks like several rows: is a quote not closed? --no-quoting "
                "reads quotes as characters"
            )
            self._told = any(
                "\n" in cell and _is_rows(cell, place, len(cells), self._quoted)
                for place, cell in enumerate(cells)
            )
        else:
            reason = "cells seem to be quoted and are read with their quotes; --quoting takes them"
            self._told = any(
                len(cell) > 1 and cell[0] == '"' == cell[-1] and '""' in cell[1:-1]
                for cell in cells
            )
        if self._told:
            self._tell(f"{self._source}, line {line}: {reason}")


def _is_rows(cell: str, place: int, width: int, delimiter: str) -> bool:
    """Whether the lines of the cell at `place` are what the rest of rows of `width` cells are."""
    first, *middle, last = cell.split("\n")
    counts = [line.count(delimiter) for line in (first, *middle, last)]
    if counts != [width - 1 - place, *[width - 1] * len(middle), place] or width < 2:
        return False
    ends = [*first.split(delimiter)[1:], *last.split(delimiter)[:-1]]
    return bool(ends) and all(end.strip() and not end[0].isspace() for end in ends)


def _split_plain(
    source: str, lines: Iterable[str], delimiter: str
) -> Iterator[tuple[int, list[str] | str]]:
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\n").removesuffix("\r")
        yield number, text.split(delimiter) if text else []


def _split_quoted(
    source: str, lines: Iterable[str], delimiter: str
) -> Iterator[tuple[int, list[str] | str]]:
    """Cells of each row, or what is wrong with it, with the line the row starts at."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    except TypeError as error:
        raise DataError(f"{source}: delimiter {delimiter!r} cannot be used ({error})") from error
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problem = str(error).partition(" - ")[0]
            hint = "are quotes doubled? --no-quoting reads them as characters"
            if "end of data" in problem or "limit" in problem:
                problem = "a quote that is opened here is not closed"
                raise DataError(f"{source}, line {line}: {problem}; {hint}") from error
            if "new-line" in problem:
                problem = "a CR without LF outside of quotes"
                hint = "do some lines end in CR? --no-quoting reads one as a character"
            yield line, f"malformed row ({problem}); {hint}"
            continue
        if cells is None:
            return
        yield line, cells


def _hint(first_row: Sequence[str], columns: Columns) -> str:
    """Why a column may not be found in a table, if its first row tells."""
    if len(first_row) == 1 and any(mark in first_row[0] for mark in ",;|\t"):
        return "is the delimiter another one (--delimiter)?"
    if columns.header is False:
        return "without a header the columns are --text-column 0 --label-column 1 and so on"
    if not columns.quoting and any(f'"{name}"' in first_row for name in columns.wanted):
        return "cells seem to be quoted: --quoting"
    if any(len(cell) > 40 or cell.strip().count(" ") > 1 or not cell.strip() for cell in first_row):
        return "if the first row is data: --no-header --text-column 0 --label-column 1"
    return ""


def _tagged(text: str, columns: Columns) -> dict[str, Any] | str:
    labels, place = [], 0
    while match := _LABEL.match(text, place):
        labels.append(match[1])
        place = match.end()
    if len(labels) != 1:
        return MULTI_LABEL if labels else "expected __label__ and the label first"
    return {columns.text[0]: text[place:], columns.label or "label": labels[0]}


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = [name for name in members if names.count(name) > 1]
        raise ValueError(f"an object has {listed(twice)} twice")
    return members


def _object(row: Any) -> dict[str, Any]:  # noqa: ANN401  whatever JSON holds
    if not isinstance(row, dict) or not row:
        raise ValueError(f"found {type(row).__name__}, not an object with columns")
    return row


def _joined(first: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from first
    yield from rest


PARSERS = {
    "csv": parse_csv,
    "tsv": parse_tsv,
    "jsonl": parse_json,
    "ndjson": parse_json,
    "json": parse_json_file,
    "txt": parse_text,
    "ft": parse_text,
}
