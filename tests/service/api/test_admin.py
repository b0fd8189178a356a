"""The admin routes: who may use them, and what they say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from httpx import ASGITransport, AsyncClient

from service.admin import create_admin_app
from service.app import create_app
from service.http.key_edit import add, make_secret
from service.http.keys import Key
from service.settings import Settings
from tests.artifacts import write_artifact
from tests.loglines import events

CREATED = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Version 1, which is served first, and what `add` adds."""
    write_artifact(tmp_path / "models" / "1", version="1")
    return tmp_path / "models"


@asynccontextmanager
async def administering(model: Path, **settings: object) -> AsyncIterator[AsyncClient]:
    """A client of the admin app, next to a running service."""
    app = create_app(Settings(model=model, execution_provider="cpu", **settings))
    transport = ASGITransport(create_admin_app(app), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://admin") as client,
    ):
        yield client


async def test_versions_are_listed_as_they_are_in_memory_and_on_disk(versions):
    """What is on disk may be loaded; the active one is the first of those in memory."""
    async with administering(versions) as client:
        write_artifact(versions / "10", version="10")
        write_artifact(versions / "9", version="9")
        listed = {"model": "tiny", "active": "1", "loaded": ["1"], "available": ["1", "9", "10"]}
        assert (await client.get("/admin/versions")).json() == listed
        answer = (await client.post("/admin/versions/9")).json()
        assert answer.pop("duration_s") > 0.0
        unchanged = {"labels_added": [], "labels_removed": []}
        assert answer == {"outcome": "activated", "active": "9"} | unchanged
        listed |= {"active": "9", "loaded": ["9", "1"]}
        assert (await client.get("/admin/versions")).json() == listed
        answer = (await client.post("/admin/versions/9")).json()
        assert answer == {"outcome": "unchanged", "active": "9", "duration_s": 0.0} | unchanged
        assert (await client.post("/admin/rollback")).json()["active"] == "1"


async def test_head_is_answered_wherever_get_is(versions):
    """And only there."""
    async with administering(versions) as client:
        for path in ("/admin/versions", "/health/live", "/metrics"):
            assert (await client.head(path)).status_code == 200
        answer = await client.head("/admin/rollback")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_labels_that_differ_are_named(versions):
    """In the answer, as clients may depend on them."""
    write_artifact(versions / "0", version="0", labels=("refund", "other"))
    async with administering(versions) as client:
        answer = (await client.post("/admin/versions/0")).json()
        assert answer["labels_added"] == ["other"]
        assert answer["labels_removed"] == ["card_arrival", "double_charge"]


@pytest.mark.parametrize("path", ["/admin/rollback", "/admin/versions/1"])
async def test_page_in_a_browser_cannot_change_anything(versions, path):
    """Any site may have a browser send a POST, but not without an Origin."""
    async with administering(versions) as client:
        answer = await client.post(path, headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "urn:heed:problem:forbidden"


async def test_probes_and_metrics_are_those_of_the_service(versions):
    """Both apps share one state; nothing of the public routes is here."""
    async with administering(versions) as client:
        assert (await client.get("/health/ready")).status_code == 200
        assert "heed_build_info{" in (await client.get("/metrics")).text
        for path in ("/v1/models", "/docs"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post("/v1/classify", json={"inputs": "a"})).status_code == 404
        body = await client.post("/admin/rollback", content=b"x" * 2000)
        assert body.status_code == 413


async def test_log_names_the_routes_by_their_templates(versions, capfdbinary):
    """Not what stands in their place: a path may hold anything."""
    async with administering(versions) as client:
        for path in ("/admin/versions/secret", "/admin/rollback", "/secret"):
            await client.post(path)
    lines = capfdbinary.readouterr().err.decode()
    assert [(line["route"], line["status"]) for line in events(lines, "request")] == [
        ("/admin/versions/{version}", 404),
        ("/admin/rollback", 409),
        ("unmatched", 404),
    ]


async def test_before_a_model_is_loaded_nothing_can_be_changed(versions):
    """503, as everywhere."""
    app = create_app(Settings(model=versions))
    transport = ASGITransport(create_admin_app(app))
    async with AsyncClient(transport=transport, base_url="http://admin") as client:
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.post("/admin/rollback")).status_code == 503


async def test_document_says_what_the_routes_answer(versions):
    """Each route with its problems."""
    async with administering(versions) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/admin/versions/{version}"]["post"]["responses"]) >= {
        *("200", "401", "403", "404", "409", "422", "503")
    }
    assert "409" in paths["/admin/rollback"]["post"]["responses"]


async def test_key_needs_the_scope_admin(versions, tmp_path):
    """Where keys are configured; probes need none."""
    keys = {}
    for scope in ("classify", "admin"):
        key_id, keys[scope], sha256 = make_secret()
        key = Key(id=key_id, sha256=sha256, client="ops", scopes=[scope], created=CREATED)
        add(tmp_path / "keys.toml", key)
    async with administering(versions, api_keys_file=tmp_path / "keys.toml") as client:
        assert (await client.get("/health/live")).status_code == 200
        for headers, status in [
            ({}, 401),
            ({"X-API-Key": keys["classify"]}, 403),
            ({"X-API-Key": keys["admin"]}, 200),
        ]:
            for path in ("/admin/versions", "/metrics"):
                assert (await client.get(path, headers=headers)).status_code == status
