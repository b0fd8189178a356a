"""Fixtures that several folders use."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.loader import EngineLike
from service.settings import Settings
from tests.artifacts import write_artifact
from tests.fakes import FakeEngine

Serve = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound artifact that answers in microseconds. Not to be changed: copy it first."""
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "tiny")


@pytest.fixture
def settings(tiny_artifact: Path) -> Settings:
    """Defaults on the tiny artifact."""
    return Settings(model=tiny_artifact, execution_provider="cpu")


@pytest.fixture
def fake_engine() -> FakeEngine:
    """An engine to block, to fail and to ask what it computed."""
    return FakeEngine()


@pytest.fixture
def serve(tiny_artifact: Path) -> Serve:
    """A function that starts an app in process and gives a client of it; checks its accounts."""

    @asynccontextmanager
    async def start(
        engine: EngineLike | None = None, **changed: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        changed = {"model": tiny_artifact, "execution_provider": "cpu"} | changed
        app = create_app(Settings(**changed), engine)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://heed") as client,
        ):
            client.app = app  # type: ignore[attr-defined]
            yield client
        check_accounts(app)

    return start


def check_accounts(app: FastAPI) -> None:
    """Every request that came has one outcome, nothing is left over, and nothing was late."""
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(app.state.metrics.render().decode()):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    assert totals["heed_requests_received_total"] == totals["heed_requests_total"]
    left = ("heed_in_flight_requests", "heed_queue_depth", "heed_late_responses_total")
    assert {name: totals[name] for name in left} == dict.fromkeys(left, 0.0)
