"""Request ids, limits, methods, the net for crashes, the log."""

import asyncio
import json

import httpx
import pytest

from tests.loglines import events

CANARY = "CANARY-5b1e"


async def test_harmless_request_id_is_kept_any_other_replaced(serve):
    """It goes into headers and logs, so its alphabet is closed; every answer has one."""
    async with serve() as client:
        for given, kept in [
            ("abc-1.2_Z", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("a b", False),
        ]:
            answer = await client.get("/health/live", headers={"X-Request-ID": given})
            assert (answer.headers["x-request-id"] == given) == kept
        answers = [await client.get(path) for path in ("/nope", "/v1/classify", "/metrics")]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nope", 404, None),
        ("GET", "/", 404, None),
        ("POST", "/v1/classify/", 404, None),
        ("POST", "/v1//classify", 404, None),
        ("POST", "/V1/classify", 404, None),
        ("POST", "/v1/classify%2f", 404, None),
        ("POST", "/v1/classify%0a", 404, None),
        ("GET", "/v1/models%0A", 404, None),
        ("POST", "/v1/classify%00", 404, None),
        ("POST", "/v1/classify%7f", 404, None),
        ("POST", "/%0d/v1/classify", 404, None),
        ("POST", "/v1/classify%250a", 404, None),
        ("POST", "//v1/classify", 404, None),
        ("POST", "/v1/classify;a", 404, None),
        ("FOO", "/nope", 404, None),
        ("GET", "/v1/classify", 405, "POST"),
        ("HEAD", "/v1/classify", 405, "POST"),
        ("PUT", "/v1/classify", 405, "POST"),
        ("OPTIONS", "/v1/classify", 405, "POST"),
        ("FOO", "/v1/classify", 405, "POST"),
        ("post", "/v1/classify", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET, HEAD"),
        ("TRACE", "/health/live", 405, "GET, HEAD"),
        ("CONNECT", "/metrics", 405, "GET, HEAD"),
    ],
)
async def test_routing_errors_are_problems(serve, method, path, status, allow):
    """Nothing answers in the framework's own form; a path is what it is when decoded once."""
    async with serve() as client:
        answer = await client.send(raw_request(client, method, path))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("allow") == allow


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/v1/classify/", "; perhaps /v1/classify was meant"),
        ("POST", "/v1/clasify", "; perhaps /v1/classify was meant"),
        ("POST", "/V1//Classify", "; perhaps /v1/classify was meant"),
        ("POST", "/classify", "; perhaps /v1/classify was meant"),
        ("GET", "/v1/model", "; perhaps /v1/models was meant"),
        ("GET", "/health/ready/", "; perhaps /health/ready was meant"),
        ("GET", "/docs/", "; perhaps /docs was meant"),
        ("GET", "/", ""),
        ("GET", f"/{CANARY}", ""),
        ("GET", "/v1/classify" + "y" * 10_000, ""),
        ("GET", "/v1/classify", ": it takes POST"),
        ("DELETE", "/v1/models", ": it takes GET, HEAD"),
    ],
)
async def test_error_of_routing_says_what_was_probably_meant(serve, method, path, told):
    """The route or the methods, and nothing of what was asked for."""
    async with serve() as client:
        answer = await client.request(method, f"http://heed{path}")
    said = {404: "there is nothing at this path", 405: "this path has no such method"}
    assert answer.json()["detail"] == said[answer.status_code] + told
    assert CANARY not in answer.text


async def test_path_with_a_line_break_is_logged_and_counted_as_no_route(serve, capfd):
    """The router would find the route in front of it, past deadline and accounts."""
    async with serve() as client:
        answer = await client.post("/v1/classify%0a", json={"inputs": "a"})
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 404
    line = events(capfd.readouterr().err, "request")[0]
    assert (line["route"], line["outcome"], line["texts"]) == ("unmatched", "invalid", 0)
    assert "heed_requests_received_total 0.0" in metrics


