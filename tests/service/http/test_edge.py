"""Request ids, limits, the net for crashes, the log, and that no text leaks anywhere."""

import asyncio
import json

import pytest

from service.runtime.engine import EngineError

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
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/v1/classify/", 404),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/classify", 405),
    ],
)
async def test_routing_errors_are_problems(serve, method, path, status):
    """Nothing answers in the framework's own form."""
    async with serve() as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("allow" in answer.headers) == (status == 405)


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

        client.app.state.registry.resolve = broken
        answer = await client.post("/v1/classify", json={"inputs": CANARY})
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:heed:problem:internal-error"
    log = capfd.readouterr().err
    assert CANARY not in answer.text + log
    crash, request = map(json.loads, log.splitlines())
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
    first, second = map(json.loads, log.splitlines())  # the probe is at debug level
    assert (first["route"], first["status"], first["texts"]) == ("/v1/classify", 200, 2)
    assert first["tokens"] > 2
    assert first["duration_ms"] > 0
    assert (second["route"], second["status"], second["outcome"]) == ("unmatched", 404, "invalid")


async def test_text_appears_in_no_error_log_line_or_metric(serve, fake_engine, capfd):
    """The canary, through success and every way to fail."""
    path = "/v1/classify"
    wrong = [
        {"inputs": [CANARY, ""]},
        {"inputs": CANARY * 20},
        {"inputs": [CANARY] * 5},
        {"inputs": CANARY, "top_k": CANARY},
        {"inputs": CANARY, "explain": CANARY},
        {"inputs": CANARY, "model": CANARY},
        {"inputs": CANARY, "version": CANARY},
        {"inputs": CANARY, CANARY: CANARY},
        {"inputs": {CANARY: CANARY}},
        {CANARY: CANARY},
        CANARY,
    ]
    raw = [f'{{"inputs": "{CANARY}', f'{{"inputs": "{CANARY} \\ud800"}}', f"{CANARY}" * 3000]
    limits = {"max_text_chars": 100, "max_texts_per_request": 4, "max_queue_size": 4}
    async with serve(
        fake_engine, **limits, request_timeout_s=0.05, engine_workers=1, max_body_bytes=20_000
    ) as client:
        assert (await client.post(path, json={"inputs": CANARY})).status_code == 200
        errors = [await client.post(path, json=body) for body in wrong]
        headers = {"Content-Type": "application/json"}
        errors += [await client.post(path, content=body, headers=headers) for body in raw]
        errors.append(await client.post(path, content=CANARY, headers={"Content-Type": CANARY}))
        errors.append(await client.get(f"/{CANARY}", headers={"X-Request-ID": f"{CANARY} x"}))
        for error in (ValueError(CANARY), EngineError(CANARY)):
            fake_engine.error = error
            errors.append(await client.post(path, json={"inputs": CANARY}))
        fake_engine.error = None
        while fake_engine.entered.acquire(blocking=False):
            pass
        fake_engine.gate.clear()
        first = asyncio.create_task(client.post(path, json={"inputs": CANARY}))
        await asyncio.to_thread(fake_engine.entered.acquire)
        crowd = [client.post(path, json={"inputs": [CANARY] * 3}) for _ in range(2)]
        errors += await asyncio.gather(*crowd)  # one finds no room, one waits too long
        fake_engine.gate.set()
        assert (await first).status_code == 200
        metrics = (await client.get("/metrics")).text
    statuses = {answer.status_code for answer in errors}
    assert statuses == {400, 404, 413, 415, 422, 500, 503, 504}
    spoken = [answer.text + str(answer.headers) for answer in errors]
    assert CANARY not in "".join([*spoken, metrics, *capfd.readouterr()])


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


async def call_and_leave(app, gone: asyncio.Event) -> None:
    """One ASGI call whose client disconnects after sending the body."""
    body = json.dumps({"inputs": "second"}).encode()
    messages = [
        {"type": "http.request", "body": body, "more_body": False},
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
