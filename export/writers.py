"""Tables out, batch by batch: the inverse of the readers.

What a format has no form for is written in one that it has, and said: no job ends in its last hour
for the value of one cell. Only .tsv refuses: a tab or a line break cannot be written there.
"""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from export.errors import ExportError
from service.runtime.safe import safe

if TYPE_CHECKING:
    import pyarrow as pa

Table = dict[str, list[Any]]  # column name -> one value a row

_HALF = re.compile("[\ud800-\udfff]")
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # owasp.org/…/CSV_Injection
_NUMBER = re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?\s?%?")
_NO_TSV = re.compile("[\t\r\n]")


class Writer:
    """Writes tables to one file; columns may come late and stay away.

    Attributes:
        rows: written so far.
        notes: what was written in another form than it came in, a line each.
    """

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self.path = path
        self.rows = 0
        self.notes: dict[str, None] = {}  # in the order of their first

    def write(self, table: Table) -> None:
        """One more batch, at least one row."""
        raise NotImplementedError

    def close(self) -> None:
        """From now on what was written is a file of its format."""

    def _text(self, value: object) -> str:
        """A value as the text of a cell; null is an empty one."""
        if isinstance(value, str):
            if _HALF.search(value):
                self.notes[r"halves of surrogate pairs are spelled out: \ud800"] = None
                value = value.encode(errors="backslashreplace").decode()
            return value
        if value is None or isinstance(value, float):
            return "" if value is None else repr(value)
        return self._json(value) if isinstance(value, int | list | dict) else _spelled(value)

    def _json(self, value: object, *, ascii_only: bool = False) -> str:
        """A value as JSON on one line; safe on a terminal, too."""
        try:
            text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=_spelled)
        except ValueError:
            self.notes["numbers without a form in JSON (NaN, infinity) are null"] = None
            text = json.dumps(_finite(value), ensure_ascii=ascii_only, default=_spelled)
        return safe(text)


class JsonLines(Writer):
    """An object a line. A stream, such as stdout, has each batch at once and is left open."""

    def __init__(self, path: Path, stream: TextIO | None = None) -> None:
        """Write to `path`, or to `stream`."""
        super().__init__(path)
        self._stream = stream
        self._file = stream or path.open("w", encoding="utf-8", newline="")
        encoding = getattr(stream, "encoding", None) or "utf-8"
        self._ascii = encoding.lower() not in {"utf-8", "utf8"}

    def write(self, table: Table) -> None:
        """See `Writer`."""
        for values in zip(*table.values(), strict=True):
            row = dict(zip(table, values, strict=True))
            self._file.write(self._json(row, ascii_only=self._ascii) + "\n")
            self.rows += 1
        self._file.flush()

    def close(self) -> None:
        """See `Writer`."""
        if self._stream is None:
            self._file.close()


class Csv(Writer):
    """Cells between commas, quoted where they hold a comma, a quote, CR or LF (RFC 4180)."""

    def __init__(self, path: Path, *, escape_formulas: bool = False) -> None:
        """Write to `path`; with `escape_formulas` no cell is one to a spreadsheet."""
        super().__init__(path)
        self._escape_formulas = escape_formulas
        self._names: list[str] = []
        self._file = self._opened(path)

    def write(self, table: Table) -> None:
        """See `Writer`."""
        late = [name for name in table if name not in self._names]
        if late:
            self._widen(late)
        empty = [None] * len(next(iter(table.values())))
        columns = [table.get(name, empty) for name in self._names]
        for row in zip(*columns, strict=True):
            self._line([self._cell(value) for value in row], f"row {self.rows + 1}")
            self.rows += 1
        self._file.flush()  # a full disk is better known soon

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()

    def _opened(self, path: Path) -> TextIO:
        file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(_UnixLines(file))
        return file

    def _cell(self, value: object) -> str:
        text = self._text(value)
        formula = self._escape_formulas and isinstance(value, str) and _FORMULA.match(text)
        return f"'{text}" if formula and not _NUMBER.fullmatch(text) else text

    def _line(self, cells: list[str], _where: str) -> None:
        self._writer.writerow(cells)

    def _widen(self, late: list[str]) -> None:
        """Begin the file, or write it again with columns that are empty in the rows so far."""
        self._file.close()
        old = self.path.replace(beside(self.path))
        self._names += late
        self._file = self._opened(self.path)
        if self._names[0].startswith("\ufeff"):
            self._file.write("\ufeff")  # readers take the first one off
        self._line([self._cell(name) for name in self._names], "the first row")
        csv.field_size_limit(sys.maxsize)
        with old.open(encoding="utf-8", newline="") as lines:
            rows = self._read(lines)
            next(rows, None)
            for number, cells in enumerate(rows, 1):
                self._line([*cells, *[""] * len(late)], f"row {number}")
        old.unlink()

    @staticmethod
    def _read(lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines)


