"""Changes of a key file: as text, so that comments and the order of people stay."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from service.http.keys import ID_LENGTH, PREFIX, SECRET_LENGTH, Key, KeyFileError, parse, read

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEADER = """\
# API keys of Heed: the SHA-256 of each, never a key. People may edit this, and so do
# heed keys new and heed keys revoke. A running service reads it again when it changes.
"""


def make_secret() -> tuple[str, str, str]:
    """A new key of 256 random bits: its id, the key itself, and its SHA-256 in hex."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))
    number, digits = secrets.randbits(256), ""
    for _ in range(SECRET_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits += _ALPHABET[digit]
    key = f"{PREFIX}{key_id}_{digits}"
    return key_id, key, hashlib.sha256(key.encode()).hexdigest()


def add(path: Path, key: Key) -> None:
    """Append `key` to the file, which is made if there is none.

    Raises:
        KeyFileError: the file cannot be read, used or written.
    """

    def append(text: str) -> str:
        gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return (text or _HEADER + "\n") + gap + _block(key)

    _change(path, append, create=True)


def revoke(path: Path, key_id: str, now: datetime) -> Key:
    """Write into the entry that it is revoked; the entry as it is then.

    Raises:
        KeyFileError: there is no such entry, or the file cannot be read, used or written.
    """

    def insert(text: str) -> str:
        entry = _entry(parse(text.encode(), str(path)), key_id, path)
        if entry.revoked is not None:
            return text
        line = re.compile(rf"""^([ \t]*)id[ \t]*=[ \t]*["']{key_id}["'].*$""", re.MULTILINE)
        stamp = _toml(now.astimezone(UTC))
        return line.sub(lambda found: f"{found[0]}\n{found[1]}revoked = {stamp}", text)

    keys = _change(path, insert, create=False)
    entry = _entry(keys, key_id, path)
    if entry.revoked is None:
        raise KeyFileError(
            f"{path}: found no line with this id; add `revoked = {_toml(now)}` to it"
        )
    return entry


def _entry(keys: list[Key], key_id: str, path: Path) -> Key:
    for key in keys:
        if key.id == key_id:
            return key
    raise KeyFileError(f"{path}: has no key with this id; see heed keys list")


def _block(key: Key) -> str:
    fields = key.model_dump(exclude_none=True).items()
    return "[[keys]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in fields)


def _toml(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    # JSON's numbers, strings and lists are TOML's, as long as no string holds half a surrogate.
    return json.dumps(value, ensure_ascii=False)


def _change(path: Path, edit: Callable[[str], str], *, create: bool) -> list[Key]:
    """Replace the file by `edit` of its text, with nobody in between, and only by a sound one."""
    try:
        with _locked(path.resolve(), create=create) as target:
            read(target)  # a complaint about what was there already
            text = target.read_text("utf-8")
            changed = edit(text)
            keys = parse(changed.encode(), str(path))
            if changed != text:
                _replace(target, changed)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    return keys


@contextlib.contextmanager
def _locked(path: Path, *, create: bool) -> Iterator[Path]:
    """Hold the lock of the file at `path`; one that was replaced while we waited is not it."""
    while True:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                yield path
                return
        finally:
            os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write beside `path` and rename; owner and mode stay."""
    before = path.stat()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, before.st_mode & 0o777)
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, before.st_uid, before.st_gid)
            os.fsync(descriptor)
        os.replace(name, path)  # noqa: PTH105  beside os.fdopen
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
