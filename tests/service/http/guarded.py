"""A real uvicorn server with the guard, in a thread, and raw sockets to it."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import uvicorn

from service.http.connections import Connections
from service.http.hosts import Hosts
from service.http.meter import ProtocolLimits
from service.http.peers import Peers
from service.http.protocol import guarded_protocol
from service.networks import parse_networks

PATIENCE_S = 10.0  # of a test, for what takes less than a second
BIG_BYTES = 16_000_000  # more than the sockets hold
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LIMITS = ProtocolLimits(
    max_header_bytes=4096,
    max_header_fields=20,
    max_body_bytes=100_000,
    header_timeout_s=30.0,
    body_timeout_s=30.0,
    min_body_rate=0,
    write_timeout_s=30.0,
    min_read_rate=0,
)


def post(body: bytes, path: bytes = b"/", fields: bytes = b"") -> bytes:
    """A request with a body of stated length."""
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n"
    return head % (path, len(body), fields) + body


def chunked(*chunks: bytes, path: bytes = b"/", end: bytes = b"0\r\n\r\n") -> bytes:
    """A request with a body in chunks."""
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def wait_until(true: Callable[[], bool], what: str) -> None:
    """Wait for another thread. Nothing tells us when a server has noticed that a client left."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


class App:
    """A trivial application, with what happened to it."""

    def __init__(self) -> None:
        self.gate = threading.Event()  # /gated waits for it and reads, /late does not read
        self.disconnects = 0
        self.header_fields: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope, receive, send) -> None:
        """Answer with the size of the body."""
        path = scope["path"]
        if path == "/early":
            await answer(send, 401, b"no")
            return
        if path == "/gated":
            await asyncio.to_thread(self.gate.wait, PATIENCE_S)
        if path == "/late":
            await asyncio.to_thread(self.gate.wait, PATIENCE_S)
            await answer(send, 200, b"late")
            return
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            size += len(message["body"])
            more = message["more_body"]
        if path == "/leave":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.disconnects += 1
            return
        self.header_fields = list(scope["headers"])
        await answer(send, 200, b"x" * BIG_BYTES if path == "/big" else b"%d" % size)


async def answer(send, status: int, body: bytes) -> None:
    """A response of stated length."""
    fields = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


class Response:
    """One response, read from a socket up to its end."""

    def __init__(self, stream) -> None:
        status_line = stream.readline()
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        self.status = int(status_line.split()[1])
        self.fields: dict[str, str] = {}
        for line in iter(stream.readline, b"\r\n"):
            assert line.endswith(b"\r\n"), line
            name, value = line.decode().strip().split(": ", 1)
            self.fields[name.lower()] = value
        size = 0 if self.status == 100 else int(self.fields["content-length"])
        self.body = stream.read(size)
        assert len(self.body) == size

    def problem(self) -> dict:
        """The body as problem+json."""
        assert self.fields["content-type"] == "application/problem+json"
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


class Client:
    """A connection, byte by byte."""

    def __init__(self, address: tuple, sent: bytes = b"") -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.send(sent)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send all; False if the server closed meanwhile."""
        try:
            self.socket.sendall(data)
        except ConnectionError:
            return False
        return True

    def response(self) -> Response:
        """The next response."""
        return Response(self.stream)

    def is_closed(self) -> bool:
        """Wait for the end: no byte comes any more."""
        try:
            return self.stream.read(1) == b""
        except ConnectionError:
            return True

    def ask(self, request: bytes = GET) -> Response:
        """Send a request and read the response."""
        self.send(request)
        return self.response()


class GuardedServer:
    """A server, and what its guard saw."""

    def __init__(  # noqa: PLR0917  called in one place
        self,
        loop: str,
        app: Callable,
        limits: ProtocolLimits,
        connections: Connections,
        keep_alive_s: float,
        hosts: Hosts | None = None,
    ) -> None:
        self.app = app
        self.refused: Counter[str] = Counter()
        self.connections = connections

        def count(refusal: str) -> None:
            self.refused[refusal] += 1

        protocol = guarded_protocol(limits, self.connections, count, hosts)
        self._sweep = protocol.guard.sweep
        config = uvicorn.Config(
            app,
            http=protocol,
            loop=loop,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="none",
            timeout_keep_alive=keep_alive_s,
        )
        self.server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(
            target=self.server.run, args=([self._listener],), daemon=True
        )
        self._thread.start()
        wait_until(lambda: self.server.started, "the server did not start")

    def pass_time(self, duration_s: float) -> None:
        """Let the guard's clock advance; it does while there is a connection."""
        end_s = self._sweep.now_s + duration_s
        wait_until(lambda: self._sweep.now_s >= end_s, "the clock stands still")

    def connect(self, sent: bytes = b"") -> Client:
        """A new connection."""
        return Client(self.address, sent)

    def wait_until_idle(self) -> None:
        """Nothing is left of what the clients did; and an ordinary request works."""
        state = self.server.server_state
        wait_until(lambda: not state.tasks, "a task is left")
        wait_until(lambda: not len(self.connections), "a connection is left")
        wait_until(lambda: not state.connections, "uvicorn has a connection left")
        with self.connect() as client:
            assert client.ask().status == 200
        wait_until(lambda: not len(self.connections), "a connection is left")

    def stop(self) -> None:
        """End the thread."""
        self.server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def guarded(
    loop: str = "uvloop",
    *,
    app: Callable | None = None,
    limit: int = 1000,
    per_peer: int = 1000,
    trusted: str = "",
    keep_alive_s: float = 60,
    hosts: Hosts | None = None,
    **changed: float,
) -> Iterator[GuardedServer]:
    """A server with `LIMITS`, some `changed`."""
    limits = {name: getattr(LIMITS, name) for name in LIMITS.__slots__} | changed
    connections = Connections(limit, per_peer, Peers(parse_networks(trusted)))
    server = GuardedServer(
        loop, app or App(), ProtocolLimits(**limits), connections, keep_alive_s, hosts
    )
    try:
        yield server
    finally:
        server.stop()
