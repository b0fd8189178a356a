"""Around every request: its id, its log line, its count, and a net for what nobody caught."""

import asyncio
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service.http.problems import to_response
from service.logs import RECORD_KEY, RequestRecord, request_id
from service.metrics import Metrics

_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})


class Observe:
    """Pure ASGI: one wrapper around `send`, no task, no copy of the body."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        logger: FilteringBoundLogger,
        routes: frozenset[str],
        counted: frozenset[str],
    ) -> None:
        """Wrap `app`.

        Args:
            app: what is observed.
            metrics: counts the requests to `counted`.
            logger: gets one line a request; probes and scrapes at debug.
            routes: the paths that may be logged; any other could hold text of a user.
            counted: the paths that the metrics are about.
        """
        self._app = app
        self._metrics = metrics
        self._logger = logger
        self._routes = routes
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        record = scope[RECORD_KEY] = RequestRecord(request_id(given))
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = record.request_id
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            record.outcome, status = "cancelled", 499
            raise
        except Exception as error:  # the last net
            response = to_response(error, record)
            if not status:
                await response(scope, receive, send_with_id)
        finally:
            self._metrics.in_flight.dec()
            self._report(scope, record, status, time.perf_counter() - started)

    def _report(self, scope: Scope, record: RequestRecord, status: int, duration_s: float) -> None:
        path = scope["path"]
        if path in self._counted:
            self._metrics.observe_request(record.outcome, duration_s)
        if record.frames:
            self._logger.error("failure", request_id=record.request_id, frames=record.frames)
        write = self._logger.debug if path in _QUIET else self._logger.info
        write(
            "request",
            request_id=record.request_id,
            method=scope["method"],
            route=path if path in self._routes else "unmatched",
            status=status,
            outcome=record.outcome,
            duration_ms=round(duration_s * 1e3, 3),
            texts=record.texts,
            tokens=record.tokens,
        )
