"""Structured logs on stderr: JSON lines, or colours on a terminal. Never the text of a request."""

import contextlib
import logging
import math
import random
import re
import sys
import traceback
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from service.items import Priority, Ticket

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


RECORD_KEY = "heed.record"  # where a `RequestRecord` stands in the ASGI scope


_NO_TICKET = Ticket(Priority.INTERACTIVE, math.inf)


@dataclass(slots=True)
class RequestRecord:
    """What is logged and counted of a request; endpoint and error handlers fill it in."""

    request_id: str
    outcome: str = "ok"
    ticket: Ticket = _NO_TICKET
    texts: int = 0
    tokens: int = 0
    caller: dict[str, str] = field(default_factory=dict)  # id and client of the API key, if any
    frames: list[str] = field(default_factory=list)  # of the failure, if it is our own


def request_id(given: bytes | None) -> str:
    """The client's id if it is harmless in a log and a header, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    # Not from the system's source: a name needs no secrecy, and a call costs up to 50 us.
    return f"{random.getrandbits(128):032x}"


def make_logger(level: str) -> FilteringBoundLogger:
    """A logger of its own: nothing global is configured, so two apps may live in one process."""
    head: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    wrapper = structlog.make_filtering_bound_logger(threshold)
    if sys.stderr.isatty():
        processors: list[Processor] = [*head, structlog.dev.ConsoleRenderer()]
        print_logger = structlog.PrintLogger(cast("TextIO", _Lossy(sys.stderr)))
        logger = structlog.wrap_logger(print_logger, processors, wrapper)
    else:
        processors = [*head, structlog.processors.JSONRenderer(serializer=orjson.dumps)]
        # Not buffered: what a full disk refused would be tried again, and fail, at exit.
        raw = getattr(sys.stderr.buffer, "raw", sys.stderr.buffer)
        bytes_logger = structlog.BytesLogger(cast("BinaryIO", _Lossy(raw)))
        logger = structlog.wrap_logger(bytes_logger, processors, wrapper)
    return cast("FilteringBoundLogger", logger.bind())


class _Lossy:
    """A stream that loses what cannot be written: a full disk must not fail a request."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def write(self, line: str | bytes) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


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
