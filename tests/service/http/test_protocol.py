"""The guard over raw sockets: bytes, fields, framing, pipelining. Time is in test_protocol_slow."""

import gc
import itertools
import weakref
from collections.abc import Iterator

import pytest

from service.http.refusals import Refusal
from tests.service.http.guarded import (
    GET,
    LIMITS,
    GuardedServer,
    chunked,
    guarded,
    post,
    wait_until,
)

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
BAD_HOSTS = [
    b"a b/..@<x>",
    b"a b",
    b"a/b",
    b"u@a",
    b"u:p@a:80",
    b"a, b",
    b":80",
    b"a:99999",
    b"a:b",
    b"a:80:80",
    b"a\xff",
    b"[::1",
    b"[1:2]",
    b"::1",
    b"a?b",
    b"a#b",
    b"http://a",
]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def shared(request: pytest.FixtureRequest) -> Iterator[GuardedServer]:
    """One server for all tests here: none may leave anything behind."""
    with guarded(request.param) as server:
        yield server


@pytest.fixture
def server(shared: GuardedServer) -> Iterator[GuardedServer]:
    """The server with its counts at zero."""
    shared.app.__init__()
    shared.refused.clear()
    yield shared
    shared.app.gate.set()
    shared.wait_until_idle()


def head_of(size: int) -> bytes:
    """A request whose head has `size` bytes."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n"
    return head % (b"x" * (size - len(head) + 2))


def test_ordinary_requests_are_served_on_one_connection(server):
    """Bodies of both kinds, in pieces of any size, and none of it is refused."""
    requests = [GET, post(b"a" * 90_000), chunked(b"a" * 40_000, b"b" * 40_000), chunked(b"", b"")]
    with server.connect() as client:
        assert [client.ask(request).body for request in requests[:3]] == [b"0", b"90000", b"80000"]
        for byte in post(b"abc"):
            client.send(bytes([byte]))
        assert client.response().body == b"3"
    assert not server.refused


@pytest.mark.parametrize("step", [1, 500, 10_000_000])
def test_head_over_the_limit_is_431_however_it_arrives(server, step):
    """The limit itself is allowed; one byte more is not, in one read or byte by byte."""
    for size, status in [(LIMITS.max_header_bytes, 200), (LIMITS.max_header_bytes + 1, 431)]:
        request = head_of(size)
        with server.connect() as client:
            for start in range(0, size, step):
                client.send(request[start : start + step])
            assert client.response().status == status
    assert server.refused == {Refusal.HEADERS: 1}


@pytest.mark.parametrize("size", [65_536, 1_000_000, 10_000_000])
@pytest.mark.parametrize("where", ["field", "name", "line", "fields"])
def test_huge_head_is_431_and_the_client_can_read_it(server, size, where):
    """Also while it is still sending: the connection is half closed first."""
    with server.connect() as client:
        huge = {
            "field": b"GET / HTTP/1.1\r\nX: " + b"x" * size,
            "name": b"GET / HTTP/1.1\r\n" + b"x" * size,
            "line": b"GET /" + b"x" * size,
            "fields": b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * (size // 5),
        }[where]
        client.send(huge)
        answer = client.response()
        assert answer.status == 431
        assert answer.problem()["type"] == "urn:heed:problem:header-too-large"
        assert answer.fields["connection"] == "close"
        assert client.is_closed()
    assert server.refused == {Refusal.HEADERS: 1}


def test_too_many_fields_are_431(server):
    """As many as the limit are allowed."""
    for fields, status in [(LIMITS.max_header_fields, 200), (LIMITS.max_header_fields + 1, 431)]:
        with server.connect(GET[:-2] + b"a: b\r\n" * (fields - 1) + b"\r\n") as client:
            assert client.response().status == status


@pytest.mark.parametrize("body", [b"", b"a" * 50_000])
def test_head_behind_another_request_has_the_same_limits(server, body):
    """The guard cannot see where it begins in what it read, and still knows its size."""
    for request, status in [
        (head_of(LIMITS.max_header_bytes - 20), 200),
        (head_of(LIMITS.max_header_bytes + 100), 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 21 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000, 431),
    ]:
        with server.connect(post(body) + request) as client:
            assert client.response().status == 200
            if status == 200:
                assert client.response().status == 200
            else:
                # Not answered if that had to wait for the answer before it, else 431.
                rest = client.stream.read()
                assert rest == b"" or rest.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.7\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"\r\nOPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"POST / RTSP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"DESCRIBE rtsp://a/b RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"SOURCE /m ICE/1.0\r\nHost: a\r\n\r\n",
        *(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" for host in BAD_HOSTS),
        *(b"GET http://" + host + b"/ HTTP/1.1\r\nHost: a\r\n\r\n" for host in (b"u@a", b"u:p@a")),
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /a\0b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"OPTIONS http://a HTTP/1.1\r\n\r\n",
        b"CONNECT a:443 HTTP/1.1\r\n\r\n",
        HEAD + b"A: b\0c\r\n\r\n",
        HEAD + b"A: b\rc\r\n\r\n",
        HEAD + b"A: b\r\n c\r\n\r\n",
        HEAD + b"A : b\r\n\r\n",
        HEAD + b": b\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        HEAD + b"Content-Length: 3, 3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: -3\r\n\r\nabc",
        HEAD + b"Content-Length: 0x3\r\n\r\nabc",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    ],
    ids=repr,
)
def test_malformed_request_is_400(server, request_bytes):
    """In a form that every client can parse, and nothing behind it is taken for a request."""
    with server.connect(request_bytes + GET) as client:
        answer = client.response()
        assert answer.status == 400
        assert answer.problem()["type"] == "urn:heed:problem:malformed-request"
        assert answer.problem()["request_id"] == answer.fields["x-request-id"]
        assert client.is_closed()
    assert server.refused == {Refusal.MALFORMED: 1}


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"0"),
        (b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", b"3"),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"0"),
        (b"GET / HTTP/1.1\r\nHost: heed_1.Example.\r\n\r\n", b"0"),
        (b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", b"0"),
        (HEAD + b"Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"3"),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", b"0"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"0"),
        (b"\r\n\r\n" + GET, b"0"),
        (b"GET /" + b"x" * 4000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"0"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\nT: u\r\n\r\n", b"3"),
        (HEAD + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"0"),
    ],
    ids=repr,
)
def test_unusual_request_is_served(server, request_bytes, body):
    """It is valid HTTP/1.x."""
    with server.connect(request_bytes) as client:
        answer = client.response()
    assert (answer.status, answer.body) == (200, body)
    assert not server.refused


@pytest.mark.parametrize("step", [1, 3, 7, 11, 30, 100_000])
@pytest.mark.parametrize("request_bytes", [post(b"hello"), chunked(b"hel", b"lo")])
def test_wish_to_upgrade_is_ignored_and_the_body_kept(server, request_bytes, step):
    """As Java's client sends it with a POST; the connection stays usable."""
    wish = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    request_bytes = request_bytes.replace(b"\r\n\r\n", wish, 1)
    with server.connect() as client:
        for start in range(0, len(request_bytes), step):
            client.send(request_bytes[start : start + step])
        assert client.response().body == b"5"
        assert (b"host", b"a") in server.app.header_fields
        assert client.ask().status == 200


