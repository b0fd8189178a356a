"""The limits on path and body as middleware, behind the guard and over real sockets."""

from collections.abc import Iterator

import pytest

from service.app import create_app
from service.errors import BodyTooLargeError, QueueFullError
from service.http.limits import UNCOUNTED_BYTES, BodyLimit
from service.http.problems import to_response
from service.logs import RECORD_KEY, RequestRecord
from service.settings import Settings
from tests.service.http.guarded import (
    App,
    Client,
    GuardedServer,
    chunked,
    guarded,
    post,
    wait_until,
)

MAX_BODY_BYTES = 2 * UNCOUNTED_BYTES
MAX_INFLIGHT_BODY_BYTES = 3 * UNCOUNTED_BYTES
LARGE = b"a" * (UNCOUNTED_BYTES + 1)
SMALL = b"a" * UNCOUNTED_BYTES


class Service(App):
    """The application behind the limit, with what the outer layers of the service do for it."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0  # bytes of one request that got as far as the limit
        self.outcomes: list[str] = []
        self.limited = BodyLimit(super().__call__, MAX_BODY_BYTES, MAX_INFLIGHT_BODY_BYTES)

    async def __call__(self, scope, receive, send) -> None:
        """Answer with the size of the body, or the error as a problem."""
        record = scope[RECORD_KEY] = RequestRecord("id")
        got = 0

        async def counted() -> dict:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            return message

        try:
            await self.limited(scope, counted, send)
        except (BodyTooLargeError, QueueFullError) as error:
            await to_response(error, record)(scope, receive, send)
        self.outcomes.append(record.outcome)
        self.most = max(self.most, got)


@pytest.fixture
def server() -> Iterator[GuardedServer]:
    """The service behind a guard with the same limit."""
    with guarded(app=Service(), max_body_bytes=MAX_BODY_BYTES) as running:
        yield running
        running.wait_until_idle()


def test_body_at_the_limit_is_served(server):
    """Announced or in chunks, large ones or of one byte."""
    body = b"a" * MAX_BODY_BYTES
    for request in (post(body), chunked(body), chunked(*[b"a"] * 10_000)):
        with server.connect() as client:
            assert client.ask(request).status == 200
    assert not server.refused


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10_000_000, 10**18])
def test_announced_body_over_the_limit_is_413_before_a_byte_of_it(server, size):
    """Nobody waits for it."""
    with server.connect(post(b"").replace(b" 0", b" %d" % size)) as client:
        answer = client.response()
        assert answer.status == 413
        assert answer.problem()["type"] == "urn:heed:problem:body-too-large"
        assert answer.fields["connection"] == "close"
        assert client.is_closed()
    assert server.app.most == 0


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b"a" * 5_000_000),
        chunked(b"a" * (MAX_BODY_BYTES + 1)),
        chunked(*[b"a" * 1000] * 5000),
        chunked(*[b"a"] * (MAX_BODY_BYTES + 1)),
    ],
    ids=["announced", "one chunk", "many chunks", "chunks of one byte"],
)
def test_client_that_sends_it_all_can_read_its_413(server, request_bytes):
    """It is not reset in the middle, and little more than the limit is read from it."""
    with server.connect() as client:
        client.send(request_bytes)
        answer = client.response()
        assert answer.status == 413
        assert answer.problem()["type"] == "urn:heed:problem:body-too-large"
        assert client.is_closed()
    assert server.app.most <= MAX_BODY_BYTES + 65_536 + 256_000  # what one read may bring


def test_refusal_for_size_is_an_invalid_request_not_a_client_that_left(server):
    """As long as it is the content that is too large, the application answers and counts it."""
    with server.connect(chunked(*[b"a" * 1000] * 150)) as client:
        assert client.response().status == 413
    server.wait_until_idle()
    assert server.app.outcomes[0] == "invalid"
    assert not server.refused


def holding(server: GuardedServer, size: int) -> Client:
    """A client that has sent all but one of `size` bytes, which the service holds."""
    client = server.connect(post(b"a" * size)[:-1])
    wait_until(lambda: server.app.limited.inflight_body_bytes >= size, "the body is not counted")
    return client


@pytest.mark.parametrize("request_bytes", [post(LARGE), chunked(LARGE)])
def test_body_that_does_not_fit_beside_those_held_is_refused_for_load(server, request_bytes):
    """With Retry-After, and if announced before a byte of it; later it fits."""
    with holding(server, MAX_BODY_BYTES) as first, server.connect() as second:
        answer = second.ask(request_bytes)
        assert answer.status == 503
        assert answer.problem()["type"] == "urn:heed:problem:queue-full"
        assert int(answer.fields["retry-after"]) >= 1
        assert first.ask(b"a").body == b"%d" % MAX_BODY_BYTES
        wait_until(lambda: server.app.limited.inflight_body_bytes == 0, "it is held for ever")
        assert second.ask(request_bytes).status == 200


def test_client_that_waits_to_be_asked_for_its_body_is_refused_instead(server):
    """`Expect: 100-continue` is answered with the 503, and the body never sent."""
    expecting = post(LARGE, fields=b"Expect: 100-continue\r\n").partition(b"a" * 9)[0]
    with holding(server, MAX_BODY_BYTES), server.connect() as second:
        answer = second.ask(expecting)
        assert (answer.status, answer.fields["connection"]) == (503, "close")
        assert second.is_closed()


@pytest.mark.parametrize("request_bytes", [post(SMALL), chunked(SMALL)])
def test_small_bodies_are_served_while_large_ones_use_everything_up(server, request_bytes):
    """A few who send large bodies slowly keep no ordinary request out."""
    with holding(server, MAX_BODY_BYTES), server.connect() as second:
        assert second.ask(request_bytes).status == 200


@pytest.mark.parametrize("end", ["leaves", "is refused", "is cut"])
def test_body_is_not_held_any_more_when_its_client_is_gone(server, end):
    """However that came about."""
    with server.connect(chunked(LARGE, end=b"")) as client:
        wait_until(lambda: server.app.limited.inflight_body_bytes > 0, "the body is not counted")
        if end == "is refused":
            client.send(chunked(LARGE).partition(b"\r\n\r\n")[2])
        elif end == "is cut":
            client.send(b"garbage")
    wait_until(lambda: server.app.limited.inflight_body_bytes == 0, "it is held for ever")


def test_refusal_in_the_middle_of_a_body_has_the_request_id_of_the_log(server):
    """The application has begun with the request, and written down its id."""
    with server.connect(chunked(LARGE, end=b"")) as client:
        wait_until(lambda: server.app.limited.inflight_body_bytes > 0, "the body is not counted")
        client.send(b"garbage")
        refused = client.response()
    assert refused.problem()["request_id"] == refused.fields["x-request-id"] == "id"


@pytest.fixture(scope="module")
def service() -> Iterator[GuardedServer]:
    """The real application, of which only the paths are asked."""
    with guarded(app=create_app(Settings(model="artifact", log_level="error"))) as running:
        yield running


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/v1/models", True),
        (b"http://a/v1/models", True),
        (b"/v1/models?a=%0a", True),
        (b"/v1/models#a", True),
        (b"/%76%31/models", True),
        (b"/v1/models%0a", False),
        (b"/v1/models%0A?a", False),
        (b"http://a/v1/models%0a", False),
        (b"/v1/models%250a", False),
        (b"/v1/models%00", False),
        (b"/v1/models%20", False),
        (b"/v1/models/", False),
        (b"//v1/models", False),
        (b"http://a//v1/models", False),
        (b"/v1/x/../models", False),
        (b"/v1/./models", False),
        (b"/v1%2fmodels", True),
    ],
)
def test_path_is_compared_after_one_decoding(service, target, found):
    """Of every form of a target: nothing is decoded twice, merged or cut off."""
    with service.connect() as client:
        status = client.ask(b"PUT %b HTTP/1.1\r\nHost: a\r\n\r\n" % target).status
    assert status == (405 if found else 404)
