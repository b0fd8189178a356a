"""Files to read: packed ones as their content, folders and archives as what is in them."""

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from model.columns import DataError
from model.lines import PARSERS

SUFFIXES = {*PARSERS, "parquet"}
_PACKED: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


@dataclass(frozen=True)
class File:
    """A file by its name below what is read, and how to open it."""

    name: str
    open: Callable[[], Any]


def kind_of(name: str) -> str:
    """The suffix that says the format: `csv` of `a.CSV.gz`; empty if there is none."""
    stem = re.sub(r"\.(gz|bz2|xz)$", "", name.lower())
    return stem.rpartition(".")[2] if "." in stem.rpartition("/")[2] else ""


def is_archive(path: Path) -> bool:
    """Whether `path` is a file that holds files."""
    return bool(_ARCHIVE.search(path.name)) and path.is_file()


@contextmanager
def opened(source: str, file: File) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked by its suffix.

    Raises:
        DataError: it cannot be opened or unpacked, there or later.
    """
    unpack = next((_PACKED[end] for end in _PACKED if file.name.lower().endswith(end)), None)
    try:
        with file.open() as raw, unpack(raw) if unpack else raw as stream:
            yield cast("BinaryIO", stream)
    except _BROKEN as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{source}: cannot be read ({reason})") from error


@contextmanager
def files_in(source: str, path: Path) -> Iterator[list[File]]:
    """The plain files of a folder or an archive, by name, without hidden ones.

    Numbers in names sort as numbers: 9.txt before 10.txt. Nothing is unpacked to the disk.
    """
    try:
        with _listing(path) as files:
            shown = [f for f in files if not re.search(r"(^|/)(\.|__MACOSX/)", f.name)]
            yield sorted(shown, key=lambda file: _natural(file.name))
    except _BROKEN as error:
        raise DataError(f"{source}: cannot be read ({error})") from error


@contextmanager
def _listing(path: Path) -> Iterator[list[File]]:
    if path.is_dir():
        found = [item for item in path.rglob("*") if item.is_file()]
        yield [File(item.relative_to(path).as_posix(), partial(item.open, "rb")) for item in found]
    elif path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            yield [File(of.filename, partial(_of_zip, archive, of)) for of in members]
    else:
        with tarfile.open(path) as tar:
            plain = [member for member in tar.getmembers() if member.isfile()]
            yield [File(of.name.removeprefix("./"), partial(tar.extractfile, of)) for of in plain]


def _of_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:  # noqa: ANN401  as `open`
    try:
        return archive.open(member)
    except RuntimeError as error:  # it asks for a password, or is packed in a way of its own
        encrypted = bool(member.flag_bits & 1)
        reason = "it needs a password: unpack it first" if encrypted else error
        raise zipfile.BadZipFile(str(reason)) from error


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
