"""The guard at the socket: what uvicorn does not limit, limited before the application is asked.

uvicorn with httptools has no limit on header bytes, none on the time to send them or the body, and
none on a client that never reads. Middleware cannot add these: it is called when the header fields
are complete. So this is uvicorn's protocol class with a meter.

It leans on parts of uvicorn that are not public: test_protocol_internals.py names them and fails
when one moves, and pyproject.toml bounds the version.
"""

import asyncio
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, ClassVar, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.http.connections import Connections
from service.http.head import has_no_version, is_http, objection
from service.http.hosts import Hosts
from service.http.meter import BODY, CLOSING, DONE, HEAD, LINGER, Meter, ProtocolLimits, Reading
from service.http.refusals import Refusal, response
from service.http.replay import without_upgrade
from service.http.sweep import Sweep
from service.http.transport import Handle
from service.logs import RECORD_KEY, RequestRecord, request_id

_MAX_PIPELINED = 4  # requests that wait behind the one being answered; each takes 3 KB
# Of answers that a client does not read; then the next one waits. The kernel alone would take 4 MB.
_UNREAD_BYTES = 16_384
_KERNEL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Guard:
    """What the connections of one server share."""

    limits: ProtocolLimits
    connections: Connections
    sweep: Sweep
    on_refused: Callable[[Refusal], None]
    hosts: Hosts


def guarded_protocol(
    limits: ProtocolLimits,
    connections: Connections,
    on_refused: Callable[[Refusal], None],
    hosts: Hosts | None = None,
) -> type["GuardedProtocol"]:
    """A class for `uvicorn.Config(http=...)`, of one server.

    Args:
        limits: what one connection may do.
        connections: which of them may be open; its length is how many are.
        on_refused: called with the reason whenever a connection is refused or cut.
        hosts: names that are answered to; any if None.
    """
    names = hosts or Hosts()

    def check(now_s: float) -> bool:
        for connection in connections:
            connection.check(now_s)
        return len(connections) > 0

    class Protocol(GuardedProtocol):
        guard = Guard(limits, connections, Sweep(limits.shortest_s, check), on_refused, names)

    return Protocol


class _RefusedError(Exception):
    """Raised inside the parser's callbacks, as nothing else stops it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Trailer fields end here: among the header fields they could pass for those of a proxy."""

    def append(self, _: tuple[bytes, bytes], /) -> None:
        """Forget it."""


