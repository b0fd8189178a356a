"""The folder of a run: held by one process, and what was in it stays until there is more."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.lock import locked
from service.runtime.files import writing
from service.runtime.versions import RUN_FILE

LOG_FILE = "log.jsonl"  # the first that a run writes
WEIGHTS_FILE = "checkpoint.safetensors"  # of the best epoch
STATE_FILE = "resume.safetensors"  # goes when the run is finished
METRICS_FILE = "metrics.json"  # comes when it is
_LOCK_FILE = ".lock"
_BEFORE = ".before"  # the run that is being replaced
_MOVING = ".before.moving"  # the same, while it is moved there or back


@contextmanager
def held(folder: Path, *, temporary: bool = False) -> Iterator[str | None]:
    """Make the folder and hold it for the block; yields why it cannot be locked, if it cannot.

    A folder that was made for the block, or is `temporary`, goes if it is empty after it.

    Raises:
        HeldError: another process holds it.
        FileError: it cannot be made.
    """
    goes = temporary or not folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder / _LOCK_FILE, folder) as problem:
            yield problem
    finally:
        if goes:
            with suppress(OSError):  # it may have another name by now, or hold a run
                folder.rmdir()


@contextmanager
def keeping(folder: Path, *, replace: bool) -> Iterator[None]:
    """For the block, put aside the run that it replaces.

    It comes back when the block fails before `drop_replaced`, unless it was stopped by hand and can
    go on.
    """
    if replace and (folder / RUN_FILE).exists():
        _move(folder, folder / _MOVING)
        (folder / _MOVING).rename(folder / _BEFORE)
    try:
        yield
    except BaseException as error:
        can_go_on = isinstance(error, KeyboardInterrupt) and (folder / STATE_FILE).exists()
        if not can_go_on:
            restore(folder)
        raise


def drop_replaced(folder: Path) -> None:
    """What was put aside goes: the new run has an epoch."""
    shutil.rmtree(folder / _BEFORE, ignore_errors=True)


def what_now(folder: Path, *, overwrite: bool) -> str:
    """What somebody who stopped a training can do."""
    if (folder / STATE_FILE).exists():
        instead = " in place of --overwrite" if overwrite else ""
        return f"stopped; the same command with --resume{instead} goes on in {folder}"
    if (folder / METRICS_FILE).exists():
        return f"stopped; the run in {folder} is as it was"
    return "stopped before anything was saved; the same command starts again"


def restore(folder: Path) -> None:
    """Bring back what was put aside, in place of what came after it."""
    if (folder / _BEFORE).exists():
        for path in _content(folder):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (folder / _BEFORE).rename(folder / _MOVING)  # from here on nothing must be removed
    tidy(folder)


def tidy(folder: Path) -> None:
    """End what a process that was killed had begun: moving a run back, writing a file."""
    if (folder / _MOVING).exists():
        _move(folder / _MOVING, folder)
        (folder / _MOVING).rmdir()
    for path in folder.glob(".*.tmp"):
        path.unlink()


def _move(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for path in _content(source):
        path.rename(target / path.name)


def _content(folder: Path) -> list[Path]:
    own = (_LOCK_FILE, _BEFORE, _MOVING)
    return [path for path in folder.iterdir() if path.name not in own]