def test_expect_continue_is_asked_for_the_body(server):
    """And not again: the body of one that is answered without it may come or not."""
    with server.connect(HEAD + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n") as client:
        assert client.response().status == 100
        assert client.ask(b"abc").body == b"3"
        assert client.is_closed()
    early = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with server.connect(early) as client:
        answer = client.response()
        assert (answer.status, answer.fields["connection"]) == (401, "close")
        assert client.is_closed()


def test_trailer_fields_do_not_become_header_fields(server):
    """A proxy removes a forged X-Forwarded-For in front of the body, not behind it."""
    end = b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    with server.connect(chunked(b"abc", end=end)) as client:
        assert client.response().status == 200
    assert [name for name, _ in server.app.header_fields] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    ("endless", "refusal"),
    [
        (itertools.repeat(b"T: u\r\n" * 1000), Refusal.HEADERS),
        (itertools.repeat(b"t" * 1000), Refusal.HEADERS),
    ],
    ids=["fields", "name"],
)
def test_endless_trailers_are_refused(server, endless, refusal):
    """They have the limit of the header fields, plus what the parser is fed at once."""
    with server.connect(chunked(b"abc", end=b"0\r\n")) as client:
        sent = sum(len(part) for part in itertools.takewhile(client.send, endless))
        assert client.response().status == 431
    assert sent < 50_000_000  # what the socket's buffers take
    assert server.refused == {refusal: 1}


def test_endless_chunk_extension_is_refused(server):
    """It has no content that would count."""
    with server.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3;") as client:
        while client.send(b"x" * 1000):
            pass
        assert client.response().status == 431


