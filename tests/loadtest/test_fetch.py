"""A hostile or broken server costs bounded bytes and time, and is one line."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import pytest

from loadtest import target as module
from loadtest.fetch import FetchError, clean, fetch, read_file
from loadtest.target import Target, TargetError, base_url

OK = b"HTTP/1.1 200 OK\r\n"
DEADLINE_S = 0.5


@contextmanager
def answering(pieces: Callable[[], Iterable[bytes]], pause_s: float = 0.0) -> Iterator[str]:
    """The address of a server that sends these pieces to whoever connects."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                for piece in pieces():
                    if over.wait(pause_s):
                        return
                    connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = listener.getsockname()
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            over.set()
            with suppress(OSError), socket.create_connection(address, 1):
                pass
            thread.join(5)


def endless(head: bytes, rest: bytes) -> Callable[[], Iterable[bytes]]:
    """`head`, then `rest` without end."""
    return lambda: itertools.chain([head], itertools.repeat(rest))


@pytest.mark.parametrize(
    ("pieces", "pause_s", "reason"),
    [
        (endless(OK + b"\r\n", b"x" * 60_000), 0.0, "answers more than 1,000,000 bytes"),
        (endless(OK + b"Content-Length: 99\r\n\r\n", b"x"), 0.05, "no whole answer within 0.5 s"),
        (endless(b"", b"H"), 0.05, "no whole answer within 0.5 s"),
        (endless(OK, b"a: b\r\n"), 0.0, "got more than 100 headers"),
        (endless(OK, b"a" * 60_000), 0.0, "got more than 65536 bytes when reading header line"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), 0.01, "no whole answer within 0.5 s"),
        (endless(b"", b""), 0.05, "no whole answer within 0.5 s"),
        (lambda: [b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"], 0.0, "answers 302, not 200"),
        (lambda: [b"SSH-2.0-x\r\n"], 0.0, "SSH-2.0-x"),
        (lambda: [OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], 0.0, "IncompleteRead"),
    ],
)
def test_answer_is_bounded_in_bytes_and_time(pieces, pause_s: float, reason: str) -> None:
    """However it drips or swells: a reason, and not much later than the deadline."""
    with answering(pieces, pause_s) as url:
        began = time.monotonic()
        with pytest.raises(FetchError) as caught:
            fetch(f"{url}/x", {}, DEADLINE_S, 1_000_000)
        assert time.monotonic() - began < 20 * DEADLINE_S
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_service_that_drips_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the address and the reason; lists and metrics of it are none."""
    monkeypatch.setattr(module, "TIMEOUT_S", DEADLINE_S)
    monkeypatch.setattr(Target._get, "__defaults__", (DEADLINE_S,))
    with answering(endless(OK + b"\r\n", b"x"), 0.05) as url:
        target = Target(url)
        with pytest.raises(TargetError, match=f"cannot reach {url}: no whole answer within 0.5 s"):
            target.require_ready()
        assert target.models() is None


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"models": 5}',
        b'{"models": [5]}',
        b'{"models": [{"name": 1, "version": "1"}]}',
        b'{"models": {"a": 1}}',
        b"9" * 5_000,
        b"null",
        b"\xff",
    ],
)
def test_list_of_models_that_is_none_is_no_list(monkeypatch, body: bytes) -> None:
    """Deep, of other types, of 5,000 digits."""
    target = Target("http://127.0.0.1:1")
    monkeypatch.setattr(target, "_get", lambda *_: body)
    assert target.models() is None


def test_names_that_cannot_be_saved_are_mended(monkeypatch) -> None:
    """A result with half a surrogate in it could not be written after the run."""
    target = Target("http://127.0.0.1:1")
    listed = [{"name": "a\ud800\x00\nb" + "c" * 9_000, "version": "\udfff"}] * 5_000
    monkeypatch.setattr(target, "_get", lambda *_: json.dumps({"models": listed}).encode())
    facts = target.facts()
    assert len(facts.models) == 100
    assert facts.models[0].name.startswith("a?\x00 bccc")
    assert len(facts.models[0].name) == 200
    facts.model_dump_json()


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_metrics_without_a_number_are_left_out(monkeypatch, value: str) -> None:
    """They would end the thread that watches the run."""
    target = Target("http://127.0.0.1:1")
    page = f"process_resident_memory_bytes {value}\nheed_queue_depth 3\n"
    monkeypatch.setattr(target, "_get", lambda *_: page.encode())
    assert target.metrics() == {"heed_queue_depth": 3}


@pytest.mark.parametrize(
    "url",
    [
        "http://h:8000",
        "http://h:8000/",
        "http://h:8000//",
        "  http://h:8000/ ",
        "HTTP://H:8000",
        "http://h:8000\n",
    ],
)
def test_address_is_written_in_many_ways(url: str) -> None:
    """Blanks around it, slashes at its end and case mean nothing."""
    assert base_url(url) == "http://h:8000"
    assert base_url(f"{url.strip()}/Some//Prefix//") == "http://h:8000/Some/Prefix"


@pytest.mark.parametrize(
    "url", ["http://a b", "http://h/\x00", "h", "http:/h", "http://h\\x", "//h"]
)
def test_address_that_is_none_is_one_line(url: str) -> None:
    """Whatever a shell or a form handed over."""
    with pytest.raises(TargetError, match="is not an address such as") as caught:
        base_url(url)
    assert "\n" not in str(caught.value)


def test_text_of_others_is_one_line_of_bounded_length() -> None:
    """And can be encoded."""
    assert clean("a\n b\ud800") == "a b?"
    assert len(clean("x" * 10**6)) == 200


def test_file_that_is_too_large_is_an_error(tmp_path) -> None:
    """Before it is parsed."""
    (tmp_path / "slo.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(OSError, match="larger than 1,000,000 bytes"):
        read_file(tmp_path / "slo.yaml")
    assert read_file(tmp_path / "slo.yaml", 2_000_000)
