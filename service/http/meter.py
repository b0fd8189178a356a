"""How many bytes of a request have come, how long they took, and when that is too much. Pure."""

from dataclasses import dataclass
from typing import Final, Self

from service.http.refusals import Refusal
from service.settings import Settings

# Phases of a connection, in this order. Plain numbers: an Enum costs 50 ns a look.
HEAD: Final = 0  # until the header fields are complete; also a connection that is silent
BODY: Final = 1  # until the body is, whether the request is answered already or not
DONE: Final = 2  # the request is here: being answered, or answered and idle
CLOSING: Final = 3  # refused; the answers to requests before it are still to come
LINGER: Final = 4  # half closed: the client is to read the answer before the rest goes

# Never more at once into the parser, which cannot be stopped in the middle.
PIECE_BYTES: Final = 32_768
# Of a body, above `max_body_bytes`: the framing of its chunks.
FRAMING_BYTES: Final = 65_536
# After a refusal in the middle of a request. Closing at once would reset the connection, and a
# client that is still sending would see that instead of the answer.
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 65_536
# A client that reads so much of its answer may go on for another `write_timeout_s`.
PROGRESS_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """See the settings of the same names."""

    max_header_bytes: int
    max_header_fields: int
    max_body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    min_body_rate: int
    write_timeout_s: float
    min_read_rate: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Those of `settings`."""
        return cls(**{name: getattr(settings, name) for name in cls.__slots__})

    @property
    def shortest_s(self) -> float:
        """The shortest of the timeouts."""
        return min(self.header_timeout_s, self.body_timeout_s, self.write_timeout_s)


class Meter:
    """The phase of a connection, and what was used up in it.

    Times are those of a clock that ticks: `now_s` is up to a tick old.
    """

    __slots__ = ("_began_s", "_fed", "_gap", "_limits", "_since_s", "inside", "phase")

    def __init__(self, limits: ProtocolLimits, now_s: float) -> None:
        """A connection that was opened now."""
        self._limits = limits
        self._began_s = self._since_s = now_s
        self._fed = 0  # bytes of this phase
        self._gap = 0  # bytes since the last content of a body: chunk extensions, trailers
        self.phase = HEAD
        self.inside = False  # the head began in the middle of a piece, so `_fed` is too low

    @property
    def silent(self) -> bool:
        """Nothing of the next request has come."""
        return self.phase == HEAD and self._fed == 0

    def room(self) -> int:
        """How many bytes may be fed at once; at least 1 before the request is refused."""
        used = self._fed if self.phase == HEAD else 0
        return min(PIECE_BYTES, self._limits.max_header_bytes - used)

    def head_begins(self, now_s: float, *, inside: bool) -> None:
        """The first byte of a request; `inside` a piece, at a place that is not known."""
        self.phase = HEAD
        self.inside = inside
        self._since_s = now_s
        self._fed = -PIECE_BYTES if inside else 0

    def body_begins(self, now_s: float) -> None:
        """The header fields are complete."""
        self.phase = BODY
        self._since_s = self._began_s = now_s
        self._fed = 0
        self._gap = -PIECE_BYTES

    def content(self) -> None:
        """A piece has content of the body; an unknown part of the piece came after it."""
        self._gap = -PIECE_BYTES

    def linger_begins(self, now_s: float) -> None:
        """Half closed."""
        self.phase = LINGER
        self._since_s = now_s
        self._fed = 0

    def count(self, size: int, now_s: float) -> Refusal | None:
        """A piece of `size` bytes came and did not end the request."""
        self._fed += size
        if self.phase == HEAD:
            return Refusal.HEADERS if self._fed >= self._limits.max_header_bytes else None
        self._since_s = now_s
        self._gap += size
        if self._gap > self._limits.max_header_bytes:
            return Refusal.HEADERS
        too_many = self._fed > self._limits.max_body_bytes + FRAMING_BYTES
        return Refusal.BODY_SIZE if too_many else None

    def discard(self, size: int) -> bool:
        """Whether `size` more bytes may be thrown away while lingering."""
        self._fed += size
        return self._fed <= LINGER_BYTES

    def hold(self, now_s: float, tick_s: float) -> None:
        """For the last tick the client waited for us."""
        self._since_s = now_s
        self._began_s += tick_s

    def lingered(self, now_s: float) -> bool:
        """Whether the client had the time to read its answer."""
        return now_s - self._since_s >= LINGER_S

    def late(self, now_s: float, tick_s: float) -> Refusal | None:
        """Whether head or body take too long; a tick before the limit rather than after it."""
        waited_s = now_s - self._since_s + tick_s
        if self.phase == HEAD:
            return Refusal.HEADER_TIMEOUT if waited_s >= self._limits.header_timeout_s else None
        sent_s = now_s - self._began_s
        patience_s = self._limits.body_timeout_s
        slow = sent_s >= patience_s and self._fed < self._limits.min_body_rate * sent_s
        return Refusal.BODY_TIMEOUT if slow or waited_s >= patience_s else None


class Reading:
    """How a client reads what it was sent, by how much of that is left."""

    __slots__ = ("_began_s", "_last", "_limits", "_mark", "_paused_s", "_read")

    def __init__(self, limits: ProtocolLimits) -> None:
        """Nothing is left."""
        self._limits = limits
        self._begin(0, 0.0)

    def _begin(self, unread: int, now_s: float) -> None:
        self._began_s = self._paused_s = now_s  # `_paused_s`: of the last progress, at `_mark`
        self._last = unread  # when it was last looked at
        self._read = self._mark = 0

    def ends(self) -> None:
        """All but a little is read."""
        self._last = 0

    def late(self, unread: int, now_s: float) -> bool:
        """Whether a client that has left `unread` bytes is to be cut: it paused, or is too slow."""
        if not unread:
            self._last = 0
            return False
        if not self._last:
            self._begin(unread, now_s)
        self._read += max(0, self._last - unread)
        self._last = unread
        if self._read - self._mark >= PROGRESS_BYTES:
            self._paused_s, self._mark = now_s, self._read
        lasted_s, patience_s = now_s - self._began_s, self._limits.write_timeout_s
        slow = lasted_s >= patience_s and self._read < self._limits.min_read_rate * lasted_s
        return slow or now_s - self._paused_s >= patience_s
