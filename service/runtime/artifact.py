"""The artifact: the only thing that training and serving share.

A directory with `manifest.json` and the files that it lists. The reader refuses a directory in
which anything is missing, extra or changed, and hands out bytes that were hashed, so that what is
served is what was exported. It opens the directory once and each file once, relative to it: what is
exchanged on disk meanwhile changes nothing.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from service.runtime.errors import HeedError
from service.runtime.folder import Folder, FolderError
from service.runtime.graph import GraphError, check_self_contained
from service.runtime.strict_json import parse_json

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.model"
PAD_TOKEN_ID = 0
UNKNOWN_TOKEN_ID = 1
INPUT_NAMES = ("input_ids", "attention_mask")
OUTPUT_NAMES = ("logits", "attention")
PRECISIONS = ("fp32", "int8")
_LONGEST = 65_536  # tokens; more is no length of a text
_LARGEST = 2**31 - 1  # bytes; Protocol Buffers hold no more
_LARGEST_FIGURE = 2**53  # larger integers are no floats, which clients read them as
_LARGEST_OPSET = 1000
_LARGEST_MANIFEST = 16 * 2**20  # bytes; 64,000 labels fit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ArtifactError(HeedError):
    """A directory that is not a sound artifact; the message says which file and why, in a line."""


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file of the artifact."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "FileEntry":
        """The entry that `content` must have."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    `metrics` has the parts `validation` and `test` (absent if there was none); `parity` is the
    largest difference between the logits of PyTorch and of the exported graph on real texts.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    max_length: int
    precision: str
    opset: int
    metrics: Mapping[str, Mapping[str, float]]
    parity: Mapping[str, float]
    git_commit: str | None
    libraries: Mapping[str, str]
    files: Mapping[str, FileEntry]
    inputs: tuple[str, ...] = INPUT_NAMES
    outputs: tuple[str, ...] = OUTPUT_NAMES
    pad_token_id: int = PAD_TOKEN_ID
    format_version: int = field(default=FORMAT_VERSION)

    def to_json(self) -> str:
        """The text of `manifest.json`; raises `ArtifactError` where `from_json` would refuse it."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        self.from_json(text)
        return text

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Parse and check; raises `ArtifactError` in one line."""
        try:
            raw = parse_json(text)
        except ValueError as error:
            raise ArtifactError(f"{MANIFEST_FILE} is not JSON in UTF-8: {error}") from None
        if not isinstance(raw, dict):
            raise ArtifactError(f"{MANIFEST_FILE} must hold an object, got {type(raw).__name__}")
        _check_fields(raw)
        raw["files"] = {name: FileEntry(**entry) for name, entry in raw["files"].items()}
        for key in ("labels", "inputs", "outputs"):
            raw[key] = tuple(raw[key])
        return cls(**raw)


@dataclass(frozen=True)
class Artifact:
    """A verified artifact in memory: nothing is read from disk again."""

    path: Path
    manifest: Manifest
    manifest_sha256: str
    model: bytes
    tokenizer: bytes


def read_artifact(path: Path | str) -> Artifact:
    """Read and verify the directory `path`.

    Raises:
        ArtifactError: unknown format version, a missing, extra or irregular file, a wrong size or
            hash, a graph that needs another file; the message names the directory.
    """
    folder = Path(path)
    with _named(folder), Folder.opened(folder) as opened:
        text = opened.read(MANIFEST_FILE, _LARGEST_MANIFEST)
        manifest = Manifest.from_json(text)
        contents = _read_files(opened, manifest.files)
        try:
            check_self_contained(contents[MODEL_FILE])
        except GraphError as error:
            raise ArtifactError(f"{MODEL_FILE} {error}") from None
    digest = hashlib.sha256(text).hexdigest()
    return Artifact(folder, manifest, digest, contents[MODEL_FILE], contents[TOKENIZER_FILE])


def read_manifest(path: Path | str) -> Manifest:
    """What the artifact `path` says of itself; its files are not looked at.

    Raises:
        ArtifactError: there is no sound manifest.
    """
    folder = Path(path)
    with _named(folder), Folder.opened(folder) as opened:
        return Manifest.from_json(opened.read(MANIFEST_FILE, _LARGEST_MANIFEST))


def check_name(kind: str, value: str) -> str:
    """`value` if it may stand in URLs, file names and metrics; raises `ArtifactError`."""
    if not _NAME.fullmatch(value):
        raise ArtifactError(
            f"{kind} {value!r} is not usable: expected 1 to 64 of A-Z a-z 0-9 . _ -, "
            "a letter or digit first"
        )
    return value


