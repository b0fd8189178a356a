"""Stopping without a reset: the accept queue, idle connections, requests on their way, time."""

import asyncio
import resource
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
import uvloop

from service.drain import DrainingServer

REQUEST = b"GET / HTTP/1.1\r\nHost: heed\r\n\r\n"
OK = b"HTTP/1.1 200"

Scenario = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A server of an app that answers 200, at once unless the path is /slow."""

    def __init__(self, grace_s: float = 10.0) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.status = 200
        self.clients: list[socket.socket] = []
        config = uvicorn.Config(
            self._app, interface="asgi3", lifespan="off", log_config=None, ws="none"
        )
        config.load()
        self.server = DrainingServer(config, grace_s, self._refuse_rest)
        self.server.lifespan = config.lifespan_class(config)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def connect(self, *sent: bytes) -> socket.socket:
        """A connection, with something sent over it, while the event loop stands still."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        for part in sent:
            client.sendall(part)
        self.clients.append(client)
        return client

    async def start(self) -> None:
        """Listen."""
        await self.server.startup(sockets=[self.listener])
        await self.server.on_tick(0)

    async def stop(self) -> None:
        """The order of stopping."""
        await self.server.shutdown([self.listener])

    async def read(self, client: socket.socket) -> bytes:
        """The rest of what the server sends over a connection."""
        return await asyncio.to_thread(read_all, client)

    async def _app(self, scope, receive, send) -> None:
        if scope["path"] == "/slow":
            self.entered.set()
            await self.gate.wait()
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body"})

    async def _refuse_rest(self) -> None:
        self.status = 503
        self.gate.set()


def read_all(client: socket.socket) -> bytes:
    """Until the end; a reset is an error."""
    answer = b""
    while chunk := client.recv(65536):
        answer += chunk
    return answer


async def until(claim: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110  nothing tells when
            await asyncio.sleep(0.005)


def play(scenario: Scenario, **options: float) -> None:
    """Run `scenario` on the event loop of production."""

    async def main() -> None:
        stage = Stage(**options)
        try:
            await stage.start()
            await scenario(stage)
        finally:
            for client in stage.clients:
                client.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_connections_that_the_kernel_has_accepted_are_served():
    """The server has not seen them yet when it is told to stop."""

    async def scenario(stage):
        clients = [stage.connect(REQUEST) for _ in range(30)]
        await stage.stop()
        for client in clients:
            answer = read_all(client)
            assert answer.startswith(OK)
            assert b"connection: close" in answer
        with pytest.raises(ConnectionRefusedError):
            stage.connect()

    play(scenario)


def test_clients_that_connect_anew_for_each_request_do_not_keep_it_from_closing():
    """The queue is emptied once, not for as long as something comes."""

    async def scenario(stage):
        stopping = asyncio.create_task(stage.stop())
        for _ in range(5):
            try:
                client = stage.connect(REQUEST)
            except ConnectionRefusedError:
                break
            assert (await stage.read(client)).startswith(OK)
        else:
            pytest.fail("it listens still")
        await stopping

    play(scenario)


def test_request_that_waits_unread_on_an_idle_connection_is_answered():
    """And the answer ends the connection."""

    async def scenario(stage):
        clients = [stage.connect(REQUEST) for _ in range(30)]
        for client in clients:
            assert (await asyncio.to_thread(client.recv, 65536)).startswith(OK)
        for client in clients:
            client.sendall(REQUEST)
        await stage.stop()
        for client in clients:
            answer = read_all(client)
            assert answer.startswith(OK)
            assert b"connection: close" in answer

    play(scenario)


def test_request_that_comes_shortly_after_is_answered():
    """Clients that ask again at once lose nothing, also without a drain delay."""

    async def scenario(stage):
        client = stage.connect(REQUEST)
        assert (await asyncio.to_thread(client.recv, 65536)).startswith(OK)
        stopping = asyncio.create_task(stage.stop())
        await asyncio.sleep(0.02)
        client.sendall(REQUEST)
        await stopping
        assert read_all(client).startswith(OK)

    play(scenario)


def test_idle_connections_do_not_hold_up_the_end():
    """Whether something was asked over them or not."""

    async def scenario(stage):
        used, unused = stage.connect(REQUEST), stage.connect()
        assert (await asyncio.to_thread(used.recv, 65536)).startswith(OK)
        started = time.monotonic()
        await stage.stop()
        assert time.monotonic() - started < 5.0
        assert read_all(used) == read_all(unused) == b""

    play(scenario, grace_s=60.0)


def test_request_under_way_is_finished_and_its_answer_ends_the_connection():
    """Although it began before anybody thought of the end."""

    async def scenario(stage):
        client = stage.connect(b"GET /slow HTTP/1.1\r\nHost: heed\r\n\r\n")
        await stage.entered.wait()
        assert stage.server.busy
        stopping = asyncio.create_task(stage.stop())
        await asyncio.sleep(0.05)
        assert not stopping.done()
        stage.gate.set()
        await stopping
        answer = read_all(client)
        assert answer.startswith(OK)
        assert b"connection: close" in answer
        assert not stage.server.busy

    play(scenario)


def test_request_that_is_half_sent_is_waited_for():
    """Its header fields have begun."""

    async def scenario(stage):
        client = stage.connect(REQUEST[:20])
        await until(lambda: stage.server.busy)
        stopping = asyncio.create_task(stage.stop())
        await asyncio.sleep(0.4)
        client.sendall(REQUEST[20:])
        await stopping
        assert read_all(client).startswith(OK)

    play(scenario)


def test_what_is_left_after_the_grace_is_refused_not_cut_off():
    """The application is told to answer it."""

    async def scenario(stage):
        client = stage.connect(b"GET /slow HTTP/1.1\r\nHost: heed\r\n\r\n")
        await stage.entered.wait()
        await stage.stop()
        assert read_all(client).startswith(b"HTTP/1.1 503")

    play(scenario, grace_s=0.05)


def test_it_stops_in_order_although_no_file_can_be_opened():
    """A request under way is finished: to stop takes no descriptor."""

    async def scenario(stage):
        client = stage.connect(b"GET /slow HTTP/1.1\r\nHost: heed\r\n\r\n")
        await stage.entered.wait()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            stopping = asyncio.create_task(stage.stop())
            await asyncio.sleep(0.05)
            stage.gate.set()
            await stopping
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert read_all(client).startswith(OK)
        with pytest.raises(ConnectionRefusedError):
            stage.connect()

    play(scenario)


def test_closing_is_announced_as_long_as_it_still_listens():
    """That is the drain delay: clients go elsewhere one by one."""

    async def scenario(stage):
        before = stage.connect(REQUEST)
        answer = await asyncio.to_thread(before.recv, 65536)
        assert b"connection: close" not in answer
        stage.server.end_keep_alive()
        await stage.server.on_tick(0)  # uvicorn renews the fields of all answers each second
        before.sendall(REQUEST)
        for client in (before, stage.connect(REQUEST)):
            answer = await stage.read(client)
            assert answer.startswith(OK)
            assert answer.lower().count(b"connection: close") == 1
        await stage.stop()

    play(scenario)
