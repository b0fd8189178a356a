"""Structured logs on stderr: JSON lines, or colours on a terminal. Never the text of a request."""

import logging
import math
import random
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from service.items import Ticket
from service.lines import Lines
from service.runtime.safe import safe

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


RECORD_KEY = "heed.record"  # where a `RequestRecord` stands in the ASGI scope


@dataclass(slots=True)
class RequestRecord:
    """What is logged and counted of a request; endpoint and error handlers fill it in."""

    request_id: str
    outcome: str = "ok"
    ticket: Ticket | None = None  # of a request for the engine
    texts: int = 0
    tokens: int = 0
    caller: dict[str, str] = field(default_factory=dict)  # id and client of the API key, if any
    fields: Sequence[tuple[bytes, bytes]] = ()  # of every answer to that key
    frames: list[str] = field(default_factory=list)  # of the failure, if it is our own

    @property
    def deadline(self) -> float:
        """Until when an answer is of use."""
        return self.ticket.deadline if self.ticket is not None else math.inf


def request_id(given: bytes | None) -> str:
    """The client's id if it is harmless in a log and a header, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    # Not from the system's source: a name needs no secrecy, and a call costs up to 50 us.
    return f"{random.getrandbits(128):032x}"


def make_logger(level: str, lines: Lines | None = None) -> FilteringBoundLogger:
    """A logger of its own: nothing global is configured, so two apps may live in one process.

    Args:
        level: below it nothing is written.
        lines: where to; stderr if None.
    """
    if lines is None:
        lines = Lines(sys.stderr)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *(
            (_safe_values, structlog.dev.ConsoleRenderer())
            if sys.stderr.isatty()
            else (structlog.processors.JSONRenderer(serializer=_json),)
        ),
    ]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    wrapper = structlog.make_filtering_bound_logger(threshold)
    bound = structlog.wrap_logger(lines, processors, wrapper).bind()
    logger = cast("FilteringBoundLogger", bound)
    lines.on_recovered = lambda count: logger.warning("log_lines_dropped", lines=count)
    return logger


def _safe_values(_logger: object, _level: str, event: EventDict) -> EventDict:
    """For a terminal: names of models, paths and messages of libraries."""
    return {k: safe(value) if isinstance(value, str) else value for k, value in event.items()}


def _json(event: EventDict, default: Callable[[object], object]) -> bytes:
    """One line. ASCII has nothing left to escape: JSON does it."""
    try:
        line = orjson.dumps(event, default=default)
    except TypeError:  # half a surrogate pair, of a path that is no UTF-8
        line = orjson.dumps(_safe_values(None, "", event), default=default)
    return line if line.isascii() else safe(line.decode()).encode()


def frames(error: BaseException) -> list[str]:
    """Where `error` came from, causes last. Without messages: they may quote the text."""
    lines = []
    current: BaseException | None = error
    while current is not None:
        lines.append(type(current).__qualname__)
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or current.__context__
    return lines


class ForwardHandler(logging.Handler):
    """Sends the records of a standard logger (uvicorn's) to `logger`, without their tracebacks."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message at its level."""
        self._logger.log(record.levelno, record.getMessage(), logger=record.name)
