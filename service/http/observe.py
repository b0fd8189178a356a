"""Around every request: its id, its log line, its count, and a net for what nobody caught."""

import asyncio
import time
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service.http.problems import to_response
from service.logs import RECORD_KEY, RequestRecord, request_id
from service.metrics import Metrics

_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Routes(NamedTuple):
    """`known` may be logged, any other path could hold text of a user; metrics count `counted`."""

    known: frozenset[str]
    counted: frozenset[str]


class Observe:
    """Pure ASGI: one wrapper around `send`, no task, no copy of the body."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        routes: Routes,
        shed_status: int = 503,
    ) -> None:
        """Wrap `app`.

        Args:
            app: what is observed.
            metrics: counts requests.
            logger: gets one line a request; probes and scrapes at debug.
            routes: which paths are known, and which are counted.
            shed_status: of a request that is refused because of load.
        """
        self._app = app
        self._metrics = metrics
        self._logger = logger
        self._routes = routes
        self._shed_status = shed_status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        record = scope[RECORD_KEY] = RequestRecord(request_id(given))
        identity = record.request_id.encode()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 200 and time.monotonic() > record.ticket.deadline:
                    self._metrics.late_responses.inc()
                message["headers"] = [*message["headers"], (b"x-request-id", identity)]
            await send(message)

        if scope["path"] in self._routes.counted:
            self._metrics.received.inc()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            record.outcome, status = "cancelled", 499
            raise
        except Exception as error:  # the last net
            response = to_response(error, record, shed_status=self._shed_status)
            if not status:
                await response(scope, receive, send_with_id)
        finally:
            self._metrics.in_flight.dec()
            self._report(scope, record, status, time.monotonic() - started)

    def _report(self, scope: Scope, record: RequestRecord, status: int, duration_s: float) -> None:
        path = scope["path"]
        if path in self._routes.counted:
            self._metrics.observe_request(record.outcome, duration_s)
        if record.frames:
            self._logger.error("failure", request_id=record.request_id, frames=record.frames)
        write = self._logger.debug if path in _QUIET else self._logger.info
        write(
            "request",
            request_id=record.request_id,
            method=scope["method"] if scope["method"] in _METHODS else "other",
            route=path if path in self._routes.known else "unmatched",
            status=status,
            outcome=record.outcome,
            duration_ms=round(duration_s * 1e3, 3),
            texts=record.texts,
            tokens=record.tokens,
            **record.caller,
        )
