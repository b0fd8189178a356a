"""Admission: what is refused by its headers alone, how, and that every request is accounted for."""

import ast
import asyncio
import json
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import service
from service.http.admission import Admission
from service.items import Priority
from service.logs import RECORD_KEY, RequestRecord

PATH = "/v1/classify"
TIMEOUT = b"x-request-timeout-ms"
PRIORITY = b"x-request-priority"


async def call(app, headers=(), body: bytes | None = b'{"inputs": "a"}', method="POST"):
    """Status, header fields and body of one ASGI call; without a body, reading it is an error."""
    sent = []

    async def receive():
        assert body is not None, "the body was read"
        if received:
            await asyncio.sleep(3600)  # a client that stays
        received.append(body)
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    received: list[bytes] = []
    scope = {
        "type": "http",
        "method": method,
        "path": PATH,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
    }
    await app(scope, receive, send)
    content = b"".join(message.get("body", b"") for message in sent[1:])
    fields = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, json.loads(content) if content else None


async def ticket_of(*headers: tuple[bytes, bytes], timeout_s: float = 10.0, method="POST"):
    """The ticket of a request, with its deadline in seconds from now."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope[RECORD_KEY].ticket)

    checked = []
    admission = Admission(app, frozenset({PATH}), timeout_s, checked.append)
    scope = {"type": "http", "method": method, "path": PATH, "headers": list(headers)}
    scope[RECORD_KEY] = RequestRecord("id")
    before = time.monotonic()
    await admission(scope, None, None)
    (ticket,) = seen
    assert checked == ([ticket] if method == "POST" else [])
    left_s = ticket.deadline - before
    return ticket.priority, pytest.approx(left_s, abs=0.2)


@pytest.fixture
async def full(serve, fake_engine):
    """A client of a service whose queue is full, with the tasks that fill it."""
    async with serve(
        fake_engine, engine_workers=1, max_queue_size=2, max_texts_per_request=2, shed_status=503
    ) as client:
        tasks = await fill(client, fake_engine)
        yield client
        fake_engine.gate.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.status_code for answer in answers] == [200, 200]


async def fill(client, engine) -> list[asyncio.Task]:
    """Block the engine with one text and let two more wait."""
    engine.gate.clear()
    tasks = [asyncio.create_task(client.post(PATH, json={"inputs": "a"}))]
    assert await asyncio.to_thread(engine.entered.acquire, timeout=20)
    tasks.append(asyncio.create_task(client.post(PATH, json={"inputs": ["b", "c"]})))
    while client.app.state.registry.resolve().queue_depth < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return tasks


# Refusing


async def test_refusal_comes_before_the_body_is_read(full):
    """503 as problem+json with Retry-After in whole seconds, and an id to find it by."""
    status, fields, problem = await call(full.app, body=None)
    assert status == problem["status"] == 503
    assert fields["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:heed:problem:queue-full"
    assert int(fields["retry-after"]) >= 1
    assert fields["x-request-id"] == problem["request_id"]


async def test_body_is_read_again_as_soon_as_there_is_room(full, fake_engine):
    """Refusing leaves nothing behind."""
    assert (await call(full.app, body=None))[0] == 503
    fake_engine.gate.set()
    while full.app.state.registry.resolve().queue_depth:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert (await call(full.app))[0] == 200


async def test_deadline_counts_while_the_body_comes(serve):
    """504 as soon as it has passed, though the client goes on sending; and the body is not kept."""
    async with serve() as client:
        sent = []

        async def receive():
            if received:
                await asyncio.sleep(3600)
            received.append(True)
            return {"type": "http.request", "body": b'{"inp', "more_body": True}

        async def send(message):
            sent.append(message)

        received: list[bool] = []
        headers = [(b"content-type", b"application/json"), (TIMEOUT, b"20")]
        scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b""}
        await asyncio.wait_for(client.app(scope | {"headers": headers}, receive, send), 20.0)
    assert sent[0]["status"] == 504


async def test_health_and_metrics_are_never_refused(full):
    """They need no engine."""
    for path in ("/health/live", "/health/ready", "/metrics", "/v1/models"):
        assert (await full.get(path)).status_code == 200


async def test_status_of_a_refusal_can_be_429(serve, fake_engine):
    """For clients that retry nothing else; the type stays the same."""
    async with serve(
        fake_engine, engine_workers=1, max_queue_size=2, max_texts_per_request=2, shed_status=429
    ) as client:
        tasks = await fill(client, fake_engine)
        status, fields, problem = await call(client.app, body=None)
        assert status == problem["status"] == 429
        assert problem["type"] == "urn:heed:problem:queue-full"
        assert int(fields["retry-after"]) >= 1
        fake_engine.gate.set()
        await asyncio.gather(*tasks)


async def test_request_with_more_texts_than_places_is_refused_after_its_body(serve, fake_engine):
    """Its headers do not say how many texts there are; nothing of it is computed."""
    async with serve(
        fake_engine, engine_workers=1, max_queue_size=4, max_texts_per_request=4
    ) as client:
        tasks = await fill(client, fake_engine)
        answer = await client.post(PATH, json={"inputs": ["d", "e", "f"]})
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:heed:problem:queue-full"
        fake_engine.gate.set()
        await asyncio.gather(*tasks)
    assert len(fake_engine.computed) == 3


async def test_announced_body_that_is_too_large_is_not_read(serve):
    """The other thing that the headers say."""
    async with serve(max_body_bytes=20_000) as client:
        status, _, problem = await call(client.app, [(b"content-length", b"20001")], body=None)
    assert status == 413
    assert problem["type"] == "urn:heed:problem:body-too-large"


# Deadlines


async def test_expired_request_is_504_while_the_engine_is_busy(serve, fake_engine):
    """Answered by its deadline, and the engine never sees it."""
    async with serve(fake_engine, engine_workers=1) as client:
        fake_engine.gate.clear()
        first = asyncio.create_task(client.post(PATH, json={"inputs": "a"}))
        assert await asyncio.to_thread(fake_engine.entered.acquire, timeout=20)
        started = time.monotonic()
        answer = await client.post(
            PATH, json={"inputs": "b"}, headers={"X-Request-Timeout-Ms": "100"}
        )
        assert 0.1 <= time.monotonic() - started <= 0.6
        assert not fake_engine.gate.is_set()
        assert answer.status_code == 504
        assert answer.json()["type"] == "urn:heed:problem:deadline-exceeded"
        assert "retry-after" not in answer.headers
        fake_engine.gate.set()
        assert (await first).status_code == 200
    assert len(fake_engine.computed) == 1


@pytest.mark.parametrize(
    ("given", "left_s"),
    [("250", 0.25), ("1", 0.001), ("0250", 0.25), ("10000", 10), ("10001", 10), ("9" * 18, 10)],
)
async def test_clients_may_only_shorten_their_timeout(given, left_s):
    """More than the service's own is cut to that."""
    assert await ticket_of((TIMEOUT, given.encode())) == (Priority.INTERACTIVE, left_s)


