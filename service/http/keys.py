"""API keys: the file that holds their hashes, and whether a key that was sent is one of them."""

import hashlib
import hmac
import math
import os
import stat
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator
from structlog.typing import FilteringBoundLogger

from service.http.ratelimit import Quota
from service.networks import is_loopback
from service.runtime.errors import HeedError
from service.runtime.strict_toml import MAX_BYTES, parse_toml
from service.settings import RequestRate, Settings

ScopeName = Literal["classify", "explain", "batch", "admin"]
State = Literal["active", "expired", "revoked"]

PREFIX = "heed_"  # heed_ID_SECRET: what scanners for leaked secrets look for
ID_LENGTH = 8
SECRET_LENGTH = 43  # base62: 62^43 > 2^256
_ID = slice(len(PREFIX), len(PREFIX) + ID_LENGTH)
_KEY_LENGTH = len(PREFIX) + ID_LENGTH + 1 + SECRET_LENGTH

CHECK_S = 1.0  # a change of the file counts after this many seconds at the latest
_NO_DIGEST = bytes(32)

_Name = Annotated[str, Field(pattern=r"^\w[\w .@:/+-]{0,63}$")]
_NAME = "1 to 64 letters, digits, spaces or any of ._@:/+-, the first a letter or digit"
_EXPECTED = {
    "id": f"{ID_LENGTH} letters or digits",
    "client": _NAME,
    "models": _NAME,
    "sha256": "64 hex digits",
}
_Signature = tuple[int, int, int, int]


class KeyFileError(HeedError):
    """A key file that cannot be used; the message names the file and the entry, never a value."""


class Key(BaseModel):
    """An entry of the file. The key itself is in nobody's hands but its client's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str = Field(pattern=rf"^[0-9A-Za-z]{{{ID_LENGTH}}}$")
    client: _Name
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: list[ScopeName] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    rate_limit: RequestRate | None = None
    burst: int | None = Field(default=None, ge=1, le=1_000_000)  # requests
    models: list[_Name] | None = None  # all, if None

    @field_validator("created", "expires", "revoked", mode="before")
    @classmethod
    def _day(cls, value: object) -> object:
        """A day alone means its beginning, in UTC."""
        if isinstance(value, date) and not isinstance(value, datetime):
            return datetime.combine(value, time(), UTC)
        return value

    def state(self, now: datetime) -> State:
        """Whether it opens anything at `now`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def quota(self, default_rate: float) -> Quota | None:
        """How many requests it may make; by default a burst is what a second allows."""
        rate = default_rate if self.rate_limit is None else self.rate_limit
        return Quota(rate, self.burst or max(1, math.ceil(rate))) if rate else None


def parse(content: bytes, name: str) -> list[Key]:
    """The entries of a key file.

    Raises:
        KeyFileError: with `name`, and the line or the entry that is wrong.
    """
    try:
        document = parse_toml(content)
    except ValueError as error:
        raise KeyFileError(f"{name}: {error}") from None
    entries = document.get("keys", [])
    if document.keys() - {"keys"} or not isinstance(entries, list):
        raise KeyFileError(f"{name}: expected tables [[keys]] and nothing else")
    keys: list[Key] = []
    places: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        key = _checked(entry, f"{name}: entry {number}")
        if key.id in places:
            raise KeyFileError(f"{name}: entries {places[key.id]} and {number} have the same id")
        places[key.id] = number
        keys.append(key)
    return keys


def _checked(entry: Any, place: str) -> Key:  # noqa: ANN401  whatever TOML holds
    try:
        return Key.model_validate(entry)
    except ValidationError as error:
        raise KeyFileError(f"{place}: {explain_invalid(error)}") from None


def explain_invalid(error: ValidationError) -> str:
    """Which field of an entry is wrong, and what was expected. Never what was there."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if problem["type"] == "extra_forbidden":  # its name may be anything
        return f"has an unknown field; known: {', '.join(Key.model_fields)}"
    field = "".join(str(part) for part in problem["loc"][:1])
    if problem["type"] == "string_pattern_mismatch":
        return f"{field}: expected {_EXPECTED[field]}"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{field}: {reason}" if field else "expected a table"


def read(path: Path) -> list[Key]:
    """The entries of the file at `path`.

    Raises:
        KeyFileError: it cannot be read, or `parse` refuses it.
    """
    _signature(path)  # a pipe would be waited for
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    return parse(content, str(path))


def _signature(path: Path) -> _Signature:
    """What differs after every change of the file."""
    try:
        status = os.stat(path)  # noqa: PTH116  half the price of Path.stat
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path}: is not a file")
    if status.st_size > MAX_BYTES:
        raise KeyFileError(f"{path}: has more than {MAX_BYTES} bytes")
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


class Keys:
    """The keys that are known; the file is looked at once a second, while requests come."""

    def __init__(self, path: Path, logger: FilteringBoundLogger, now: float) -> None:
        """Read the file.

        Args:
            path: the key file.
            logger: learns when the file was read again, or could not be.
            now: seconds of a monotonic clock.

        Raises:
            KeyFileError: as `read`.
        """
        self._path = path
        self._logger = logger
        self._checked_at = now
        self._trouble = ""
        # Before reading: what is written meanwhile has another signature, and is read next time.
        self._signature = _signature(path)
        self._take(read(path))

    def verify(self, given: bytes, now: float) -> Key | None:
        """The entry of the key that was sent, whatever its state; None if there is none.

        The id is public, so looking it up tells nothing. One comparison, in constant time and with
        something even if the id is unknown, so duration says neither which ids exist nor how much
        of a digest was right, and does not grow with the number of keys.
        """
        if now - self._checked_at >= CHECK_S:
            self._checked_at = now
            self._refresh()
        if len(given) != _KEY_LENGTH:
            return None
        digest, key = self._known.get(given[_ID], (_NO_DIGEST, None))
        same = hmac.compare_digest(digest, hashlib.sha256(given).digest())
        return key if same else None

    def _refresh(self) -> None:
        """Take over a file that has changed; what was known stays if it cannot be used."""
        try:
            signature = _signature(self._path)
            if signature != self._signature:
                self._signature = signature  # so a file that is wrong is parsed once, too
                self._take(read(self._path))
        except KeyFileError as error:
            if str(error) != self._trouble:  # a line for each trouble, not one a second
                self._logger.error("api_keys_not_read", reason=str(error), kept=len(self._known))
            self._trouble = str(error)
        else:
            self._trouble = ""

    def _take(self, keys: list[Key]) -> None:
        self._known = {key.id.encode(): (bytes.fromhex(key.sha256), key) for key in keys}
        now = datetime.now(UTC)
        active = sum(key.state(now) == "active" for key in keys)
        self._logger.info("api_keys_read", active=active, of=len(keys))


def warn_if_open(settings: Settings, logger: FilteringBoundLogger) -> None:
    """Say that everybody may come in, if so: no key file, and an address that others reach."""
    if settings.api_keys_file is not None:
        return
    doors = {"classify": settings.host}
    if settings.admin_port is not None:
        doors["change the model"] = settings.admin_host
    for what, host in doors.items():
        if not is_loopback(host):
            detail = f"no API keys: everybody who reaches this port may {what}; see heed keys"
            logger.warning("open_to_everybody", host=host, detail=detail)
