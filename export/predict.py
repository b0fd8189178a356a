"""Files of texts in, files with labels and probabilities out, batch by batch."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.writers import FORMATS, JsonLines, Table, Writer, beside
from model.columns import Columns
from model.data import Batch, read_batches
from model.lock import locked
from service.runtime.errors import HeedError
from service.runtime.predictor import Predictor

_BATCH_SIZE = 2_000


@dataclass
class Predicted:
    """What is done: rows, those without text, those that were cut, and what is worth a word."""

    rows: int = 0
    blank: int = 0
    truncated: int = 0
    seconds: float = 0.0  # since the first batch was read
    replaced: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0


def predict_file(  # noqa: PLR0913, PLR0917  an option of the command is a parameter
    predictor: Predictor,
    source: str,
    out: str,
    columns: Columns,
    on_rows: Callable[[Predicted], None],
    escape_formulas: bool = False,
) -> Predicted:
    """Classify every row of `source`; the file may be larger than memory.

    The output has the columns of the input, then `predicted_label`, `score`, `p_LABEL` for each
    label, `tokens` before truncation and `truncated`; for a row without text these are empty.
    Such columns of an earlier prediction are replaced. The file gets its name when it is complete.

    Args:
        predictor: the artifact.
        source: CSV, TSV, JSONL, Parquet, lines of text, a hub data set, or `-` for stdin.
        out: .csv, .tsv, .jsonl or .parquet, or `-` for JSON lines on stdout.
        columns: where the text stands; `label` is None.
        on_rows: called after each batch with what is done so far.
        escape_formulas: for .csv and .tsv: no cell is a formula to a spreadsheet.

    Raises:
        DataError: the input cannot be read.
        ExportError: the output cannot be written.
    """
    done = Predicted()
    notes: list[str] = []
    started = 0.0
    with _writer(out, escape_formulas) as writer:
        for batch in read_batches(source, columns, _BATCH_SIZE, notes.append):
            started = started or time.monotonic()
            earlier = _earlier(list(batch.columns), columns.text)
            table = _classified(predictor, batch, earlier)
            writer.write(table)
            done.rows += len(batch.texts)
            done.blank += table["predicted_label"].count(None)
            done.truncated += table["truncated"].count(True)
            done.replaced = done.replaced or earlier
            done.seconds = time.monotonic() - started
            on_rows(done)
    done.notes = (*notes, *(f"{out}: {note}" for note in writer.notes))
    return done


def _earlier(names: list[str], texts: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that an earlier prediction added, which stand together; none if not all do."""
    if "predicted_label" not in names:
        return ()
    start = names.index("predicted_label")
    end = start + 2
    while end < len(names) and names[end].startswith("p_"):
        end += 1
    if names[start + 1 : start + 2] != ["score"] or end == start + 2:
        return ()
    if names[end : end + 2] == ["tokens", "truncated"]:
        end += 2
    return () if set(texts) & set(names[start:end]) else tuple(names[start:end])


def _classified(predictor: Predictor, batch: Batch, earlier: tuple[str, ...]) -> Table:
    labels = predictor.manifest.labels
    probabilities = [f"p_{label}" for label in labels]
    names = ["predicted_label", "score", *probabilities, "tokens", "truncated"]
    kept = {name: cells for name, cells in batch.columns.items() if name not in earlier}
    clash = [name for name in names if name in kept]
    if clash:
        raise ExportError(f"the input has a column {clash[0]!r} already; rename it")
    table: Table = {**kept, **{name: [] for name in names}}
    texts = [text for text in batch.texts if text.strip()]
    predictions = iter(predictor.predict(texts))
    for text in batch.texts:
        values: list[Any] = [None] * len(names)
        if text.strip():
            found = next(predictions)
            scores = map(dict(found.scores).get, labels)
            values = [found.label, found.score, *scores, found.tokens, found.truncated]
        for name, value in zip(names, values, strict=True):
            table[name].append(value)
    return table


@contextmanager
def _writer(out: str, escape_formulas: bool) -> Iterator[Writer]:
    """Writes beside `out` and renames at the end: a broken run leaves no half file by that name.

    If the input, a cell or Ctrl-C ends it, the rows before it stay beside `out`, and the error says
    so. Two processes do not write to the same `out`.
    """
    path = Path(out)
    kind = path.suffix.lower()
    if out != "-" and kind not in FORMATS:
        expected = ", ".join(FORMATS)
        raise ExportError(f"{out}: unknown output format, expected {expected}, or - for stdout")
    if out != "-" and path.is_dir():
        raise ExportError(f"{out} is a folder, expected a file")
    if out == "-" and sys.stdout is None:
        raise ExportError("stdout is closed, expected a file or a pipe")
    if escape_formulas and kind not in {".csv", ".tsv"}:
        raise ExportError(f"{out}: --escape-formulas is for .csv and .tsv")
    with _errors_of("stdout" if out == "-" else out):
        if out == "-":
            yield JsonLines(path, sys.stdout)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        options = {"escape_formulas": True} if escape_formulas else {}
        with locked(path.with_name(f".{path.name}.lock"), path):
            with _unfinished(FORMATS[kind](partial, **options)) as writer:
                yield writer
            partial.replace(path)


@contextmanager
def _errors_of(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # who reads stdout has enough
        raise
    except OSError as error:
        raise ExportError(f"{name}: cannot be written ({error.strerror})") from None


@contextmanager
def _unfinished(writer: Writer) -> Iterator[Writer]:
    """Its file is left only if it is whole, or whole up to a row that was refused or Ctrl-C."""
    left = False
    try:
        yield writer
        writer.close()
        left = True
    except (HeedError, KeyboardInterrupt) as error:
        left = writer.rows > 0
        if left:
            reason = str(error) or "stopped"
            error.args = (f"{reason}; the {writer.rows:,} rows before it are in {writer.path}",)
        raise
    finally:
        with suppress(OSError):  # a disk that was full still is
            writer.close()
        for path in (beside(writer.path), *(() if left else (writer.path,))):
            path.unlink(missing_ok=True)
