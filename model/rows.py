"""Rows of a file, a folder, an archive, a hub data set or stdin, in batches.

`model.lines` reads formats made of lines and pyarrow reads Parquet: both give cells as they are in
the file, where the readers of HF `datasets` guess types, decode in the locale's encoding, look up
hosts and cannot name a line. `datasets` reads what is on the hub.
"""

import difflib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from model.columns import Columns, DataError, listed
from model.files import SUFFIXES, File, files_in, is_archive, kind_of, opened
from model.lines import NO_LABELS, PARSERS, Tell, decoded

_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_PARTS = {"train": "train", "test": "test", "valid": "validation", "validation": "validation"}
_PARTS |= {"dev": "validation", "val": "validation", "eval": "validation"}
_LINES = frozenset(PARSERS)
_TABLES = frozenset({"csv", "tsv"})
_USED_BY = {"delimiter": _TABLES, "quoting": _TABLES, "header": _TABLES, "encoding": _LINES}
_USED_BY |= {"format": frozenset(SUFFIXES)}
_OFFICE = {"xlsx", "xls", "xlsm", "ods", "numbers", "docx", "doc", "pdf"}
_ARCHIVED = {"zst", "7z", "rar", "lz4", "br", "z"}
_ABOUT = re.compile(r"(^|/)(readme|licen[cs]e|changelog|notice)\b[^/]*$", re.IGNORECASE)