_NO_TRAILERS = _NoTrailers()


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Made by `guarded_protocol`."""

    guard: ClassVar[Guard]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._meter = Meter(self.guard.limits, self.guard.sweep.now_s)
        self._active: RequestResponseCycle | None = None  # being answered; `cycle` is the newest
        self._reading = Reading(self.guard.limits)
        self._half_closed = False
        self._line = self._piece = b""  # both hold the request line
        self._socket: asyncio.Transport
        self._handle: Handle

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit it, or answer 503 without reading a byte."""
        guard = self.guard
        self._socket = transport
        transport.set_write_buffer_limits(_UNREAD_BYTES)
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_SNDBUF, _KERNEL_BYTES)
        self._handle = Handle(transport)
        super().connection_made(cast("asyncio.Transport", self._handle))
        refusal = guard.connections.admit(self, self.client[0] if self.client else "")
        if refusal is None:
            self._handle.close = self._close
            self._handle.is_closing = self._is_closing
            guard.sweep.start(self.loop)
            return
        guard.on_refused(refusal)
        self._meter.phase = CLOSING
        self._answer(refusal)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, whichever of its requests is being answered."""
        self.guard.connections.release(self)
        self._handle.close = self._socket.close  # no circle of references is left behind
        self._handle.is_closing = self._socket.is_closing
        self._handle.write = self._socket.write
        super().connection_lost(exc)
        _disconnect(self._active)
        self._active = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends no more: True if it may still read, and is owed an answer.

        One that has left looks the same, until something is sent: then its system answers with a
        reset. So it is sent the first byte of its answer, the same for every answer. Without a
        reset it is there, or its machine is not: what it asked for is computed.
        """
        active, phase = self._active, self._meter.phase
        if active is None or active.response_complete or phase in (BODY, LINGER):
            return False
        self.cycle.keep_alive = False
        self._half_closed = True
        if not active.response_started and not self.unread_bytes:
            self._send_first_byte()
        return not self._is_reset()

    def _send_first_byte(self) -> None:
        """At once, as the transport would only at the end of the loop's turn."""
        try:
            os.write(self._socket.get_extra_info("socket").fileno(), b"H")
        except OSError:
            return  # reset: seen by whoever looks
        self._handle.write = self._write_rest

    def _write_rest(self, data: bytes) -> None:
        self._handle.write = self._socket.write
        self._socket.write(data[1:])

    def _is_reset(self) -> bool:
        poll = select.poll()
        poll.register(self._socket.get_extra_info("socket").fileno(), 0)
        return bool(poll.poll(0))  # POLLERR or POLLHUP, which nobody has to ask for

    def resume_writing(self) -> None:
        """The client has read a large part of what it was sent."""
        self._reading.ends()
        super().resume_writing()

    @property
    def unread_bytes(self) -> int:
        """What the client has left in this process of what it was sent."""
        return self._socket.get_write_buffer_size()

    def _close(self) -> None:
        if self._meter.phase in (BODY, CLOSING) and self._socket.can_write_eof():
            self._meter.linger_begins(self.guard.sweep.now_s)
            self._socket.write_eof()
            self.flow.resume_reading()  # what stays unread when it is closed would reset it
        elif self._meter.phase != LINGER:
            self._socket.close()

    def _is_closing(self) -> bool:
        return self._meter.phase == LINGER or self._socket.is_closing()

    # Bytes

    def data_received(self, data: bytes) -> None:
        """Give the parser as much as the limits allow."""
        meter = self._meter
        if meter.phase == CLOSING:
            self.flow.pause_reading()
            return
        if meter.phase == LINGER:
            if not meter.discard(len(data)):
                self._socket.close()
            return
        self._unset_keepalive_if_required()
        room = meter.room()
        if len(data) <= room:
            self._feed(data)
            return
        rest = memoryview(data)
        while rest and meter.phase < CLOSING:
            self._feed(rest[:room])
            rest = rest[room:]
            room = meter.room()

    def _feed(self, piece: bytes | memoryview) -> None:
        meter = self._meter
        if meter.phase == DONE:
            meter.head_begins(self.guard.sweep.now_s, inside=False)
        self._piece, in_line = bytes(piece), not self.headers
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self.parser, head = without_upgrade(self)
            self._line = b""  # it comes again
            self._feed(head + bytes(piece[upgrade.args[0] :]))
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _RefusedError) else Refusal.MALFORMED)
        else:
            if in_line and meter.phase == HEAD:
                self._line += self._piece
                if not meter.inside and has_no_version(self._line):
                    self._refuse(Refusal.MALFORMED)
            self._piece = b""  # a connection that idles holds nothing
            if meter.phase <= BODY:
                refusal = meter.count(len(piece), self.guard.sweep.now_s)
                if refusal is not None:
                    self._refuse(refusal)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """A request begins, perhaps right behind another one."""
        super().on_message_begin()
        if self._meter.phase != HEAD:
            self._meter.head_begins(self.guard.sweep.now_s, inside=True)

    def on_headers_complete(self) -> None:
        """Check the header fields; uvicorn calls the application with them."""
        limits = self.guard.limits
        if len(self.headers) > limits.max_header_fields or (
            self._meter.inside and self._head_bytes() > limits.max_header_bytes
        ):
            raise _RefusedError(Refusal.HEADERS)
        version, method = self.parser.get_http_version(), self.parser.get_method()
        refusal = objection(version, self.url, self.headers, self.guard.hosts)
        if refusal is not None:
            raise _RefusedError(refusal)
        if not is_http(self._line + self._piece, method, self.url, inside=self._meter.inside):
            raise _RefusedError(Refusal.MALFORMED)
        if self.parser.should_upgrade():
            if method == b"CONNECT":
                raise _RefusedError(Refusal.MALFORMED)
            return  # it is fed once more, without
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise _RefusedError(Refusal.PIPELINED)
        super().on_headers_complete()
        self._line = b""
        self.headers = _NO_TRAILERS
        if self.expect_100_continue:
            # Answered before it was asked for the body, a client may send that or not: nobody
            # could tell what the next bytes are.
            self.cycle.keep_alive = False
        self._meter.body_begins(self.guard.sweep.now_s)

    def on_body(self, body: bytes) -> None:
        """Some content."""
        self._meter.content()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here as a whole."""
        if self._meter.phase == BODY:
            super().on_message_complete()
            if not self.parser.should_keep_alive():
                # A trailer field may say so, too late for what was taken from the header fields:
                # the parser throws away what follows, and nobody would answer it.
                self.cycle.keep_alive = False
                if self.cycle.response_complete:
                    self._close()
                    return
            self._meter.phase = DONE
            if self.cycle.response_complete:
                # Answered early. uvicorn stopped its timer when the rest came, and does not
                # start it again.
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._active = cycle
        self._unset_keepalive_if_required()
        super()._start_asgi_task(cycle, app)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    # Time

    def check(self, now_s: float) -> None:
        """Cut the connection if its time is over. Called every tick."""
        meter = self._meter
        if self._reading.late(self.unread_bytes, now_s):
            self.guard.on_refused(Refusal.WRITE_TIMEOUT)
            self._socket.abort()
        elif self._half_closed and self._is_reset():
            self._socket.abort()  # its reset was on its way
        elif meter.phase == LINGER:
            if meter.lingered(now_s):
                self._socket.close()
        elif meter.phase <= BODY:
            tick_s = self.guard.sweep.tick_s
            if self._client_waits():
                meter.hold(now_s, tick_s)
                return
            refusal = meter.late(now_s, tick_s)
            if refusal is not None:
                self._refuse(refusal)

    def _client_waits(self) -> bool:
        in_body = self._meter.phase == BODY
        return self.flow.read_paused or (in_body and self.cycle.waiting_for_100_continue)

    # Refusing

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, unless it is too late for that, and close."""
        self.guard.on_refused(refusal)
        meter, cycle, active = self._meter, self.cycle, self._active
        in_body = meter.phase == BODY
        silent = meter.silent and refusal is Refusal.HEADER_TIMEOUT
        meter.phase = CLOSING
        if in_body:
            if self.pipeline or (cycle.response_started and not cycle.response_complete):
                self._socket.abort()  # an answer now would be taken for another one
                return
            silent = cycle.response_complete
            _disconnect(cycle)
        elif active is not None and not active.response_complete:
            cycle.keep_alive = False  # uvicorn closes when those before this one are answered
            return
        if not silent:
            self._answer(refusal, cycle if in_body else None)
        self._close()

    def _answer(self, refusal: Refusal, cycle: RequestResponseCycle | None = None) -> None:
        fields = self.server_state.default_headers
        self._handle.write(response(refusal, _request_id(cycle), fields))


def _request_id(cycle: RequestResponseCycle | None) -> str:
    """The one in the log, if the application has begun with the request."""
    record = cast("dict[str, object]", cycle.scope).get(RECORD_KEY) if cycle is not None else None
    return record.request_id if isinstance(record, RequestRecord) else request_id(None)


def _disconnect(cycle: RequestResponseCycle | None) -> None:
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
