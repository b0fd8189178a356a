"""Files of texts in, files with labels and probabilities out, batch by batch."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from export.errors import ExportError
from model.data import Batch, read_batches
from model.lines import Columns
from service.runtime.predictor import Predictor

_BATCH_SIZE = 2_000
Table = dict[str, list[Any]]  # column name -> one value a row
Write = Callable[[Table], None]


def predict_file(
    predictor: Predictor,
    source: str,
    out: str,
    columns: Columns,
    on_rows: Callable[[int], None],
) -> int:
    """Classify every row of `source`; the file may be larger than memory.

    The output has the columns of the input, then `predicted_label`, `score` and `p_LABEL` for each
    label; for a row without text these are empty. It gets its name when it is complete.

    Args:
        predictor: the artifact.
        source: CSV, TSV, JSONL, Parquet, lines of text, a hub data set, or `-` for stdin.
        out: .csv, .tsv, .jsonl or .parquet, or `-` for JSON lines on stdout.
        columns: where the text stands; `label` is None.
        on_rows: called with the number of rows of each batch.

    Returns:
        The number of rows without text.

    Raises:
        DataError: the input cannot be read.
        ExportError: the output cannot be written.
    """
    blank = 0
    with _writer(out) as write:
        for batch in read_batches(source, columns, _BATCH_SIZE):
            table = _classified(predictor, batch)
            blank += table["predicted_label"].count(None)
            write(table)
            on_rows(len(batch.texts))
    return blank


def _classified(predictor: Predictor, batch: Batch) -> Table:
    labels = predictor.manifest.labels
    names = ("predicted_label", "score", *(f"p_{label}" for label in labels))
    clash = [name for name in names if name in batch.columns]
    if clash:
        raise ExportError(f"the input has a column {clash[0]!r} already; rename it")
    table: Table = {**batch.columns, **{name: [] for name in names}}
    texts = [text for text in batch.texts if text.strip()]
    predictions = iter(predictor.predict(texts) if texts else [])
    for text in batch.texts:
        values: list[Any] = [None] * len(names)
        if text.strip():
            prediction = next(predictions)
            probabilities = dict(prediction.scores)
            values = [prediction.label, prediction.score, *map(probabilities.get, labels)]
        for name, value in zip(names, values, strict=True):
            table[name].append(value)
    return table


@contextmanager
def _writer(out: str) -> Iterator[Write]:
    """Writes beside `out` and renames at the end: a broken run leaves no half file by that name."""
    if out == "-":
        yield _json_lines(sys.stdout)
        return
    path = Path(out)
    opened = _FORMATS.get(path.suffix.lower())
    if opened is None:
        expected = ", ".join(_FORMATS)
        raise ExportError(f"{out}: unknown output format, expected {expected}, or - for stdout")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(partial) as write:
            yield write
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written ({error.strerror})") from None
    finally:
        if partial.exists():
            partial.unlink()


@contextmanager
def _csv_file(path: Path, delimiter: str = ",") -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        header: list[str] = []

        def write(table: Table) -> None:
            if not header:
                header.extend(table)
                writer.writerow(header)
            _same_columns(header, table)
            writer.writerows(zip(*table.values(), strict=True))

        yield write


@contextmanager
def _tsv_file(path: Path) -> Iterator[Write]:
    with _csv_file(path, "\t") as write:
        yield write


@contextmanager
def _json_file(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield _json_lines(file)


def _json_lines(file: TextIO) -> Write:
    def write(table: Table) -> None:
        for row in _rows(table):
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
        file.flush()

    return write


@contextmanager
def _parquet_file(path: Path) -> Iterator[Write]:
    import pyarrow as pa  # 120 MB that only this format needs
    import pyarrow.parquet as pq

    writers: list[pq.ParquetWriter] = []

    def typed(field: pa.Field) -> pa.Field:
        """A type for a column in which the first batch holds nothing."""
        if not pa.types.is_null(field.type):
            return field
        number = field.name == "score" or field.name.startswith("p_")
        return field.with_type(pa.float64() if number else pa.string())

    def write(table: Table) -> None:
        try:
            if not writers:
                schema = pa.schema([typed(field) for field in pa.table(table).schema])
                writers.append(pq.ParquetWriter(path, schema))
            schema = writers[0].schema
            _same_columns(schema.names, table)
            writers[0].write_table(pa.table(table, schema=schema))
        except pa.ArrowException as error:
            raise ExportError(f"{path.stem}: a column changes its type ({error})") from None

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _rows(table: Table) -> Iterator[Mapping[str, Any]]:
    for values in zip(*table.values(), strict=True):
        yield dict(zip(table, values, strict=True))


def _same_columns(expected: list[str], table: Table) -> None:
    if list(table) != expected:
        raise ExportError(
            f"columns change from {expected} to {list(table)}; write .jsonl, which may mix them"
        )


_FORMATS = {
    ".csv": _csv_file,
    ".tsv": _tsv_file,
    ".jsonl": _json_file,
    ".parquet": _parquet_file,
}