def raw_request(client, method: str, path: str) -> httpx.Request:
    """A request whose method stays as it is written."""
    request = client.build_request("GET", path)
    request.method = method
    return request


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v1/models", "/metrics"])
async def test_head_is_answered_as_get(serve, path):
    """With the same status and header fields; the server leaves the body out."""
    async with serve() as client:
        get, head = await client.get(path), await client.head(path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize("announced", [True, False])
async def test_body_over_the_limit_is_413_announced_or_not(serve, announced):
    """By Content-Length before a byte is read, by counting when the body is chunked."""

    async def chunks():
        yield b'{"inputs": "'
        for _ in range(50):
            yield b"x" * 1000

    body = b"".join([chunk async for chunk in chunks()])
    async with serve(max_body_bytes=20_000) as client:
        answer = await client.post(
            "/v1/classify",
            content=body if announced else chunks(),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:heed:problem:body-too-large"
    assert answer.headers["connection"] == "close"


async def test_body_at_the_limit_is_accepted(serve):
    """The limit itself is allowed."""
    body = json.dumps({"inputs": "a"}).encode()
    async with serve(max_body_bytes=20_000) as client:
        answer = await client.post(
            "/v1/classify",
            content=body + b" " * (20_000 - len(body)),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 200


async def test_crash_is_500_without_internals_and_logged_without_messages(serve, capfd):
    """The log has where it happened, never what the exception says: that may quote the text."""
    async with serve() as client:

        def broken(*_):
            raise RuntimeError(CANARY)

        client.app.state.registry.resolve().classify = broken
        answer = await client.post("/v1/classify", json={"inputs": CANARY})
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:heed:problem:internal-error"
    log = capfd.readouterr().err
    assert CANARY not in answer.text + log
    (crash,), (request,) = events(log, "failure"), events(log, "request")
    assert crash["request_id"] == request["request_id"] == answer.headers["x-request-id"]
    assert crash["frames"][0] == "RuntimeError"
    assert any("in classify" in frame for frame in crash["frames"])


async def test_one_line_a_request_with_counts_and_without_text(serve, capfd):
    """JSON, as stderr is no terminal here; unknown paths are not repeated."""
    async with serve() as client:
        await client.post("/v1/classify", json={"inputs": [f"{CANARY} one", "two"]})
        await client.get(f"/{CANARY}")
        await client.get("/health/live")
    log = capfd.readouterr().err
    assert CANARY not in log
    first, second = events(log, "request")  # the probe is at debug level
    assert (first["route"], first["status"], first["texts"]) == ("/v1/classify", 200, 2)
    assert first["tokens"] > 2
    assert first["duration_ms"] > 0
    assert (second["route"], second["status"], second["outcome"]) == ("unmatched", 404, "invalid")


async def test_client_that_leaves_is_not_computed(serve, fake_engine):
    """Its queued texts are dropped, and it counts as cancelled."""
    async with serve(fake_engine, engine_workers=1) as client:
        fake_engine.gate.clear()
        first = asyncio.create_task(client.post("/v1/classify", json={"inputs": "first"}))
        await asyncio.to_thread(fake_engine.entered.acquire)
        gone = asyncio.Event()
        await call_and_leave(client.app, gone)
        fake_engine.gate.set()
        assert (await first).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert len(fake_engine.computed) == 1
    assert 'heed_requests_total{outcome="cancelled"} 1.0' in metrics


async def test_client_that_leaves_in_the_middle_of_its_body_is_no_error_of_ours(serve, capfd):
    """Counted as cancelled, without the frames of a failure in the log."""
    async with serve() as client:
        await call_and_leave(client.app, asyncio.Event(), more_body=True)
        metrics = (await client.get("/metrics")).text
    assert 'heed_requests_total{outcome="cancelled"} 1.0' in metrics
    assert '"failure"' not in capfd.readouterr().err


async def call_and_leave(app, gone: asyncio.Event, more_body: bool = False) -> None:
    """One ASGI call whose client disconnects after sending the body, or a part of it."""
    body = json.dumps({"inputs": "second"}).encode()
    messages = [
        {"type": "http.request", "body": body, "more_body": more_body},
        {"type": "http.disconnect"},
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        if message["type"] == "http.response.start":
            gone.set()

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/classify",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