class Tsv(Csv):
    """Cells between tabs, never quoted, as most TSV is."""

    def _line(self, cells: list[str], where: str) -> None:
        if _NO_TSV.search("".join(cells)):
            places = zip(self._names, cells, strict=True)
            name = next(name for name, cell in places if _NO_TSV.search(cell))
            problem = "holds a tab or a line break, which .tsv has no form for"
            where = f"{self.path.stem}, {where}, column {name!r}"
            raise ExportError(f"{where}: {problem}; write .csv or .jsonl")
        self._file.write("\t".join(cells) + "\n")

    @staticmethod
    def _read(lines: Iterable[str]) -> Iterator[list[str]]:
        return (line.removesuffix("\n").split("\t") for line in lines)


class Parquet(Writer):
    """Columns with types. They widen as values ask for it: null, number, text."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        import pyarrow  # 120 MB that only this format needs
        import pyarrow.parquet

        super().__init__(path)
        self._pa = pyarrow
        self._types: dict[str, pa.DataType] = {}
        self._writer: Any = None

    def write(self, table: Table) -> None:
        """See `Writer`."""
        arrays = {name: self._array(name, values) for name, values in table.items()}
        types = dict(self._types)
        for name, array in arrays.items():
            types[name] = self._joined(types.get(name, array.type), array.type)
        while True:
            try:
                fitted = self._fitted(arrays, types)
                if types != self._types:
                    self._rewrite(types)
                break
            except _MisfitError as misfit:
                types[misfit.column] = self._pa.string()
        self._writer.write_table(fitted)
        self.rows += fitted.num_rows

    def close(self) -> None:
        """See `Writer`."""
        if self._writer is not None:
            self._writer.close()

    def _array(self, name: str, values: list[Any]) -> "pa.Array":
        with suppress(self._pa.ArrowException, OverflowError, TypeError, ValueError):
            array = self._pa.array(values)
            if _has_form(array.type):
                return array
        return self._texts(name, values)

    def _texts(self, name: str, values: list[Any]) -> "pa.Array":
        if not all(value is None or isinstance(value, str) for value in values):
            self.notes[f"column {name!r} is text: no type of Parquet holds its values"] = None
        texts = [None if value is None else self._text(value) for value in values]
        return self._pa.array(texts, self._pa.string())

    def _joined(self, old: "pa.DataType", new: "pa.DataType") -> "pa.DataType":
        """The narrowest type that holds both; text if there is no other."""
        if self._pa.string() not in {old, new} or self._pa.null() in {old, new}:
            schemas = [self._pa.schema({"": each}) for each in (old, new)]
            with suppress(self._pa.ArrowException):
                return self._pa.unify_schemas(schemas, promote_options="permissive").types[0]
        return self._pa.string()

    def _fitted(
        self, arrays: Mapping[str, "pa.Array"], types: Mapping[str, "pa.DataType"]
    ) -> "pa.Table":
        count = len(next(iter(arrays.values())))
        columns = {}
        for name, wanted in types.items():
            array = arrays.get(name, self._pa.nulls(count))
            if wanted == self._pa.string() and array.type not in {wanted, self._pa.null()}:
                array = self._texts(name, array.to_pylist())
            try:
                columns[name] = array.cast(wanted)
            except self._pa.ArrowException:  # a large integer among fractions, say
                raise _MisfitError(name) from None
        return self._pa.table(columns, schema=self._pa.schema(dict(types)))

    def _rewrite(self, types: dict[str, "pa.DataType"]) -> None:
        """Begin the file, or write the rows so far again with other types."""
        new = beside(self.path)
        writer = self._pa.parquet.ParquetWriter(new, self._pa.schema(types))
        if self._writer is not None:
            self._writer.close()
            with self._pa.parquet.ParquetFile(self.path) as old:
                for batch in old.iter_batches(1000):
                    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
                    writer.write_table(self._fitted(arrays, types))
        new.replace(self.path)
        self._writer, self._types = writer, types


class _MisfitError(Exception):
    """A value of `column` does not go into the type that was thought to hold all of them."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class _UnixLines:
    """What `csv.writer` writes, a row a call, ending in LF. It quotes CR only if rows end in it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def beside(path: Path) -> Path:
    """Where a writer of `path` keeps what it writes again; gone when it is done."""
    return path.with_name(path.name + ".new")


def _finite(value: Any) -> Any:  # noqa: ANN401  whatever JSON has
    """The value with null for every number that JSON has no form for."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value - value != 0.0 else value


def _spelled(value: object) -> str:
    """A value of Parquet that JSON has no form for."""
    if isinstance(value, date | time):
        return value.isoformat()
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _has_form(kind: "pa.DataType") -> bool:
    """Whether Parquet can hold it: no object without members, no null inside of another type.

    pyarrow casts the latter to arrays that it refuses to write (26.0).
    """
    members = [kind.field(i).type for i in range(kind.num_fields)]
    empty = type(kind).__name__ == "StructType" and not members
    return not empty and all(str(it) != "null" and _has_form(it) for it in members)


FORMATS: dict[str, Callable[..., Writer]] = {
    ".csv": Csv,
    ".tsv": Tsv,
    ".jsonl": JsonLines,
    ".parquet": Parquet,
}
