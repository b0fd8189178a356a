"""A file or folder is written by one process at a time, and who that is can be said."""

import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from service.runtime.errors import HeedError
from service.runtime.files import writing

_SHOWN = 300  # characters of a lock, at most


class HeldError(HeedError):
    """Another process writes there; says which."""


@contextmanager
def locked(path: Path, subject: Path) -> Iterator[str | None]:
    """Hold the lock file `path` for the block; yields why it cannot be locked, if it cannot.

    The lock is the system's (`flock`): a process that is killed leaves none.

    Args:
        path: the lock file, made here and removed after.
        subject: what it is for.

    Raises:
        HeldError: another process holds it.
        FileError: it cannot be made.
    """
    with writing(path):
        descriptor, problem = _lock(path, subject)
    try:
        yield problem
    finally:
        with suppress(OSError):  # its folder may have another name by now
            path.unlink()
        os.close(descriptor)


def _lock(path: Path, subject: Path) -> tuple[int, str | None]:
    """An open descriptor with the lock, and why it is none."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, _SHOWN).decode(errors="replace").strip()
            os.close(descriptor)
            raise HeldError(
                f"{subject} is being written by {holder or 'another process'}"
            ) from None
        except OSError as error:  # as on some network file systems
            return descriptor, error.strerror
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # whoever held it took it away meanwhile
    command = shlex.join(["heed", *sys.argv[1:]])
    since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
    line = f"process {os.getpid()} on {socket.gethostname()} since {since}: {command}\n"
    with suppress(OSError):  # the disk is full; the lock holds without words too
        os.truncate(descriptor, 0)
        os.write(descriptor, line.encode(errors="replace"))
    return descriptor, None
