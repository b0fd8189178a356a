"""`heed serve` as a process of its own: starting, refusing to start, stopping, raw sockets."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from service.runtime.artifact import FileEntry

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
CODE = "import typer; from service.cli import serve; typer.run(serve)"
# The same command around an engine that needs a second for each batch.
SLOW = """
import time, typer, service.loader as loader
class Slow(loader.Engine):
    def warm_up(self, *limits): return []
    def run(self, *batch):
        time.sleep(1.0)
        return super().run(*batch)
loader.Engine = Slow
"""


# A model that does not start, in a way that nobody foresaw.
FAILING = """
import service.loader as loader
def fail(*args): raise RuntimeError("two\\nlines")
loader.Engine = fail
"""


# One whose session is never made, which nothing can interrupt.
HANGING = """
import time
import service.loader as loader
loader.Engine = lambda *args: time.sleep(1000)
"""


def command(*options: object, code: str = CODE) -> list[str]:
    """The command line of a service."""
    return [sys.executable, "-W", "error", "-c", code, *map(str, options)]


@contextlib.contextmanager
def service(artifact: Path, code: str = CODE, **settings: str) -> Iterator[tuple]:
    """A running service and the first line that it printed; killed at the end."""
    process = subprocess.Popen(
        command("--model", artifact, "--port", "0", code=code),
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def port_in(line: str) -> int:
    """The port that was announced."""
    return int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])


def talk(port: int, *parts: bytes) -> bytes:
    """Send `parts` on one connection, and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    return answer


def request(body: bytes, *headers: str) -> bytes:
    """A request to classify that asks to close the connection."""
    lines = ["POST /v1/classify HTTP/1.1", "Host: heed", "Content-Type: application/json"]
    return "\r\n".join([*lines, "Connection: close", *headers, "", ""]).encode() + body


