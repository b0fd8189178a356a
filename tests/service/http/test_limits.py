"""The limit on the body as middleware, behind the guard and over real sockets."""

from collections.abc import Iterator

import pytest

from service.errors import BodyTooLargeError
from service.http.limits import BodyLimit
from service.http.problems import to_response
from service.logs import RECORD_KEY, RequestRecord
from tests.service.http.guarded import App, GuardedServer, chunked, guarded, post

MAX_BODY_BYTES = 65_536


class Service(App):
    """The application behind the limit, with what the outer layers of the service do for it."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0  # bytes of one request that got as far as the limit
        self.outcomes: list[str] = []
        self._limited = BodyLimit(super().__call__, MAX_BODY_BYTES)

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
            await self._limited(scope, counted, send)
        except BodyTooLargeError as error:
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
    with server.connect(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size) as client:
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
        chunked(*[b"a"] * 65_537),
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
    with server.connect(chunked(*[b"a" * 1000] * 100)) as client:
        assert client.response().status == 413
    server.wait_until_idle()
    assert server.app.outcomes[0] == "invalid"
    assert not server.refused
