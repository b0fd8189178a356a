"""Around every request: what is counted, and that no 200 leaves after its deadline."""

import time

import pytest
from prometheus_client import CollectorRegistry

from service.http.observe import Observe, Routes
from service.items import Priority, Ticket
from service.logs import RECORD_KEY, make_logger
from service.metrics import Metrics

PATH = "/v1/classify"
ROUTES = Routes(known=frozenset({PATH, "/metrics"}), counted=frozenset({PATH}))


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the metrics of one test are."""
    return CollectorRegistry()


def answering(status: int, deadline: float):
    """An app that gives its request a ticket and answers."""

    async def app(scope, receive, send):
        scope[RECORD_KEY].ticket = Ticket(Priority.INTERACTIVE, deadline)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


async def status_of(app, registry: CollectorRegistry, path: str = PATH) -> int:
    """What one request is answered with."""
    sent = []

    async def send(message):
        sent.append(message)

    observe = Observe(app, Metrics(registry), make_logger("critical"), ROUTES)
    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    await observe(scope, None, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"]


async def test_a_200_that_is_late_becomes_a_504(registry):
    """Nobody waits for it any more; it is counted as expired, never as answered."""
    assert await status_of(answering(200, time.monotonic() - 1.0), registry) == 504
    assert registry.get_sample_value("heed_late_responses_total") == 0
    assert registry.get_sample_value("heed_requests_total", {"outcome": "expired"}) == 1


@pytest.mark.parametrize(("status", "late_s"), [(200, -60.0), (503, 1.0), (422, 1.0)])
async def test_what_is_in_time_or_no_answer_passes_as_it_is(registry, status, late_s):
    """A refusal is of use whenever it comes: the client learns why."""
    assert await status_of(answering(status, time.monotonic() - late_s), registry) == status


@pytest.mark.parametrize(("path", "counted"), [(PATH, 1), ("/metrics", 0), ("/other", 0)])
async def test_only_what_needs_the_engine_is_counted(registry, path, counted):
    """Probes and scrapes would hide how many requests there are."""
    seen = []

    async def app(scope, receive, send):
        seen.append(registry.get_sample_value("heed_in_flight_requests"))
        await answering(200, time.monotonic() + 60.0)(scope, receive, send)

    await status_of(app, registry, path)
    assert seen == [counted]
    assert registry.get_sample_value("heed_in_flight_requests") == 0
    assert registry.get_sample_value("heed_requests_received_total") == counted
