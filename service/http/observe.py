"""Around every request: its id, its log line, its count, and a net for what nobody caught."""

import asyncio
import time
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from service.errors import DeadlineExceededError
from service.http.auth import PROBES
from service.http.problems import to_response
from service.logs import RECORD_KEY, RequestRecord, request_id
from service.metrics import Metrics

_QUIET = PROBES | {"/metrics"}
_ID = b"x-request-id"
_SEND_S = 0.001  # for an answer to get out: 3 of 17,776 came up to 1 ms late without
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Routes(NamedTuple):
    """`known` may be logged, any other path could hold text of a user; metrics count `counted`."""

    known: frozenset[str]
    counted: frozenset[str]


class Observe:
    """Pure ASGI: no task, no copy of the body. A 200 that is late becomes a 504."""

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
        record = scope[RECORD_KEY] = RequestRecord(_request_id(scope))
        answer = _Answer(send, record, self._shed_status)
        started = time.monotonic()
        counted = scope["path"] in self._routes.counted
        if counted:
            self._metrics.received.inc()
            self._metrics.in_flight.inc()
        try:
            await answer.by(self._app, scope, receive)
        finally:
            ended = time.monotonic()
            if counted:
                self._metrics.in_flight.dec()
                self._metrics.observe_request(record.outcome, ended - started)
                if answer.status == 200 and answer.sent_at > record.deadline:
                    self._metrics.late_responses.inc()
            self._report(scope, record, answer.status, ended - started)

    def _report(self, scope: Scope, record: RequestRecord, status: int, duration_s: float) -> None:
        path = scope["path"]
        if record.frames:
            self._logger.error("failure", request_id=record.request_id, frames=record.frames)
        write = self._logger.debug if path in _QUIET else self._logger.info
        write(
            "request",
            request_id=record.request_id,
            method=scope["method"] if scope["method"] in _METHODS else "other",
            route=path if path in self._routes.known else _template(scope),
            status=status,
            outcome=record.outcome,
            duration_ms=round(duration_s * 1e3, 3),
            texts=record.texts,
            tokens=record.tokens,
            **record.caller,
        )


class _Answer:
    """What is sent for one request; `status` is 0 until then, `sent_at` is when its body was."""

    def __init__(self, send: Send, record: RequestRecord, shed_status: int) -> None:
        self.status = 0
        self.sent_at = 0.0
        self._send = send
        self._record = record
        self._shed_status = shed_status
        self._is_late = False

    async def by(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Have `app` answer, or answer its error, or that its answer came too late."""
        try:
            await app(scope, receive, self._pass_on)
            if self._is_late:
                self._is_late = False
                raise DeadlineExceededError("the request was not answered in its time")
        except asyncio.CancelledError:
            self._record.outcome, self.status = "cancelled", 499
            raise
        except Exception as error:  # the last net
            response = to_response(error, self._record, shed_status=self._shed_status)
            if not self.status:
                await response(scope, receive, self._pass_on)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 200 and time.monotonic() + _SEND_S > self._record.deadline:
                self._is_late = True
            else:
                self.status = message["status"]
                extra = (*self._record.fields, (_ID, self._record.request_id.encode()))
                message["headers"] = [*message["headers"], *extra]
        self.sent_at = time.monotonic()
        if not self._is_late:
            await self._send(message)


def _request_id(scope: Scope) -> str:
    return request_id(next((value for name, value in scope["headers"] if name == _ID), None))


def _template(scope: Scope) -> str:
    """Of the route that answered, its parameters by their names; their values may be anything."""
    return getattr(scope.get("route"), "path", "unmatched")