Values = dict[str, list[Any]]  # column name -> one value a row


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of one source.

    Attributes:
        source: what is read, as the user named it.
        numbers: of the rows; the first row with data of a source is 1.
        columns: the values of each column; None where a row lacks it.
        places: the line each row starts at, and the file of a folder; empty if there is neither.
        problems: why a row cannot be used, by its place in this batch.
    """

    source: str
    numbers: range
    columns: Values
    places: list[str]
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    def where(self, index: int) -> str:
        """Row and line of the row at `index` of this batch."""
        place = f" ({self.places[index]})" if self.places[index] else ""
        return f"row {self.numbers[index]:,}{place}"


Parsed = Iterator[tuple[str, dict[str, Any] | str]]  # the place of a row; its cells or problem


def require_source(source: str, tell: Tell = lambda line: None) -> None:
    """Raise DataError unless `source` is there, or may be a name on the hub. Imports nothing.

    That the hub will be asked is told at once: it may take half a minute to say no.
    """
    try:
        if source == "-" or (source and Path(_path_and_part(source)[0]).exists()):
            return
    except OSError as error:  # a folder on the way may not be entered
        raise DataError(f"{source}: cannot be read ({error.strerror})") from error
    if re.match(r"\w+://", source):
        raise DataError(f"{source}: is an address; expected a file, which can be downloaded first")
    name = source.partition(":")[0]
    if kind_of(name) in SUFFIXES | _OFFICE or not _HUB_NAME.fullmatch(name):
        folder = Path(source).parent
        names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
        folded = {each.casefold(): each for each in names}
        near = difflib.get_close_matches(Path(source).name.casefold(), folded, 1)
        hint = f"; did you mean {folder / folded[near[0]]}?" if near else ""
        raise DataError(f"{source}: file not found{hint}")
    tell(f"{source}: there is no such file; asking the hub for a data set of that name")


def read_rows(source: str, columns: Columns, batch_size: int, tell: Tell) -> Iterator[Rows]:
    """Rows of a file, a folder, an archive or hub data set (`name:part`), or stdin (`-`).

    Args:
        source: as the user named it.
        columns: what is asked for, and the layout of the files.
        batch_size: rows of a batch, at most.
        tell: called with what is worth a warning.

    Raises:
        DataError: the source is missing, empty, unreadable, lacks a column, or is malformed in a
            way that leaves the rest of it unsure.
    """
    require_source(source)
    name = "stdin" if source == "-" else source
    parsed, first = _parsed(source, columns, tell), 1
    while rows := list(islice(parsed, batch_size)):
        cells = [row if isinstance(row, dict) else {} for _, row in rows]
        names = dict.fromkeys(chain.from_iterable(cells))
        values = {column: [row.get(column) for row in cells] for column in names}
        problems = {i: row for i, (_, row) in enumerate(rows) if isinstance(row, str)}
        if first == 1 and names:
            columns.require_in(list(names), name)
        numbers = range(first, first + len(rows))
        yield Rows(name, numbers, values, [place for place, _ in rows], problems)
        first += len(rows)
    if first == 1:
        raise DataError(f"{name}: holds no rows; expected at least one row with data")


def _parsed(source: str, columns: Columns, tell: Tell) -> Parsed:
    """Choose the reader by what `source` is: stdin, a file, an archive, a folder or a hub name."""
    if columns.format and columns.format not in SUFFIXES | _OFFICE | _ARCHIVED:
        known = ", ".join([*PARSERS, "parquet"])
        raise DataError(f"unknown --format {columns.format!r}; expected {known}")
    if source == "-":
        kind = columns.format or "txt"
        if kind == "txt" and columns.label is not None:
            raise DataError(f"stdin: {NO_LABELS}; --format says that it is one of these")
        if kind not in PARSERS:
            raise DataError(f"stdin: {kind} cannot be read from a pipe; expected a file")
        _tell_unused("stdin", kind, columns, tell)
        return _of_lines("stdin", sys.stdin.buffer, kind, columns, tell)
    name, part = _path_and_part(source)
    path = Path(name)
    if path.is_dir() or is_archive(path):
        return _of_folder(source, path, part, columns, tell)
    if path.exists():
        return _of_file(source, File(path.name, partial(path.open, "rb")), columns, tell)
    _tell_unused(source, "the hub", columns, tell)
    name, _, split = source.partition(":")
    return _of_hub(source, name, split or "train", tell)


def _path_and_part(source: str) -> tuple[str, str]:
    """`folder:test` is the part `test` of a folder or archive, unless that is its name."""
    name, _, part = source.rpartition(":")
    if name and not Path(source).exists() and (Path(name).is_dir() or is_archive(Path(name))):
        return name, part
    return source, ""


def _of_file(source: str, file: File, columns: Columns, tell: Tell) -> Parsed:
    kind = columns.format or kind_of(file.name)
    if kind in _OFFICE:
        raise DataError(f"{source}: .{kind} cannot be read; save it as CSV UTF-8")
    if kind in _ARCHIVED:
        raise DataError(f"{source}: .{kind} cannot be unpacked here; unpack it first")
    if kind not in SUFFIXES:
        known = ", ".join(f".{name}" for name in PARSERS)
        raise DataError(
            f"{source}: unknown format; expected {known} (each also .gz, .bz2, .xz) or .parquet; "
            "--format says which it is"
        )
    _tell_unused(source, kind, columns, tell)
    with opened(source, file) as stream:
        if kind == "parquet":
            yield from _of_parquet(source, stream)
        else:
            yield from _of_lines(source, stream, kind, columns, tell)


def _tell_unused(source: str, kind: str, columns: Columns, tell: Tell) -> None:
    """Say which options have no meaning for what is read; it may be one of several sources."""
    asked = [option for option in _USED_BY if getattr(columns, option) is not None]
    unused = [f"--{option}" for option in asked if kind not in _USED_BY[option]]
    if unused:
        tell(f"{source}: {', '.join(unused)} not used: {kind} has no such thing")


def _of_lines(source: str, stream: BinaryIO, kind: str, columns: Columns, tell: Tell) -> Parsed:
    lines = decoded(source, stream, columns, tell)
    for line, row in PARSERS[kind](source, lines, columns, tell):
        yield f"line {line:,}" if line else "", row


def _of_folder(source: str, path: Path, part: str, columns: Columns, tell: Tell) -> Parsed:
    """Every file of a folder or archive that has rows, by name; or a folder of texts a class."""
    with files_in(source, path) as files:
        about = [file for file in files if _ABOUT.search(file.name)]
        known = [
            file
            for file in files
            if file not in about and (columns.format or kind_of(file.name) in SUFFIXES)
        ]
        if len(known) < len(files):
            others = {file.name for file in files} - {file.name for file in known}
            tell(f"{source}: passed over: {listed(sorted(others), 5)}")
        classes = _are_classes(source, known, columns)
        # The folder above a text is its label, which may be "test"; the part stands above that.
        chosen = _of_part(source, known, part, tell, above=2 if classes else 0)
        if not chosen:
            found = f"; found {listed([file.name for file in files], 5)}" if files else ""
            problem = "holds no file that can be read; expected CSV, JSONL, ..."
            raise DataError(f"{source}: {problem}{found}")
        if classes:
            _tell_unused(source, "txt", columns, tell)
            yield from _of_classes(source, chosen, columns)
            return
        first: list[str] = []
        for file in chosen:
            for place, row in _of_file(f"{source}/{file.name}", file, columns, tell):
                names = sorted(row) if isinstance(row, dict) else first
                first = first or names
                kind = columns.format or kind_of(file.name)
                if kind in {*_TABLES, "parquet"} and names != first:
                    raise DataError(
                        f"{source}/{file.name}: has the columns {listed(names)}; expected those of "
                        f"{chosen[0].name}, {listed(first)}"
                    )
                yield ", ".join(filter(None, (file.name, place))), row


def _are_classes(source: str, files: list[File], columns: Columns) -> bool:
    """Whether the files are texts in the folder of their label.

    Raises:
        DataError: some are, and what folder names the label of the others is unsure.
    """
    if not files or any((columns.format or kind_of(file.name)) != "txt" for file in files):
        return False
    depths = {file.name.count("/"): file.name for file in files}
    if len(depths) > 1 and columns.label is not None:
        names = listed([depths[min(depths)], depths[max(depths)]])
        raise DataError(
            f"{source}: {names} lie at several depths; expected each text right in the folder of "
            "its label"
        )
    return 0 not in depths


def _of_part(
    source: str, files: list[File], part: str, tell: Tell, *, above: int = 0
) -> list[File]:
    """The files of one part, where names say train, test or validation; not the last `above`."""
    parts: dict[str, list[File]] = {}
    for file in files:
        name = "/".join(file.name.split("/")[:-above]) if above else file.name
        words = re.split(r"[^a-z]+", name.lower())
        found = next((_PARTS[word] for word in words if word in _PARTS), "")
        parts.setdefault(found, []).append(file)
    wanted = _PARTS.get(part, part)
    if part:
        if wanted not in parts:
            names = listed(sorted(filter(None, parts)))
            raise DataError(f"{source}: no part {part!r}; the names of its files say {names}")
        return parts[wanted]
    if len(parts) < 2:
        return files
    own = "train" if "train" in parts else ""
    others = sorted(parts.keys() - {own, ""})
    if own not in parts:
        ways = " or ".join(f"{source}:{name}" for name in others)
        raise DataError(f"{source}: holds several parts and none to train on; say {ways}")
    which = "only the part train is" if own else "only files whose name says no part are"
    tell(f"{source}: {which} read; there are also {listed(others)} (as {source}:{others[0]})")
    return parts[own]


def _of_classes(source: str, files: list[File], columns: Columns) -> Parsed:
    """A text a file, in the folder of its label; in the order of the numbers in their names."""
    label = columns.label or "label"
    for file in files:
        with opened(source, file) as stream:
            content = stream.read()
        try:
            text = content.decode(columns.encoding or "utf-8-sig")
        except UnicodeError:
            yield file.name, f"is not {columns.encoding or 'UTF-8'}"
            continue
        cells = {columns.text[0]: text.strip("\r\n"), label: file.name.split("/")[-2]}
        yield file.name, {**cells, "file": file.name}


def _of_parquet(source: str, stream: Any) -> Parsed:  # noqa: ANN401  a file or a member of one
    import pyarrow as pa  # 120 MB that only this format needs
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
        names = _class_names(file.schema_arrow.metadata or {})
        for batch in file.iter_batches(1_000):
            for row in batch.to_pylist():
                yield "", _with_names(row, names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{source}: cannot be read ({' '.join(str(error).split())})") from error


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the class ids in the columns that `datasets` wrote as ClassLabel."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {column: of["names"] for column, of in features.items() if "names" in of}


def _with_names(row: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """The id -1 is a hidden label, so None."""
    for column, known in names.items():
        label_id = row[column]
        found = label_id is not None and 0 <= label_id < len(known)
        row[column] = known[label_id] if found else None
    return row


def _of_hub(source: str, name: str, split: str, tell: Tell) -> Parsed:
    import logging

    import datasets  # a second

    tell(f"{source}: is read from the hub, as there is no such file")
    datasets.disable_progress_bars()
    for library in ("datasets", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    datasets.config.TORCH_AVAILABLE = False  # else every IterableDataset imports torch
    try:
        dataset = datasets.load_dataset(path=name, split=split, streaming=True)
        names = {
            column: feature.names
            for column, feature in (dataset.features or {}).items()
            if isinstance(feature, datasets.ClassLabel)
        }
        for row in dataset:
            yield "", _with_names(dict(row), names)
    except Exception as error:  # load_dataset has many readers behind it, each with its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ConnectionError):  # datasets puts names of classes into it
            reason = "it cannot be reached, or has no such data set"
        problem = "no such file, and not readable from the hub"
        raise DataError(f"{source}: {problem} ({reason})") from error