def check_labels(labels: Sequence[str]) -> None:
    """Return if an artifact may have these; `heed train` asks before, `heed serve` after."""
    seen: set[str] = set()
    for label in labels:
        reason = label_problem(label)
        if label.strip() in seen:
            reason = "is there twice, but for blanks at its ends"
        if reason:
            raise ArtifactError(f"{label!r} {reason}")
        seen.add(label.strip())


def label_problem(label: str) -> str | None:
    """Why `label` cannot be one; None if it can: people must see it, in one line of a terminal."""
    categories = {unicodedata.category(character) for character in label}
    if all(category[0] in "CZ" for category in categories):
        return "shows nothing"
    if categories & {"Cc", "Cs", "Zl", "Zp"}:
        return "holds a control character"
    return None


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Errors inside say which folder they are about."""
    try:
        yield
    except (ArtifactError, FolderError) as error:
        raise ArtifactError(f"{folder}: {error}") from None


def _check_fields(raw: dict[str, Any]) -> None:
    found = raw.get("format_version")
    if type(found) is not int or found != FORMAT_VERSION:
        raise ArtifactError(
            f"format version {found!r} is unknown, this Heed reads {FORMAT_VERSION}"
        )
    expected = {item.name for item in fields(Manifest)}
    for problem, names in (
        ("lacks", expected - raw.keys()),
        ("has unknown", raw.keys() - expected),
    ):
        if names:
            raise ArtifactError(f"{MANIFEST_FILE} {problem} {', '.join(sorted(names))}")
    checks: dict[str, bool] = {
        "labels": _is_strings(raw["labels"]) and len(raw["labels"]) > 1,
        "inputs": _is_strings(raw["inputs"]) and tuple(raw["inputs"]) == INPUT_NAMES,
        "outputs": _is_strings(raw["outputs"]) and tuple(raw["outputs"]) == OUTPUT_NAMES,
        "max_length": type(raw["max_length"]) is int and 0 < raw["max_length"] <= _LONGEST,
        "name": isinstance(raw["name"], str),
        "version": isinstance(raw["version"], str),
        "metrics": isinstance(raw["metrics"], dict)
        and all(map(_is_figures, raw["metrics"].values())),
        "parity": _is_figures(raw["parity"]),
        "git_commit": raw["git_commit"] is None or isinstance(raw["git_commit"], str),
        "libraries": isinstance(raw["libraries"], dict)
        and _is_strings(list(raw["libraries"].values())),
        "opset": type(raw["opset"]) is int and 0 < raw["opset"] <= _LARGEST_OPSET,
        "pad_token_id": type(raw["pad_token_id"]) is int and raw["pad_token_id"] == PAD_TOKEN_ID,
        "precision": raw["precision"] in PRECISIONS,
        "files": _is_files(raw["files"]),
    }
    for name, good in checks.items():
        if not good:
            raise ArtifactError(f"{MANIFEST_FILE} has an unusable value for {name}")
    try:
        check_labels(raw["labels"])
    except ArtifactError as error:
        raise ArtifactError(f"{MANIFEST_FILE} has an unusable value for labels: {error}") from None
    for name in ("name", "version"):
        check_name(name, raw[name])


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_figures(value: object) -> bool:
    return isinstance(value, dict) and all(
        (type(item) is float and math.isfinite(item))
        or (type(item) is int and abs(item) <= _LARGEST_FIGURE)
        for item in value.values()
    )


def _is_files(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {MODEL_FILE, TOKENIZER_FILE}
        and all(isinstance(entry, dict) for entry in value.values())
        and all(entry.keys() == {"size", "sha256"} for entry in value.values())
        and all(_is_entry(entry["size"], entry["sha256"]) for entry in value.values())
    )


def _is_entry(size: object, sha256: object) -> bool:
    return (
        type(size) is int
        and 0 <= size <= _LARGEST
        and isinstance(sha256, str)
        and _SHA256.fullmatch(sha256) is not None
    )


def _read_files(folder: Folder, entries: Mapping[str, FileEntry]) -> dict[str, bytes]:
    extra = folder.names() - entries.keys() - {MANIFEST_FILE}
    if extra:
        raise ArtifactError(f"unexpected file {min(extra)!r}: not listed in {MANIFEST_FILE}")
    contents = {name: folder.read(name, entry.size) for name, entry in entries.items()}
    for name, content in contents.items():
        found, expected = FileEntry.of(content), entries[name]
        if found.size != expected.size:
            raise ArtifactError(f"{name} has {found.size} bytes, the manifest says {expected.size}")
        if found.sha256 != expected.sha256:
            raise ArtifactError(f"{name} was changed: its SHA-256 is not the manifest's")
    return contents
