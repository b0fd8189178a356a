"""The texts to send. Standard library only: Locust imports this beside locustfile.py."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

BUILT_IN = Path(__file__).with_name("texts.txt")


class TextsError(ValueError):
    """The texts file cannot be used; the message names the file and the reason."""


def read_texts(path: Path = BUILT_IN) -> list[str]:
    """The texts of a file, in order, without the blank ones.

    Args:
        path: `.csv`, `.tsv` or `.jsonl` with a `text` column, or `.txt` (or no ending) with a text
            a line; UTF-8, gzipped when the name ends in `.gz`.

    Raises:
        TextsError: the file is missing, unreadable, has no `text` column or holds no text.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    rows = _FORMATS.get(suffix)
    if rows is None:
        raise TextsError(
            f"{path}: unknown format, expected {', '.join(filter(None, _FORMATS))} or .gz of these"
        )
    try:
        raw = path.read_bytes()
        content = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
        texts = [text for row in rows(content) if (text := row.strip())]
    except FileNotFoundError:
        raise TextsError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise TextsError(f"{path}: not UTF-8 at byte {error.start}") from None
    except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
        raise TextsError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not texts:
        raise TextsError(f"{path}: holds no text")
    return texts


def _lines(content: str) -> Iterator[str]:
    return iter(content.split("\n"))


def _tsv_rows(content: str) -> Iterator[str]:
    return _csv_rows(content, "\t")


def _csv_rows(content: str, delimiter: str = ",") -> Iterator[str]:
    reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter)
    if "text" not in (reader.fieldnames or ()):
        raise ValueError(f"no `text` column, only {', '.join(reader.fieldnames or ()) or 'none'}")
    return (row["text"] or "" for row in reader)


def _jsonl_rows(content: str) -> Iterator[str]:
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise ValueError(f"line {number} has no `text` string")
            yield row["text"]


_FORMATS = {
    "": _lines,
    ".txt": _lines,
    ".csv": _csv_rows,
    ".tsv": _tsv_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
}
