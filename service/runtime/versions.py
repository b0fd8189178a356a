"""Which folder is which version of which model: the one rule of all that read an artifact.

A version is a folder named like the version in its manifest, of the model that its neighbours are
versions of. Copies, backups and other models beside it are passed over, with a warning.
Standard library only.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from service.runtime.artifact import MANIFEST_FILE, ArtifactError, Manifest, read_manifest

RUN_FILE = "run.json"  # is in what `heed train` writes, which is not an artifact yet
_SHOWN = 5  # of many folders, in a message

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Versions:
    """The versions of one model on disk, at least one.

    Attributes:
        folder: an artifact itself, or the folder of the versions.
        manifests: by version, the highest last.
        passed_over: by the name of the folder, why it is no version.
        is_artifact: whether `folder` is the only version itself.
    """

    folder: Path
    manifests: Mapping[str, Manifest]
    passed_over: Mapping[str, str]
    is_artifact: bool = False

    @property
    def newest(self) -> str:
        """The highest version."""
        return list(self.manifests)[-1]

    @property
    def model(self) -> str:
        """The name of the model."""
        return self.manifests[self.newest].name

    def path(self, version: str | None = None) -> Path:
        """The artifact of a version, the highest if none is named; raises `ArtifactError`."""
        version = self.newest if version is None else version
        if version not in self.manifests:
            reason = self.passed_over.get(version, "there is no such version")
            raise ArtifactError(f"{self.folder / version}: {reason}")
        return self.folder if self.is_artifact else self.folder / version


def find_versions(path: Path | str, model: str | None = None, *, warn: bool = True) -> Versions:
    """`path` itself if it is an artifact, else the versions right below it.

    A link at `path` is followed once, to a folder that from then on is meant, whatever becomes of
    the link. That is safe: whoever can switch it could as well exchange the folder, and what is
    read is one folder, opened once, in which no file may be a link (`service.runtime.folder`).

    Args:
        path: an artifact, a folder of versions, or a link to one of these.
        model: its name, if that is known; versions of others are passed over.
        warn: whether the log names what is passed over.

    Raises:
        ArtifactError: there is no version, or versions of several models and nothing says which.
    """
    given, folder = Path(path), _followed(Path(path))
    if _has(folder, MANIFEST_FILE):
        manifest = read_manifest(folder)
        if model not in (None, manifest.name):
            raise ArtifactError(f"{given}: is model {manifest.name}; expected model {model}")
        return Versions(folder, {manifest.version: manifest}, {}, is_artifact=True)
    if _has(folder, RUN_FILE):
        _refuse_run(given)
    found, passed_over = _look(folder)
    model = model or _model_of(given, folder, found)
    others = {version for version, manifest in found.items() if manifest.name != model}
    passed_over |= {
        version: f"it is of model {found[version].name}, not {model}" for version in others
    }
    if warn:
        for name, reason in sorted(passed_over.items()):
            _LOGGER.warning("%s is passed over: %s", folder / name, reason)
    manifests = {
        version: found[version]
        for version in sorted(found, key=version_key)
        if version not in others
    }
    if not manifests:
        _refuse(given, passed_over)
    return Versions(folder, manifests, passed_over)


def is_run(path: Path | str) -> bool:
    """Whether `path` is what `heed train` writes."""
    folder = Path(path)
    return (folder / RUN_FILE).is_file() and not (folder / MANIFEST_FILE).exists()


def version_key(version: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts versions as people read them: `1.9` below `1.10`, digits below letters, `01` below `1`.

    No two versions are equal: which one is the highest must not depend on the file system.
    """
    parts = re.findall(r"\d+|[^\d.]+", version)
    numbers = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return numbers, version


def _followed(path: Path) -> Path:
    try:
        if not path.exists():
            if path.is_symlink():
                raise ArtifactError(f"{path} is a symbolic link that leads nowhere")
            raise ArtifactError(f"{path} does not exist; expected an artifact of heed export")
        folder = path.resolve(strict=True) if path.is_symlink() else path
        if not folder.is_dir():
            raise ArtifactError(f"{path}: is not a directory; expected an artifact of heed export")
    except (OSError, RuntimeError) as error:
        raise ArtifactError(f"{path} cannot be read: {_reason(error)}") from None
    return folder


def _has(folder: Path, name: str) -> bool:
    """Whether there is something by that name, a broken link too."""
    try:
        (folder / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read: {_reason(error)}") from None
    return True


def _look(folder: Path) -> tuple[dict[str, Manifest], dict[str, str]]:
    """The manifests of folders that bear the name of their version, and why others do not count.

    What is hidden, or holds no manifest, is not meant to be a version.
    """
    found, passed_over = {}, {}
    try:
        names = [child.name for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read: {_reason(error)}") from None
    for name in names:
        try:
            if not _has(folder / name, MANIFEST_FILE):
                continue
            manifest = read_manifest(folder / name)
        except ArtifactError as error:
            passed_over[name] = str(error).removeprefix(f"{folder / name}").lstrip(": ")
            continue
        if name == manifest.version:
            found[name] = manifest
        else:
            own = f"{manifest.name} version {manifest.version}"
            passed_over[name] = f"it is {own}; expected a folder named {manifest.version}"
    return found, passed_over


def _model_of(given: Path, folder: Path, found: Mapping[str, Manifest]) -> str | None:
    """The model that all versions are of, or that the folder is named after; else an error."""
    versions = defaultdict(list)
    for version in sorted(found, key=version_key):
        versions[found[version].name].append(version)
    if len(versions) < 2:
        return next(iter(versions), None)
    for name in (given.absolute().name, folder.name):
        if name in versions:
            return name
    models = "; ".join(f"{name}: {', '.join(own)}" for name, own in sorted(versions.items()))
    example = given / min(found, key=version_key)
    raise ArtifactError(
        f"{given} holds versions of several models ({models}); name one folder, {example} say"
    )


def _refuse(path: Path, passed_over: Mapping[str, str]) -> NoReturn:
    if not passed_over:
        raise ArtifactError(f"{path} holds no {MANIFEST_FILE}, nor does a folder right below it")
    reasons = [f"{name}: {reason}" for name, reason in sorted(passed_over.items())]
    more = len(reasons) - _SHOWN
    shown = "; ".join(reasons[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    raise ArtifactError(
        f"{path} holds no version of a model; name one folder, {path / min(passed_over)} say, or "
        f"mend it: {shown}"
    )


def _refuse_run(path: Path) -> NoReturn:
    raise ArtifactError(
        f"{path} is a run, not an artifact; export it first: heed export {path} --out "
        f"artifacts/{path.absolute().name}"
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
