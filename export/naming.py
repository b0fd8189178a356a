"""What an artifact is called, and where it is served from. Without torch."""

import re
import unicodedata
from pathlib import Path

from export.errors import ExportError
from service.runtime.artifact import ArtifactError, check_name
from service.runtime.versions import find_versions

_NUMBERS = re.compile(r"v?\d+([._-]\d+)*")


def named(out: Path, name: str | None, version: str | None) -> tuple[str, str]:
    """Name and version of the artifact in `out`, as far as they are not given.

    A folder with the name of the version, or of numbers as in `models/tickets/2`, is one version in
    the folder of the model; any other is the model.

    Raises:
        ExportError: one of them cannot be used; the message has one that can.
    """
    folder = out.absolute()
    is_version = folder.name == version or (version is None and _NUMBERS.fullmatch(folder.name))
    if is_version and folder.parent.name:
        name, version = name or folder.parent.name, folder.name
    return _usable("name", name or folder.name), _usable("version", version or "1")


def served_as(out: Path) -> Path:
    """What to serve for the artifact `out`: the folder of its versions if it is the highest."""
    try:
        if find_versions(out.parent, warn=False).path().samefile(out):
            return out.parent
    except ArtifactError:
        pass
    return out


def _usable(kind: str, value: str) -> str:
    try:
        return check_name(kind, value)
    except ArtifactError as error:
        letters = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
        better = re.sub(r"[^A-Za-z0-9._-]+", "-", letters).strip("-._")[:64] or "model"
        raise ExportError(f"{error}; choose one with --{kind} {better}") from None
