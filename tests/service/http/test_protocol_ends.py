"""How a connection goes on: the guard and the parser agree, and half of it may be closed."""

import socket
import struct
from collections.abc import Iterator

import pytest

from service.http.hosts import Hosts
from service.http.refusals import Refusal
from tests.service.http.guarded import GET, GuardedServer, chunked, guarded, post, wait_until


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def shared(request: pytest.FixtureRequest) -> Iterator[GuardedServer]:
    """One server for all tests here: none may leave anything behind."""
    with guarded(request.param, header_timeout_s=1.0) as server:
        yield server


@pytest.fixture
def server(shared: GuardedServer) -> Iterator[GuardedServer]:
    """The server with its counts at zero."""
    shared.app.__init__()
    shared.refused.clear()
    yield shared
    shared.app.gate.set()
    shared.wait_until_idle()


TRAILERS = [
    b"Connection: close\r\n",
    b"connection:close\r\nT: u\r\n",
    b"Connection: keep-alive, close\r\n",
    b"Connection: keep-alive\r\nConnection: close\r\n",
    b"Proxy-Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Keep-Alive: timeout=1\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: b\r\n",
]
FIELDS = [
    *TRAILERS[:8],
    b"Connection: close, keep-alive\r\n",
    b"Connection: close\r\nConnection: keep-alive\r\n",
    b"Proxy-Connection: keep-alive\r\n",
    b"Connection: X-Y\r\n",
    b"Upgrade: h2c\r\n",
    b"Upgrade: websocket\r\nConnection: close, Upgrade\r\n",
    b"Expect: 100-continue\r\nConnection: close\r\n",
]
REQUESTS = [
    *(chunked(b"abc", end=b"0\r\n" + each + b"\r\n") for each in TRAILERS),
    *(post(b"abc", fields=each) for each in FIELDS),
    *(post(b"abc", fields=each).replace(b"/1.1", b"/1.0") for each in FIELDS),
]


@pytest.mark.parametrize("step", [1, 100_000])
@pytest.mark.parametrize("request_bytes", REQUESTS, ids=repr)
def test_next_request_is_answered_or_was_told_to_go_elsewhere(server, request_bytes, step):
    """Whatever says how the connection goes on: no request is ever left without a word."""
    with server.connect() as client:
        for start in range(0, len(request_bytes), step):
            client.send(request_bytes[start : start + step])
        answer = client.response()
        if answer.status == 100:
            answer = client.response()
        if answer.fields.get("connection") == "close":
            assert client.is_closed()
        else:
            assert answer.status == 200
            assert client.ask().status == 200


@pytest.mark.parametrize("trailer", TRAILERS[:5])
def test_trailer_that_ends_a_connection_whose_answer_is_out_closes_it(server, trailer):
    """The parser reads no further: at once is better than a request that nobody answers."""
    request_bytes = chunked(b"abc", path=b"/early", end=b"")
    with server.connect(request_bytes) as client:
        assert client.response().status == 401
        client.send(b"0\r\n" + trailer + b"\r\n")
        assert client.is_closed()
    assert not server.refused


@pytest.mark.parametrize("path", [b"/", b"/gated", b"/late", b"/big"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_client_that_half_closes_after_its_request_is_answered(server, path, version):
    """It will send no more, and reads: `nc -N`, and clients of old libraries."""
    with server.connect(post(b"abc", path).replace(b"/1.1", b"/" + version)) as client:
        client.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: _half_closed(server) or path in (b"/", b"/big"), "not noticed")
        server.app.gate.set()
        answer = client.response()
        assert answer.status == 200
        assert answer.fields.get("connection") == "close" or path in (b"/", b"/big")
        assert client.is_closed()
    assert not server.app.disconnects


def _half_closed(server: GuardedServer) -> bool:
    return any(connection._half_closed for connection in server.connections)


@pytest.mark.parametrize("between", [b"", b"garbage\r\n\r\n", b"GET / HT"])
def test_all_requests_before_a_half_close_are_answered(server, between):
    """In order; the last answer says that it is the last. What is no request has none."""
    requests = post(b"abc", b"/gated") + GET + post(b"abcd")
    with server.connect(requests + between) as client:
        client.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: len(server.connections) == 1, "not connected")
        server.app.gate.set()
        answers = [client.response() for _ in range(3)]
        assert [answer.body for answer in answers] == [b"3", b"0", b"4"]
        assert client.is_closed()


@pytest.mark.parametrize("reset", [False, True])
def test_client_that_closes_is_told_from_one_that_half_closes(server, reset):
    """Its system answers the first byte with a reset: nothing is computed for nobody."""
    with server.connect(post(b"abc", b"/leave")) as client:
        wait_until(lambda: server.server.server_state.tasks, "not begun")
        if reset:
            linger = struct.pack("ii", 1, 0)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")


def test_client_that_closes_after_it_has_half_closed_is_noticed(server):
    """It has left the first byte unread, so its system resets the connection."""
    with server.connect(post(b"abc", b"/leave")) as client:
        client.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: _half_closed(server), "not noticed")
        assert not server.app.disconnects
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")


@pytest.mark.parametrize("request_bytes", [post(b"abc")[:-1], chunked(b"abc", end=b"")])
def test_half_close_in_the_middle_of_a_request_ends_it(server, request_bytes):
    """It can never be complete."""
    with server.connect(request_bytes) as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")


def test_body_that_would_have_to_be_decoded_is_501(server):
    """It is never taken as it is."""
    for codings in (b"gzip, chunked", b"GZIP,chunked", b"deflate, gzip, chunked"):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + codings + b"\r\n\r\n"
        with server.connect(head + b"3\r\nabc\r\n0\r\n\r\n" + GET) as client:
            answer = client.response()
            assert (answer.status, answer.problem()["type"]) in {
                (501, "urn:heed:problem:transfer-coding"),
                (400, "urn:heed:problem:malformed-request"),
            }
            assert client.is_closed()


def test_request_line_without_a_version_is_refused_at_once(server):
    """A client of HTTP/0.9 sends nothing more, and would wait."""
    for pieces in ([b"GET /\r\n"], [b"GET", b" /\r", b"\n"], [b"\r\nGET / RTSP/1.0\r\nA: b\r\n"]):
        with server.connect() as client:
            for piece in pieces:
                client.send(piece)
            assert client.response().status == 400
            assert client.is_closed()


def test_request_for_another_host_is_421_and_says_which_setting_has_them():
    """Before the application is asked; also where the target of the request has the name."""
    with guarded(hosts=Hosts(["heed.example"])) as server:
        for asked, status in [
            (b"GET / HTTP/1.1\r\nHost: heed.example\r\n\r\n", 200),
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
            (b"GET http://evil.example/ HTTP/1.1\r\nHost: heed.example\r\n\r\n", 421),
            (b"GET http://heed.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
            (b"GET http://HEED.example.:80/?q HTTP/1.1\r\nHost: heed.example\r\n\r\n", 200),
            (b"OPTIONS * HTTP/1.1\r\nHost: heed.example\r\n\r\n", 200),
            (b"GET / HTTP/1.0\r\n\r\n", 200),
        ]:
            with server.connect(asked) as client:
                answer = client.response()
                assert answer.status == status, asked
                if status == 421:
                    assert "HEED_ALLOWED_HOSTS" in answer.problem()["detail"]
                    assert client.is_closed()
        assert server.refused == {Refusal.HOST: 3}