@pytest.mark.parametrize(
    ("chunk", "count"), [(b"1\r\na\r\n", 40_000), (b"1;%b\r\na\r\n" % (b"x" * 3000), 100)]
)
def test_framing_of_chunks_is_bounded(server, chunk, count):
    """Chunks of one byte cost six on the wire, or thousands: counted apart from the content."""
    with server.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as client:
        client.send(chunk * count + b"0\r\n\r\n")
        answer = client.response()
        assert answer.status == 413
        assert answer.problem()["type"] == "urn:heed:problem:body-too-large"
    assert server.refused == {Refusal.BODY_SIZE: 1}
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")


@pytest.mark.parametrize("step", [1000, 1_000_000])
def test_body_of_a_request_answered_early_does_not_break_the_next(server, step):
    """The rest is read and thrown away, whether it was there already or came later."""
    for request in (post(b"a" * 90_000, b"/early"), chunked(*[b"a" * 9000] * 10, path=b"/early")):
        with server.connect() as client:
            for start in range(0, len(request), step):
                client.send(request[start : start + step])
            assert client.response().status == 401
            assert client.ask(post(b"abc")).body == b"3"
    assert not server.refused


def test_endless_body_of_a_request_answered_early_is_cut(server):
    """It has the limits of any body."""
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n"
    with server.connect(head) as client:
        assert client.response().status == 401
        while client.send(b"a" * 1000):
            pass
    assert server.refused == {Refusal.BODY_SIZE: 1}


def test_pipelined_requests_are_answered_in_order(server):
    """Also when the first one takes its time."""
    server.app.gate.clear()
    bodies = [b"a" * size for size in range(5)]
    requests = [post(bodies[0], b"/gated")] + [post(body) for body in bodies[1:]]
    with server.connect(b"".join(requests)) as client:
        server.app.gate.set()
        assert [int(client.response().body) for _ in bodies] == list(range(5))
    assert not server.refused


def test_too_many_pipelined_requests_end_the_connection_after_the_answers(server):
    """The ones accepted are answered first, the others may be sent again elsewhere."""
    with server.connect(post(b"abc", b"/gated") + GET * 1000) as client:
        wait_until(lambda: server.refused[Refusal.PIPELINED] == 1, "not refused")
        server.app.gate.set()
        answers = [client.response() for _ in range(5)]
        assert client.is_closed()
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].fields["connection"] == "close"


@pytest.mark.parametrize("between", [b"", GET])
def test_garbage_behind_a_request_does_not_take_its_answer(server, between):
    """It is not answered itself: that would come first, and pass for the answer before it."""
    with server.connect(post(b"abc", b"/gated") + between + b"garbage\r\n\r\n") as client:
        wait_until(lambda: server.refused[Refusal.MALFORMED] == 1, "not refused")
        [connection] = server.connections
        client.send(b"more")
        wait_until(lambda: connection.flow.read_paused, "it reads on")
        server.app.gate.set()
        assert client.response().body == b"3"
        assert not between or client.response().body == b"0"
        assert client.is_closed()


def test_answer_that_comes_after_a_refusal_is_dropped(server, caplog):
    """The client has its 400 already."""
    with server.connect(chunked(b"abc", path=b"/late", end=b"zz\r\n")) as client:
        assert client.response().status == 400
        server.app.gate.set()
        wait_until(lambda: not server.server.server_state.tasks, "it does not end")
        assert client.stream.read() == b""
    assert not caplog.records


def test_broken_body_behind_a_waiting_request_cuts_the_connection(server):
    """The application sees that its client is gone."""
    broken = chunked(b"abc", end=b"zz\r\n")
    with server.connect(post(b"abc", b"/leave") + broken) as client:
        assert client.is_closed()
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")
    assert server.refused == {Refusal.MALFORMED: 1}


def test_client_that_leaves_ends_every_request_of_its_connection(server):
    """Not only the newest one."""
    with server.connect(post(b"abc", b"/leave") + GET * 3):
        pass
    wait_until(lambda: server.app.disconnects == 1, "the application was not told")


def test_closed_connection_is_freed_at_once(server):
    """No circle of references keeps it until the garbage collector runs."""
    alive = weakref.WeakSet()
    gc.collect()
    gc.disable()
    try:
        for request in (GET, b"garbage\r\n\r\n", post(b"abc", b"/early"), head_of(5000)):
            with server.connect() as client:
                wait_until(lambda: len(server.connections) == 1, "not connected")
                alive.update(server.connections)
                client.ask(request)
            wait_until(lambda: not len(server.connections), "a connection is left")
        wait_until(lambda: not alive, "a protocol is left")
    finally:
        gc.enable()