async def test_request_without_headers_gets_the_defaults():
    """The service's timeout and priority interactive."""
    assert await ticket_of() == (Priority.INTERACTIVE, 10.0)


async def test_shortest_of_several_timeouts_counts():
    """A proxy may have added one."""
    several = [(TIMEOUT, b"300"), (TIMEOUT, b"200"), (TIMEOUT, b"400")]
    assert await ticket_of(*several) == (Priority.INTERACTIVE, 0.2)


@pytest.mark.parametrize(
    ("given", "priority"),
    [
        ("interactive", Priority.INTERACTIVE),
        ("batch", Priority.BATCH),
        ("Batch", Priority.BATCH),
    ],
)
async def test_priority_is_what_the_header_says(given, priority):
    """In any case."""
    assert await ticket_of((PRIORITY, given.encode())) == (priority, 10.0)


async def test_only_post_is_checked_against_the_queue():
    """What asks for the methods of the path needs no engine."""
    assert await ticket_of(method="OPTIONS") == (Priority.INTERACTIVE, 10.0)


@pytest.mark.parametrize(
    "header",
    [
        *(
            (TIMEOUT, value)
            for value in (
                b"", b"0", b"000", b"-1", b"+1", b"1.5", b"1e3", b" 1", b"1 ", b"1_0", b"0x10",
                b"nan", b"inf", b"abc", b"9" * 19, b"1, 2", b"1\n", b"\xff", "٣".encode(),
            )
        ),
        *((PRIORITY, value) for value in (b"", b"high", b"batch ", b"0", b"batch, batch", b"\xff")),
    ],
)  # fmt: skip
async def test_unusable_header_is_400_before_the_body_is_read(serve, fake_engine, header):
    """Which header, and what was expected; not what was sent."""
    async with serve(fake_engine) as client:
        status, _, problem = await call(client.app, [header], body=None)
    assert status == 400
    assert problem["type"] == "urn:heed:problem:invalid-header"
    name = "X-Request-Timeout-Ms" if header[0] == TIMEOUT else "X-Request-Priority"
    expected = "a whole number of at least 1" if header[0] == TIMEOUT else "interactive or batch"
    assert problem["detail"] == f"{name}: expected {expected}"
    assert fake_engine.computed == []


