"""Slow clients over raw sockets: each kind is cut, and nobody is cut for what is not its fault."""

import itertools
import socket

import pytest

from service.http.refusals import Refusal
from tests.service.http.guarded import (
    BIG_BYTES,
    GET,
    PATIENCE_S,
    Client,
    GuardedServer,
    guarded,
    post,
    wait_until,
)

SHORT_S = 0.2


def dribble(server: GuardedServer, client, piece: bytes) -> None:
    """Send a byte or so every quarter of the timeout until the server has enough."""
    for _ in itertools.takewhile(lambda _: client.send(piece), range(1000)):
        server.pass_time(SHORT_S / 4)
        if server.refused:
            return
    raise AssertionError("not cut")


def test_silent_connection_is_closed_without_an_answer():
    """Browsers open some in advance; an answer there would be taken for the next one."""
    with guarded(header_timeout_s=SHORT_S) as server:
        with server.connect() as client:
            assert client.stream.read() == b""
        assert server.refused == {Refusal.HEADER_TIMEOUT: 1}
        server.wait_until_idle()


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: a", b"\r\n", GET + b"G"])
def test_unfinished_head_is_408(start):
    """Behind an answered request too."""
    with guarded(header_timeout_s=SHORT_S) as server:
        with server.connect(start) as client:
            if start.startswith(GET):
                assert client.response().status == 200
            assert client.response().problem()["type"] == "urn:heed:problem:request-timeout"
            assert client.is_closed()
        assert server.refused == {Refusal.HEADER_TIMEOUT: 1}
        server.wait_until_idle()


@pytest.mark.parametrize("piece", [b"a", b"\r\n"])
def test_head_byte_by_byte_is_408(piece):
    """A byte does not start the clock again."""
    start = b"GET / HTTP/1.1\r\nHost: " if piece == b"a" else b""
    with guarded(header_timeout_s=SHORT_S) as server:
        with server.connect(start) as client:
            dribble(server, client, piece)
            assert client.response().status == 408
        server.wait_until_idle()


def test_silence_in_the_body_is_408_and_the_application_told():
    """Its request does not wait for ever."""
    with guarded(body_timeout_s=SHORT_S) as server:
        with server.connect(post(b"abc")[:-1]) as client:
            assert client.response().problem()["type"] == "urn:heed:problem:request-timeout"
            assert client.is_closed()
        assert server.refused == {Refusal.BODY_TIMEOUT: 1}
        wait_until(lambda: server.app.disconnects == 1, "the application was not told")
        server.wait_until_idle()


def test_body_byte_by_byte_is_408():
    """Without a pause, but under the rate; the same without a rate is served."""
    with guarded(body_timeout_s=SHORT_S, min_body_rate=1000) as server:
        with server.connect(post(b"a" * 5000)[:-5000]) as client:
            dribble(server, client, b"a")
            assert client.response().status == 408
        assert server.refused == {Refusal.BODY_TIMEOUT: 1}
        server.wait_until_idle()


def test_body_at_the_rate_may_take_long():
    """Longer than a pause may."""
    with guarded(body_timeout_s=1.0, min_body_rate=100) as server:
        with server.connect(post(b"a" * 10_000)[:-10_000]) as client:
            for _ in range(10):
                client.send(b"a" * 1000)
                server.pass_time(0.15)
            assert client.response().body == b"10000"
        assert not server.refused


def test_silence_after_an_early_answer_closes():
    """The body that was announced does not come: nothing more to say."""
    with guarded(body_timeout_s=SHORT_S) as server:
        with server.connect(post(b"abc", b"/early")[:-1]) as client:
            assert client.response().status == 401
            assert client.is_closed()
        server.wait_until_idle()


def test_slow_application_is_not_the_clients_fault():
    """Neither while reading is paused, as the body fills the buffer, nor before a 100."""
    waiting = post(b"abc", b"/gated", b"Expect: 100-continue\r\n")[:-3]
    with guarded(body_timeout_s=SHORT_S, min_body_rate=1_000_000) as server:
        body = b"a" * 90_000
        with server.connect(waiting) as patient, server.connect() as client:
            client.send(post(body, b"/gated")[:-10_000])
            server.pass_time(5 * SHORT_S)
            server.app.gate.set()
            client.send(body[:10_000])
            assert client.response().body == b"90000"
            assert patient.response().status == 100
            assert patient.ask(b"abc").body == b"3"
        assert not server.refused


