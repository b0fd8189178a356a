"""A folder that is read as it was when it was opened: no links, no pipes, nothing outside of it."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class FolderError(ValueError):
    """Says in one line which file is not plain; the folder is not named."""


class Folder:
    """An open folder, which stays that folder whatever happens to its name."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator["Folder"]:
        """The folder `path`, closed at the end.

        Raises:
            FolderError: it is not there, or only a link to it.
        """
        try:
            descriptor = os.open(path, _OPEN | os.O_DIRECTORY)
        except FileNotFoundError:
            raise FolderError("does not exist") from None
        except OSError as error:
            if path.is_symlink():
                raise FolderError("is a symbolic link; expected the folder it points to") from None
            if isinstance(error, NotADirectoryError):
                raise FolderError("is not a directory") from None
            raise FolderError(f"cannot be opened: {error.strerror}") from None
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def names(self) -> set[str]:
        """What is in it."""
        return set(os.listdir(self._descriptor))  # noqa: PTH208  of a descriptor there is no Path

    def read(self, name: str, largest: int) -> bytes:
        """The bytes of a plain file, read once; anything else is refused before it is read.

        Args:
            name: of a file right in the folder.
            largest: bytes it may have; no more are read, whatever its size is said to be.

        Raises:
            FolderError: it is missing, no plain file, or larger.
        """
        try:
            # Non-blocking: opening a pipe would wait for its writer.
            descriptor = os.open(name, _OPEN | os.O_NONBLOCK, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise FolderError(f"{name} is missing") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                hint = "copy the folder with cp -rL"
                raise FolderError(f"{name} is a symbolic link; {hint}") from None
            raise FolderError(f"{name} cannot be read: {error.strerror}") from None
        try:
            _check_plain(name, os.fstat(descriptor), largest)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(largest)
        finally:
            os.close(descriptor)


def _check_plain(name: str, status: os.stat_result, largest: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FolderError(f"{name} is not a regular file")
    if status.st_nlink > 1:
        raise FolderError(
            f"{name} has {status.st_nlink} hard links, so it can be changed from outside the "
            "folder; copy the folder with cp -r and use the copy"
        )
    if status.st_size > largest:
        raise FolderError(f"{name} has {status.st_size} bytes, expected {largest} at most")
