"""A uvicorn server that stops without losing a request, as far as HTTP/1.1 lets it.

uvicorn by itself closes the listening socket with connections in its queue, and idle keep-alive
connections with a request on its way: both are reset. It leans on `Server` and the attributes of
`HttpToolsProtocol`; tests/service/test_drain.py fails when these move.
"""

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

_LINGER_S = 0.25  # an idle connection stays that long, so that a request on its way arrives
_FLUSH_S = 1.0  # for what is refused at the end to reach its clients
_TICK_S = 0.02


class DrainingServer(uvicorn.Server):
    """Serves until `should_exit`. Signals are left to the process, which may have two of these."""

    def __init__(
        self,
        config: uvicorn.Config,
        grace_s: float = 0.0,
        refuse_rest: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve nothing yet.

        Args:
            config: what is served.
            grace_s: how long requests may take once it no longer listens.
            refuse_rest: makes the app answer what is left after that.
        """
        super().__init__(config)
        self._grace_s = grace_s
        self._refuse_rest = refuse_rest

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Not here."""
        yield

    @property
    def busy(self) -> bool:
        """Whether a connection is in the middle of a request."""
        return not all(map(_is_idle, self._connections()))

    def end_keep_alive(self) -> None:
        """From now on each answer ends its connection: clients connect anew, and elsewhere."""
        field = (b"connection", b"close")
        self.config.encoded_headers.append(field)  # uvicorn makes the defaults of it each second
        self.server_state.default_headers = [*self.server_state.default_headers, field]
        for connection in self._connections():
            if not _is_idle(connection) and connection.cycle is not None:
                connection.cycle.keep_alive = False

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, finish requests, refuse what is left of them, close."""
        self.end_keep_alive()
        await self._stop_listening(sockets or [])
        await self._wait_until_gone(self._grace_s)
        if self.server_state.connections and self._refuse_rest is not None:
            await self._refuse_rest()
            await self._wait_until_gone(_FLUSH_S)
        for connection in self._connections():
            connection.transport.close()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the sockets, and serve the connections that the kernel has accepted already.

        One that comes in the microseconds in between is reset; nothing short of a drain delay helps
        it.
        """
        loop = asyncio.get_running_loop()
        # All of them before the first is answered, or clients that connect anew would keep it busy.
        accepted = [connection for listener in sockets for connection in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for connection in accepted:
            await loop.connect_accepted_socket(self._make_protocol, connection)

    def _connections(self) -> list[Any]:
        """A copy: closing one may remove it."""
        return list(self.server_state.connections)

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        return protocol

    async def _wait_until_gone(self, timeout_s: float) -> None:
        started = time.monotonic()
        while self.server_state.connections:
            waited_s = time.monotonic() - started
            if waited_s >= timeout_s:
                return
            if waited_s >= _LINGER_S:
                self._close_idle()
            await asyncio.sleep(_TICK_S)

    def _close_idle(self) -> None:
        for connection in self._connections():
            if _is_idle(connection) and not _has_unread(connection.transport):
                connection.transport.close()


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """The connections in the queue of `listener`; fewer if there are no descriptors left."""
    accepted = []
    listener.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            accepted.append(listener.accept()[0])
    return accepted


def _is_idle(connection: Any) -> bool:  # noqa: ANN401  uvicorn's protocol, or one derived from it
    """Whether no request is being received or answered. `scope` is made at its first byte."""
    if connection.scope is None:
        return True
    cycle = connection.cycle
    return cycle is not None and cycle.scope is connection.scope and cycle.response_complete


def _has_unread(transport: asyncio.Transport) -> bool:
    """Whether the kernel holds something that the event loop has not read yet."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))
