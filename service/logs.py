"""Structured logs on stderr: JSON lines, or colours on a terminal. Never the text of a request."""

import logging
import random
import re
import sys
import traceback
from dataclasses import dataclass, field
from typing import cast

import orjson
import structlog
from structlog.typing import FilteringBoundLogger, Processor

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


RECORD_KEY = "heed.record"  # where a `RequestRecord` stands in the ASGI scope


@dataclass(slots=True)
class RequestRecord:
    """What is logged and counted of a request; endpoint and error handlers fill it in."""

    request_id: str
    outcome: str = "ok"
    texts: int = 0
    tokens: int = 0
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
        logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors, wrapper)
    else:
        processors = [*head, structlog.processors.JSONRenderer(serializer=orjson.dumps)]
        bytes_logger = structlog.BytesLogger(sys.stderr.buffer)
        logger = structlog.wrap_logger(bytes_logger, processors, wrapper)
    return cast("FilteringBoundLogger", logger.bind())


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
