"""Which requests are let in, by their headers alone: before a byte of the body is read.

`X-Request-Timeout-Ms` is a whole number of milliseconds from 1 on; more than the service's own
timeout is cut to that. `X-Request-Priority` is `interactive` (the default) or `batch`.
"""

import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import InvalidHeaderError
from service.items import Priority, Ticket
from service.logs import RECORD_KEY

_MILLISECONDS = re.compile(rb"[0-9]{1,18}")
_PRIORITIES = {priority.name.lower().encode(): priority for priority in Priority}


class Admission:
    """Pure ASGI: gives each request of `paths` its ticket, or refuses it."""

    def __init__(
        self,
        app: ASGIApp,
        paths: frozenset[str],
        timeout_s: float,
        check: Callable[[Ticket], None],
    ) -> None:
        """Wrap `app`.

        Args:
            app: what is guarded.
            paths: where requests need the engine.
            timeout_s: the longest, and that of a request that asks for none.
            check: raises if the queue cannot take a request with this ticket.
        """
        self._app = app
        self._paths = paths
        self._timeout_s = timeout_s
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in; its error is answered by the layer around."""
        if scope["type"] == "http" and scope["path"] in self._paths:
            ticket = scope[RECORD_KEY].ticket = self._ticket(scope)
            if scope["method"] == "POST":
                self._check(ticket)
        await self._app(scope, receive, send)

    def _ticket(self, scope: Scope) -> Ticket:
        timeout_s, priority = self._timeout_s, Priority.INTERACTIVE
        for name, value in scope["headers"]:
            if name == b"x-request-timeout-ms":
                timeout_s = min(timeout_s, _seconds(value))
            elif name == b"x-request-priority":
                priority = _priority(value)
        return Ticket(priority, time.monotonic() + timeout_s)


def _seconds(value: bytes) -> float:
    if not _MILLISECONDS.fullmatch(value) or not int(value):
        raise InvalidHeaderError("X-Request-Timeout-Ms: expected a whole number of at least 1")
    return int(value) / 1e3


def _priority(value: bytes) -> Priority:
    try:
        return _PRIORITIES[value.lower()]
    except KeyError:
        expected = " or ".join(name.decode() for name in _PRIORITIES)
        raise InvalidHeaderError(f"X-Request-Priority: expected {expected}") from None
