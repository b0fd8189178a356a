"""A stub of the service on a real socket."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Answer = Callable[[int], tuple[int, object]]
ONE_RESULT = {"model": "m", "version": "1", "results": [{"label": "a", "score": 0.9}]}
MODELS = {"models": [{"name": "topics", "version": "3", "manifest_sha256": "ab" * 32}]}


class Stub(ThreadingHTTPServer):
    """Answers the n-th POST, counted from 1, with `answer(n)`; a bytes body goes out as it is."""

    daemon_threads = False  # closing waits for every handler, so no socket is left behind
    request_queue_size = 64

    def __init__(self, answer: Answer, ready: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), StubHandler)
        self.answer, self.ready = answer, ready
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.redirect = False
        self.bodies: list[bytes] = []
        self.ports: set[int] = set()  # of the clients that posted
        self.authorizations: set[str | None] = set()
        self.headers: list[Message] = []
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class StubHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 5
    server: Stub

    def do_GET(self) -> None:
        """Readiness and the list of models."""
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", "/v1/models")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/health/ready":
            self._send(200 if self.server.ready else 503, {})
        else:
            self._send(*((200, MODELS) if self.path == "/v1/models" else (404, {})))

    def do_POST(self) -> None:
        """One classification."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.ports.add(self.client_address[1])
            self.server.authorizations.add(self.headers["Authorization"])
            self.server.headers.append(self.headers)
            number = len(self.server.bodies)
        self._send(*self.server.answer(number))

    def log_message(self, *_: object) -> None:
        """Silence."""

    def _send(self, status: int, content: object) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


Serve = Callable[..., "contextmanager[Stub]"]


@pytest.fixture
def serve_stub() -> Serve:
    """Serves a stub for the length of a `with` block."""

    @contextmanager
    def serve(answer: Answer = lambda _: (200, ONE_RESULT), ready: bool = True) -> Iterator[Stub]:
        with Stub(answer, ready) as stub:
            thread = threading.Thread(target=stub.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield stub
            finally:
                stub.shutdown()
                thread.join()

    return serve