def fails(*options: object, code: str = CODE, **settings: str) -> tuple[int, str]:
    """Exit code and stderr of a service that must not start."""
    done = subprocess.run(
        command(*options, code=code),
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_one_line_says_what_is_served_and_where(tiny_artifact):
    """And by then the service is ready, small, and has no torch in it."""
    with service(tiny_artifact) as (process, line):
        assert re.fullmatch(
            r"Serving tiny version 1 on http://127\.0\.0\.1:\d+ "
            r"\(cpu, \d+ workers? x \d+ threads?\), docs at \S+/docs\n",
            line,
        )
        ready = f"http://127.0.0.1:{port_in(line)}/health/ready"
        with urllib.request.urlopen(ready, timeout=10) as answer:
            assert json.load(answer) == {"status": "ok"}
        status = Path(f"/proc/{process.pid}/status")
        if status.exists():
            resident_kb = int(re.search(r"VmRSS:\s+(\d+)", status.read_text())[1])
            assert resident_kb < 250_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_what_was_accepted_and_exits_0(tiny_artifact, number):
    """The answer under way arrives, complete."""
    with service(tiny_artifact, SLOW + CODE, HEED_ENGINE_WORKERS="1") as (process, line):
        port = port_in(line)
        answers: list[bytes] = []
        body = b'{"inputs": ["my card", "again again again"]}'
        message = request(body, f"Content-Length: {len(body)}")
        threads = [
            threading.Thread(target=lambda: answers.append(talk(port, message))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        wait_until_in_flight(port, 3)
        process.send_signal(number)
        for thread in threads:
            thread.join(timeout=20)
        assert process.wait(timeout=20) == 0
    assert len(answers) == 3
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"]


def wait_until_in_flight(port: int, count: int) -> None:
    """Until that many requests to classify are being answered."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        page = talk(port, b"GET /metrics HTTP/1.1\r\nHost: heed\r\nConnection: close\r\n\r\n")
        if float(re.search(rb"^heed_in_flight_requests (\S+)", page, re.M)[1]) >= count:
            return
    raise AssertionError(f"never {count} requests in flight")


def test_errors_at_start_are_one_line_and_an_exit_code(tiny_artifact, tmp_path):
    """2 for what the user asked wrongly, 1 otherwise; never a traceback."""
    broken = Path(shutil.copytree(tiny_artifact, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"changed")
    garbled = Path(shutil.copytree(tiny_artifact, tmp_path / "garbled"))
    (garbled / "tokenizer.model").write_bytes(b"\xff" * 64)
    manifest = json.loads((garbled / "manifest.json").read_text())
    manifest["files"]["tokenizer.model"] = asdict(FileEntry.of(b"\xff" * 64))
    (garbled / "manifest.json").write_text(json.dumps(manifest))
    failing = fails("--model", tiny_artifact, code=FAILING + CODE)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            (fails(), 2, "HEED_MODEL: Field required"),
            (fails("--model", tmp_path / "no"), 2, "does not exist"),
            (fails("--model", broken), 2, "model.onnx has 7 bytes"),
            (fails("--model", garbled), 2, "tokenizer.model is no SentencePiece model"),
            (failing, 2, "it cannot be loaded: RuntimeError two lines"),
            (fails("--model", tiny_artifact, HEED_MAX_BATCH_SIZE="x"), 2, "HEED_MAX_BATCH_SIZE: "),
            (fails("--model", tiny_artifact, HEED_ADMIN_PORT="x"), 2, "HEED_ADMIN_PORT: Input sh"),
            (fails("--model", tiny_artifact, HEED_EXECUTION_PROVIDER="cuda"), 2, "'cuda' is not"),
            (fails("--model", tiny_artifact, "--port", port), 1, "Address already in use"),
        ]
    for (code, stderr), expected, reason in cases:
        assert code == expected, stderr
        assert reason in stderr
        assert stderr.startswith("heed serve: ")
        assert stderr.count("\n") == 1


def test_session_that_is_never_made_ends_the_start_in_time(tiny_artifact):
    """Nobody waits for its thread, neither the loop nor the interpreter."""
    code, stderr = fails("--model", tiny_artifact, code=HANGING + CODE, HEED_LOAD_TIMEOUT_S="0.5")
    assert (code, stderr) == (2, "heed serve: it was not loaded within 0.5 s\n")


def test_empty_admin_port_is_none(tiny_artifact):
    """As a compose file passes on what it was not given."""
    with service(tiny_artifact, HEED_ADMIN_PORT="") as (process, line):
        assert line.startswith("Serving")
        process.terminate()
        assert process.stdout.read() == ""
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_that_are_closed_are_no_reason_not_to_serve(tiny_artifact, closed):
    """Lines are lost; none of them reaches a client whose socket has taken the number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = shlex.join(command("--model", tiny_artifact, "--port", port))
    process = subprocess.Popen(["/bin/sh", "-c", f"exec {line} {closed}"], cwd=ROOT)
    ready = b"GET /health/ready HTTP/1.1\r\nHost: heed\r\nConnection: close\r\n\r\n"
    answer = b""
    with process:
        try:
            deadline = time.monotonic() + 20
            while not answer and time.monotonic() < deadline:
                with contextlib.suppress(ConnectionRefusedError):
                    answer = talk(port, ready)
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.endswith(b'{"status":"ok"}')
            process.terminate()
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_raw_sockets(tiny_artifact):
    """Bodies over the limit, announced and chunked; bytes that are no HTTP; it serves on."""
    settings = {"HEED_MAX_BODY_BYTES": "20000"}
    with service(tiny_artifact, **settings) as (process, line):
        port = port_in(line)
        announced = talk(port, request(b"", "Content-Length: 20001"))
        assert announced.startswith(b"HTTP/1.1 413")
        chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
        chunked = talk(port, request(b"", "Transfer-Encoding: chunked"), *[chunk] * 6)
        assert chunked.startswith(b"HTTP/1.1 413")
        for answer in (announced, chunked):
            assert b"content-type: application/problem+json" in answer
            assert b"connection: close" in answer
        assert talk(port, b"\x16\x03\x01 no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
        small = b'{"inputs": "a"}'
        parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in (small[:5], small[5:])]
        fine = talk(port, request(b"", "Transfer-Encoding: chunked"), *parts, b"0\r\n\r\n")
        assert fine.startswith(b"HTTP/1.1 200 OK")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()