@pytest.mark.parametrize("requests", [1, 100])
def test_client_that_never_reads_is_cut(requests):
    """Also one that asks for more and more."""
    pipelined = GET.replace(b"/", b"/big", 1) * requests
    with guarded(write_timeout_s=SHORT_S) as server, server.connect(pipelined):
        wait_until(lambda: server.refused[Refusal.WRITE_TIMEOUT] == 1, "not cut")
        server.wait_until_idle()


def test_client_that_never_reads_and_leaves_its_connection_idle_is_cut():
    """The keep-alive timer of uvicorn would wait for the answer to be read, for ever."""
    request = GET.replace(b"/", b"/big", 1)
    times = {"write_timeout_s": 5 * SHORT_S, "keep_alive_s": SHORT_S}
    with guarded(**times) as server, server.connect(request):
        wait_until(lambda: server.refused[Refusal.WRITE_TIMEOUT] == 1, "not cut")
        server.wait_until_idle()


def test_client_that_reads_steadily_may_take_long():
    """Longer than without reading."""
    with guarded(write_timeout_s=0.5) as server:
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            plain.settimeout(PATIENCE_S)
            plain.connect(server.address)
            plain.sendall(GET.replace(b"/", b"/big", 1))
            got, read = 0, 0
            while got < BIG_BYTES:
                got += len(plain.recv(200_000))
                if got - read >= 600_000:
                    read = got
                    server.pass_time(0.05)
        assert not server.refused


def test_idle_connection_is_closed_and_a_request_starts_the_clock_anew():
    """Idle for longer than a head may take, then a head in two pieces."""
    with guarded(header_timeout_s=5 * SHORT_S, keep_alive_s=10 * SHORT_S) as server:
        with server.connect() as client:
            assert client.ask().status == 200
            server.pass_time(6 * SHORT_S)
            client.send(GET[:5])
            server.pass_time(SHORT_S)
            assert client.ask(GET[5:]).status == 200
            assert client.is_closed()
        assert not server.refused


def test_connection_that_was_answered_before_the_body_came_is_closed_when_idle():
    """The body's arrival must not stop the timer for good."""
    with guarded(keep_alive_s=2 * SHORT_S) as server:
        with server.connect(post(b"abc", b"/early")[:-1]) as client:
            assert client.response().status == 401
            client.send(b"c")
            assert client.is_closed()
        assert not server.refused


def test_request_right_behind_such_a_body_is_not_cut_by_the_idle_timer():
    """Which was started in the middle of what was read."""
    start = post(b"abc", b"/early")[:-1]
    with guarded(keep_alive_s=SHORT_S) as server, server.connect(start) as client:
        assert client.response().status == 401
        client.send(b"c" + post(b"hello", b"/gated"))
        server.pass_time(5 * SHORT_S)
        server.app.gate.set()
        assert client.response().body == b"5"


def clients(server: GuardedServer, count: int, sent: bytes) -> list[Client]:
    """Connections that all have sent something."""
    return [server.connect(sent) for _ in range(count)]


def test_connections_over_the_limit_are_503():
    """In all and of one address; those who are in are served, and room is given back."""
    for limits, refusal in [
        ({"limit": 3}, Refusal.CONNECTIONS),
        ({"per_peer": 3}, Refusal.PEER_CONNECTIONS),
        ({"limit": 3, "trusted": "127.0.0.0/8"}, Refusal.CONNECTIONS),
    ]:
        with guarded(**limits) as server:
            inside = clients(server, 3, GET)
            assert [client.response().status for client in inside] == [200] * 3
            with server.connect() as late:
                answer = late.response()
                assert (answer.status, answer.fields["retry-after"]) == (503, "1")
                assert answer.problem()["type"] == "urn:heed:problem:too-many-connections"
                assert late.is_closed()
            assert server.refused == {refusal: 1}
            for client in inside:
                assert client.ask().status == 200
                client.__exit__()
            server.wait_until_idle()


def test_trusted_proxy_may_have_all_connections():
    """It speaks for many clients."""
    with guarded(per_peer=1, trusted="10.0.0.0/8, 127.0.0.1") as server:
        many = clients(server, 20, GET)
        assert {client.response().status for client in many} == {200}
        for client in many:
            client.__exit__()
