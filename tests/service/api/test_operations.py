"""Models, probes, metrics and OpenAPI."""

import hashlib

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message

from service.app import create_app
from service.http.auth import LIVE, READY
from service.settings import Settings
from tests.artifacts import LABELS, MAX_LENGTH


def client_of(app: FastAPI) -> AsyncClient:
    """Calls `app` in process; its lifespan is not entered."""
    return AsyncClient(transport=ASGITransport(app), base_url="http://heed")


async def test_models_says_what_is_served(serve, tiny_artifact):
    """With the hash of the manifest, so that a deployment can be checked."""
    async with serve() as client:
        (model,) = (await client.get("/v1/models")).json()["models"]
    digest = hashlib.sha256((tiny_artifact / "manifest.json").read_bytes()).hexdigest()
    assert model == {
        "name": "tiny",
        "version": "1",
        "labels": list(LABELS),
        "max_length": MAX_LENGTH,
        "precision": "fp32",
        "manifest_sha256": digest,
        "execution_provider": "cpu",
        "metrics": {"validation": {"accuracy": 0.5, "macro_f1": 0.4}},
    }


async def test_before_the_model_is_loaded_it_lives_but_is_not_ready(settings):
    """And what needs a model is a 503 problem."""
    async with client_of(create_app(settings)) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
        for method, path in [
            ("GET", "/health/ready"),
            ("GET", "/v1/models"),
            ("POST", "/v1/classify"),
        ]:
            answer = await client.request(method, path, json={"inputs": "a"})
            assert answer.status_code == 503
            assert answer.json()["type"] == "urn:heed:problem:not-ready"
            assert answer.headers["retry-after"]


async def test_ready_turns_503_when_the_process_is_told_to_stop(serve):
    """Live stays 200, and what is accepted is still answered."""
    async with serve() as client:
        assert (await client.get("/health/ready")).json() == {"status": "ok"}
        client.app.state.ready = False
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.post("/v1/classify", json={"inputs": "a"})).status_code == 200


async def test_the_engine_is_warm_before_the_service_is_ready(serve, fake_engine):
    """The first request pays for nothing."""
    async with serve(fake_engine):
        assert fake_engine.warm_ups == 1


async def test_two_apps_in_one_process_share_nothing(settings):
    """Each has its own metrics and its own model."""
    first, second = create_app(settings), create_app(settings)
    async with first.router.lifespan_context(first), second.router.lifespan_context(second):
        async with client_of(first) as client:
            await client.post("/v1/classify", json={"inputs": "a"})
        async with client_of(second) as client:
            assert 'outcome="ok"} 0.0' in (await client.get("/metrics")).text


async def test_metrics_count_each_request_to_classify_once(serve, fake_engine):
    """Received is the sum of outcomes; durations, waits and batches are there."""
    async with serve(fake_engine, max_body_bytes=20_000) as client:
        await client.post("/v1/classify", json={"inputs": ["a", "b c"]})
        await client.post("/v1/classify", json={"inputs": []})
        await client.post("/v1/classify", content=b"x" * 20_001)
        await client.get("/v1/classify")
        await client.get("/health/ready")
        fake_engine.error = ValueError("broken")
        await client.post("/v1/classify", json={"inputs": "a"})
        page = (await client.get("/metrics")).text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["heed_requests_total", "ok"] == 1
    assert samples["heed_requests_total", "invalid"] == 3
    assert samples["heed_requests_total", "engine_error"] == 1
    assert samples["heed_request_duration_seconds_count",] == 5
    assert samples["heed_queue_wait_seconds_count",] == 3
    assert samples["heed_tokenize_seconds_count",] == 2
    assert samples["heed_engine_duration_seconds_count", "cpu"] == 2
    assert samples["heed_batch_size_sum",] == 3
    assert samples["heed_in_flight_requests",] == 0
    assert samples["heed_queue_depth",] == 0
    assert samples["process_resident_memory_bytes",] > 0
    assert "heed_build_info{" in page
    assert "_created" not in page


LOADED = {
    "/docs": "text/html",
    "/docs/swagger-ui.css": "text/css",
    "/docs/swagger-ui-bundle.js": "text/javascript",
    "/docs/start.js": "text/javascript",
    "/openapi.json": "application/json",
}


@pytest.mark.parametrize("root_path", ["", "/heed", "/team/heed/"])
async def test_page_of_the_documentation_is_served_with_all_it_loads(tiny_artifact, root_path):
    """Also below a path, whether a proxy takes it off or not; the document says where to ask."""
    app = create_app(Settings(model=tiny_artifact, root_path=root_path))
    below = root_path.rstrip("/")
    async with client_of(app) as client:
        for path, media_type in LOADED.items():
            for answer in (await client.get(path), await client.get(below + path)):
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith(media_type)
                assert len(answer.content) > 100
        assert (await client.get(f"{below}/v1/models")).status_code == 503  # not loaded
        assert (await client.get(f"{below}less/docs")).status_code == 404
        document = (await client.get("/openapi.json")).json()
    assert document.get("servers") == ([{"url": below}] if below else None)


@pytest.mark.parametrize("value", ["heed", "//a", "/a//b", "/a b", "/../a", "http://a/b", "/a?b"])
def test_root_path_that_is_no_path_is_refused(value):
    """At start."""
    with pytest.raises(ValueError, match="expected a path such as /heed"):
        Settings(model="artifact", root_path=value)


@pytest.mark.parametrize("path", [*LIVE, *READY])
async def test_probes_answer_under_the_names_that_others_give_them(serve, path, capfd):
    """Those that may end a process ask whether it lives, others whether it takes requests."""
    async with serve() as client:
        assert (await client.get(path)).json() == {"status": "ok"}
        client.app.state.ready = False
        assert (await client.get(path)).status_code == (200 if path in LIVE else 503)
        assert (await client.head(path)).status_code == (200 if path in LIVE else 503)
    assert '"request"' not in capfd.readouterr().err  # at debug, as all probes


@pytest.mark.parametrize("path", [*LOADED, "/redoc"])
async def test_docs_can_be_switched_off(tiny_artifact, path):
    """Then there is nothing at their paths."""
    app = create_app(Settings(model=tiny_artifact, docs_enabled=False))
    async with client_of(app) as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:heed:problem:not-found"


async def test_document_is_held_once_however_many_clients_do_not_read_it(tiny_artifact):
    """Each would hold on to a copy of its own."""
    app = create_app(Settings(model=tiny_artifact))
    first, second = [await body_of(app, "/openapi.json") for _ in range(2)]
    assert first is second


async def body_of(app: FastAPI, path: str) -> bytes:
    """As the application sends it."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[1]["body"]
