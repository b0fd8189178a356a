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
        assert target.models() == [Model("topics", "3", "ab" * 32)]


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
        assert Target(f"{stub.url}/elsewhere").models() == []