async def test_one_good_header_does_not_excuse_a_bad_one(serve):
    """Whichever comes first."""
    async with serve() as client:
        for several in ([(TIMEOUT, b"5"), (TIMEOUT, b"x")], [(TIMEOUT, b"x"), (TIMEOUT, b"5")]):
            assert (await call(client.app, several, body=None))[0] == 400


# Accounts


async def test_each_request_has_exactly_one_outcome(serve, fake_engine):
    """Received is the sum of outcomes, each outcome is what the client counted."""
    async with serve(
        fake_engine, engine_workers=1, max_queue_size=3, max_texts_per_request=2
    ) as client:
        seen: list[int] = []
        tasks = await fill(client, fake_engine)
        seen.append((await call(client.app, body=b'{"inputs": ["d", "e"]}'))[0])
        seen.append((await call(client.app, [(TIMEOUT, b"20")]))[0])
        seen.append((await call(client.app, [(TIMEOUT, b"x")], body=None))[0])
        fake_engine.gate.set()
        seen += [answer.status_code for answer in await asyncio.gather(*tasks)]
        seen.append((await call(client.app, body=b"{"))[0])
        seen.append((await call(client.app, body=b'{"inputs": ""}'))[0])
        seen.append((await call(client.app, method="PUT"))[0])
        fake_engine.error = RuntimeError()
        seen.append((await call(client.app))[0])
        fake_engine.error = None
        while fake_engine.entered.acquire(blocking=False):
            pass
        fake_engine.gate.clear()
        leaver = asyncio.create_task(call(client.app))
        assert await asyncio.to_thread(fake_engine.entered.acquire, timeout=20)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        fake_engine.gate.set()
        counted = outcomes(await client.get("/metrics"))
    assert sorted(seen) == [200, 200, 400, 400, 405, 422, 500, 503, 504]
    assert counted == {
        "ok": 2, "invalid": 4, "shed": 1, "expired": 1, "engine_error": 1, "cancelled": 1
    }  # fmt: skip


def outcomes(answer) -> dict[str, float]:
    """Requests by outcome, those that there were."""
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    samples = families["heed_requests"].samples
    return {sample.labels["outcome"]: sample.value for sample in samples if sample.value}


# Clocks


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_step_of_the_wall_clock_does_not_reach_a_deadline(serve, monkeypatch, step_s):
    """An hour forwards expires nobody, an hour back keeps nobody."""
    real = time.time
    async with serve() as client:
        monkeypatch.setattr(time, "time", lambda: real() + step_s)
        answer = await client.post(
            PATH, json={"inputs": "a"}, headers={"X-Request-Timeout-Ms": "5000"}
        )
    assert answer.status_code == 200


def test_no_duration_in_the_service_is_taken_from_the_wall_clock():
    """Nothing uses `time.time`; `datetime` is for dates: when a key was made or ends."""
    found = []
    for path in sorted(Path(service.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                if name in ("time.time", "time.time_ns"):
                    found.append((path.name, name))
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                found += [(path.name, alias.name) for alias in node.names]
    assert found == []
