"""What is checked before any load is sent."""

import socket

import pytest

from loadtest.result import Model
from loadtest.target import Target, TargetError


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://h", "http://", "http://[bad", "http://h:port", "file:///x"]
)
def test_what_is_no_http_address_is_refused(url: str) -> None:
    """The message shows what an address looks like."""
    with pytest.raises(TargetError, match=r"not an address such as http://127\.0\.0\.1:8000"):
        Target(url)


def test_address_with_a_password_is_refused_without_repeating_it() -> None:
    """It would end up in the saved result."""
    with pytest.raises(TargetError, match="no password") as caught:
        Target("http://user:secret@h")
    assert "secret" not in str(caught.value)


def test_ready_service_passes_and_lists_its_models(serve_stub) -> None:
    """A slash at the end of the address does no harm."""
    with serve_stub() as stub:
        target = Target(stub.url + "/")
        target.require_ready()
        assert target.url == stub.url
        assert target.models() == [Model(name="topics", version="3", manifest_sha256="ab" * 32)]


def test_service_that_is_not_ready_is_refused_with_its_status(serve_stub) -> None:
    """503 from /health/ready is not a service to measure."""
    with serve_stub(ready=False) as stub, pytest.raises(TargetError, match="answers 503, not 200"):
        Target(stub.url).require_ready()


def test_nobody_listening_is_one_clear_message() -> None:
    """The address and the reason."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(TargetError, match=f"cannot reach {url}: .*refused"):
            Target(url).require_ready()


def test_service_without_a_list_of_models_can_be_measured_all_the_same(serve_stub) -> None:
    """The list is information, not a condition."""
    with serve_stub() as stub:
        assert Target(f"{stub.url}/elsewhere").models() is None


def test_metrics_are_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summed over labels; what is not asked for is left out."""
    page = (
        "# HELP heed_engine_duration_seconds Computing a batch.\n"
        "# TYPE heed_engine_duration_seconds histogram\n"
        'heed_engine_duration_seconds_bucket{le="0.1",provider="cpu"} 5\n'
        'heed_engine_duration_seconds_sum{provider="cpu"} 0.25\n'
        'heed_engine_duration_seconds_sum{provider="cuda"} 0.5\n'
        "heed_requests_total 7\n"
        "heed_queue_depth 3\n"
    )
    target = Target("http://127.0.0.1:1")
    monkeypatch.setattr(target, "_get", lambda *_: page.encode())
    assert target.metrics() == {"heed_engine_duration_seconds_sum": 0.75, "heed_queue_depth": 3}


@pytest.mark.parametrize("page", [b"", b"<html>", b"heed_queue_depth many\n", b"\xff"])
def test_a_page_that_is_no_metrics_is_none(monkeypatch: pytest.MonkeyPatch, page: bytes) -> None:
    """Metrics are information, not a condition."""
    target = Target("http://127.0.0.1:1")
    monkeypatch.setattr(target, "_get", lambda *_: page)
    assert target.metrics() == {}


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
        ("http://example.com", False),
    ],
)
def test_a_loopback_address_is_local(url: str, local: bool) -> None:
    """By address or by name."""
    assert Target(url).local is local


@pytest.mark.parametrize(
    ("listed", "changed"),
    [([], True), ([Model(name="topics", version="3", manifest_sha256=None)], False), (None, False)],
)
def test_a_service_that_is_gone_did_not_change_its_model(
    monkeypatch: pytest.MonkeyPatch, listed: list[Model] | None, changed: bool
) -> None:
    """Then its objectives fail, and the measurement is valid."""
    target = Target("http://127.0.0.1:1")
    monkeypatch.setattr(target, "models", lambda: listed)
    before = [Model(name="topics", version="3", manifest_sha256=None)]
    assert target.serves_other_than(before) is changed


def test_a_redirect_is_not_followed(serve_stub) -> None:
    """It would take the key to another host, which may well answer 200."""
    with serve_stub() as stub:
        stub.redirect = True
        with pytest.raises(TargetError, match="answers 302, not 200"):
            Target(stub.url, "secret").require_ready()
