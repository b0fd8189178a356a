"""Files that Heed writes: whole or not at all, and one line when there is no room for them."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.runtime.errors import HeedError


class FileError(HeedError):
    """A file or folder cannot be written; names it and the reason."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says of a write in the block (disk full, read-only, no right) is one line.

    Raises:
        FileError: names the file that the system named, else `path`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise FileError(f"{error.filename or path} cannot be written: {reason}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its name when the block ends well.

    Else it is removed, and what had the name has it still. Two processes do not share it. A link
    stays one; a pipe or a device such as /dev/stdout is written to itself.

    Raises:
        FileError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        with writing(path):
            yield path
        return
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
    except FileError as error:
        raise FileError(str(error).replace(str(temporary), str(path))) from None
    finally:
        temporary.unlink(missing_ok=True)
