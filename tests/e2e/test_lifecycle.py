"""The service as a process: starting, changing versions, stopping, and what may befall it."""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.artifacts import looping, write_artifact
from tests.e2e.load import Load
from tests.reliability.engine import Curve
from tests.reliability.server import (
    Server,
    curve_options,
    curve_settings,
    free_port,
    running,
)

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CURVE = Curve(fixed_s=0.004, per_text_s=0.001, max_batch_size=8)
SERVE = "import typer; from service.cli import serve; typer.run(serve)"
MARGIN = 5.0  # durations are promised for a quiet machine


@pytest.fixture
def versions(tmp_path) -> Path:
    """A folder of versions with the first one."""
    folder = tmp_path / "models"
    write_artifact(folder / "1", version="1")
    return folder


@contextmanager
def service(model, log, **settings):
    """A running instance on an engine of known speed."""
    chosen = curve_settings(CURVE, **settings)
    with running(Server(model, log, chosen, options=curve_options(CURVE))) as server:
        yield server


def post(port: int, path: str, body: bytes = b"", timeout_s: float = 20.0) -> tuple[int, dict]:
    """Status and JSON body of a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def classify(port: int, **fields: object) -> tuple[int, dict]:
    """Ask for one text."""
    return post(port, "/v1/classify", json.dumps({"inputs": "my card"} | fields).encode())


def changes(log: Path) -> list[tuple[str, str, str | None]]:
    """Action, outcome and version of each attempt to change the version, as logged."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [
        (line["action"], line["outcome"], line["version"])
        for line in lines
        if line["event"] == "version"
    ]


def until(claim, within_s: float = 20.0) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.01)


def under_load(port: int, rate_rps: float, action) -> Load:
    """Load an instance while `action` runs."""

    async def scenario() -> Load:
        load = Load(port, rate_rps)
        task = asyncio.create_task(load.run())
        await asyncio.sleep(0.3)
        await asyncio.to_thread(action)
        await asyncio.sleep(0.3)
        load.stop()
        await task
        return load

    return asyncio.run(scenario())


# Starting


def refused(*options: object, **settings: str) -> tuple[int, str, float]:
    """Exit code, stderr and seconds of a service that must not start."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *map(str, options)],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "", "it said that it serves"
    return done.returncode, done.stderr, time.monotonic() - started


def test_service_that_cannot_start_says_why_in_a_line_and_exits_soon(tiny_artifact, tmp_path):
    """1 for an address, 2 for settings and artifacts; within 2 s on a quiet machine."""
    broken = Path(shutil.copytree(tiny_artifact, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"changed")
    incomplete = Path(shutil.copytree(tiny_artifact, tmp_path / "incomplete"))
    (incomplete / "tokenizer.model").unlink()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        model = ("--model", tiny_artifact, "--port", 0)
        cases = [
            (refused(*model[:3], port), 1, "Address already in use"),
            (refused(*model, HEED_ADMIN_PORT=str(port)), 1, "Address already in use"),
            (refused(*model, HEED_ADMIN_PORT="0", HEED_ADMIN_HOST="192.0.2.1"), 1, "192.0.2.1:0"),
            (refused("--model", broken, "--port", 0), 2, "model.onnx has 7 bytes"),
            (refused("--model", incomplete, "--port", 0), 2, "tokenizer.model is missing"),
            (refused(*model, HEED_DRAIN_DELAY_S="-1"), 2, "HEED_DRAIN_DELAY_S: "),
        ]
    for (code, stderr, taken_s), expected, reason in cases:
        assert (code, stderr.count("\n")) == (expected, 1), stderr
        assert stderr.startswith("heed serve: ")
        assert reason in stderr
        assert taken_s < 2.0 * MARGIN


def test_admin_port_is_announced_in_a_line_of_its_own(tiny_artifact, tmp_path):
    """After the one with the address of the service, which is the first one of all."""
    log = tmp_path / "log"
    with service(tiny_artifact, log, admin_port=0) as server:
        addresses = re.findall(r"^(\w+) .* on (http://127\.0\.0\.1:\d+)", log.read_text(), re.M)
        assert addresses[0] == ("Serving", server.url)
        assert addresses[1][0] == "Admin"
        port = int(addresses[1][1].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for path in ("/health/live", "/health/ready", "/metrics", "/admin/versions"):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True), path
        connection.close()
        assert server.get("/admin/versions").status == 404


# Says when it warms a model up, and goes on when it is told to.
LOADING = """
import sys, service.loader as loader
class Slow(loader.Engine):
    def warm_up(self, *limits):
        print("waiting", flush=True)
        sys.stdin.readline()
        return super().warm_up(*limits)
loader.Engine = Slow
"""
# Says when it begins with the imports that take long, and never ends them.
IMPORTING = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "service.server":
            print("waiting", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""


@contextmanager
def starting(model: Path, prelude: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has come to where `prelude` says that it waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", prelude + SERVE, "--model", str(model), "--port", "0"],
        cwd=ROOT,
        env=os.environ | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "waiting\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> None:
    """Let `LOADING` warm up."""
    process.stdin.write("\n")
    process.stdin.flush()


def port_of(process: subprocess.Popen[str]) -> int:
    """The one that it announces next."""
    return int(re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())[1])


@pytest.mark.parametrize("prelude", [IMPORTING, LOADING], ids=["importing", "loading"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_before_it_serves_ends_the_process_at_once(tiny_artifact, prelude, number):
    """There is nothing to finish yet, nor to say; SIGHUP is not one of those that end it."""
    with starting(tiny_artifact, prelude) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(number)
        assert process.wait(0.5 * MARGIN) == 128 + number
        assert process.stderr.read() == ""


def test_version_that_was_announced_while_the_first_one_was_loaded_is_found(versions):
    """SIGHUP is remembered until there is somebody to obey it."""
    with starting(versions, LOADING) as process:
        write_artifact(versions / "2", version="2")
        process.send_signal(signal.SIGHUP)
        go_on(process)
        port = port_of(process)
        assert classify(port)[1]["version"] == "1"
        assert process.stdout.readline() == "waiting\n"
        go_on(process)
        until(lambda: classify(port)[1]["version"] == "2")
        process.terminate()
        assert process.wait(20) == 0


def test_change_that_is_under_way_at_the_end_is_answered_503(versions):
    """It is not cut off, and the log says what became of it."""
    with starting(versions, LOADING, HEED_ADMIN_PORT="0") as process:
        go_on(process)
        port_of(process)
        admin_port = port_of(process)
        write_artifact(versions / "2", version="2")
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(post(admin_port, "/admin/versions/2"))
        )
        thread.start()
        assert process.stdout.readline() == "waiting\n"
        process.terminate()
        assert process.wait(2.0 * MARGIN) == 0
        thread.join(20)
        log = process.stderr.read()
    assert [(status, body["type"]) for status, body in answers] == [
        (503, "urn:heed:problem:shutting-down")
    ]
    assert '"outcome":"cancelled","version":"2"' in log


# Changing versions


def test_version_is_changed_and_rolled_back_under_load_without_a_failed_request(versions, tmp_path):
    """By the admin routes; the answers say which version they come from."""
    admin_port = free_port()
    with service(versions, tmp_path / "log", admin_port=admin_port) as server:
        write_artifact(versions / "2", version="2")

        def change() -> None:
            assert classify(server.port)[1]["version"] == "1"
            status, answer = post(admin_port, "/admin/versions/2")
            assert (status, answer["outcome"], answer["active"]) == (200, "activated", "2")
            assert classify(server.port)[1]["version"] == "2"
            assert classify(server.port, version="1")[1]["version"] == "1"
            assert post(admin_port, "/admin/rollback")[1]["active"] == "1"
            assert classify(server.port)[1]["version"] == "1"

        load = under_load(server.port, 0.5 * CURVE.capacity_rps, change)
        assert load.tally.failed == 0, load.tally.outcomes
        metrics = server.metrics()
        assert metrics['heed_model_loads_total{outcome="activated"}'] == 3
        assert [name for name in metrics if name.startswith("heed_build_info")] == [
            next(name for name in metrics if 'model_version="1"' in name)
        ]


def test_bad_version_is_refused_and_the_old_one_serves_on(versions, tmp_path):
    """With the reader's reason, as a problem."""
    admin_port = free_port()
    with service(versions, tmp_path / "log", admin_port=admin_port) as server:
        shutil.copytree(versions / "1", versions / "2")  # its manifest says 1
        write_artifact(versions / "3", name="other", version="3")
        write_artifact(versions / "4", version="4")
        (versions / "4" / "model.onnx").write_bytes(b"changed")
        for path, status, kind, reason in [
            ("/admin/versions/2", 422, "version-refused", "it is tiny version 1"),
            ("/admin/versions/3", 422, "version-refused", "it is of model other, not tiny"),
            ("/admin/versions/4", 422, "version-refused", "model.onnx has 7 bytes"),
            ("/admin/versions/5", 404, "unknown-model", "no such version"),
            ("/admin/rollback", 409, "version-change", "no earlier version"),
        ]:
            answer = post(admin_port, path)
            assert answer[0] == answer[1]["status"] == status
            assert answer[1]["type"] == f"urn:heed:problem:{kind}"
            assert reason in answer[1]["detail"]
        assert classify(server.port)[1]["version"] == "1"
        assert server.get("/health/ready").status == 200


@contextmanager
def never_ending(versions: Path, log: Path, **settings: object) -> Iterator[tuple[Server, int]]:
    """A service with versions 1 and 2 in memory, and a third one that computes for ever."""
    write_artifact(versions / "2", version="2")
    admin_port = free_port()
    chosen = {"admin_port": admin_port, "engine_stall_s": 0.2} | settings
    with running(Server(versions, log, chosen)) as server:
        assert post(admin_port, "/admin/versions/1")[0] == 200
        write_artifact(versions / "3", version="3", change=looping)
        yield server, admin_port


def test_rollback_never_waits_for_a_version_that_is_being_loaded(versions, tmp_path):
    """Who asked for that one is told; nothing of it is left, not even its thread."""
    with never_ending(versions, tmp_path / "log") as (server, admin_port):
        answers: list[tuple[int, dict]] = []
        asked = threading.Thread(
            target=lambda: answers.append(post(admin_port, "/admin/versions/3"))
        )
        asked.start()
        computed_s = server.usage().cpu_s
        until(lambda: server.usage().cpu_s > computed_s + 0.5)  # only the Loop computes
        status, answer = post(admin_port, "/admin/rollback")
        assert (status, answer["active"]) == (200, "2")
        asked.join(20)
        assert answers[0][0] == 409
        assert "given up" in answers[0][1]["detail"]
        assert post(admin_port, "/admin/versions/1")[0] == 200
    assert ("activate", "cancelled", "3") in changes(tmp_path / "log")


def test_version_that_is_never_loaded_is_refused_in_time(versions, tmp_path):
    """The old one serves on, the watchdog of the engine is not concerned, SIGTERM is heard."""
    log = tmp_path / "log"
    with never_ending(versions, log, load_timeout_s=1.0) as (server, admin_port):
        status, answer = post(admin_port, "/admin/versions/3")
        assert (status, answer["detail"]) == (422, "it was not loaded within 1 s")
        server.signal(signal.SIGHUP)
        until(lambda: ("reload", "refused", "3") in changes(log))
        assert classify(server.port)[1]["version"] == "1"
        assert post(admin_port, "/admin/versions/2")[1]["active"] == "2"
        server.signal(signal.SIGHUP)
        assert server.stop(within_s=20.0) == 0


def test_model_that_is_never_loaded_ends_the_start_in_time(tmp_path):
    """With a line and an exit code, before anything listens."""
    model = write_artifact(tmp_path / "model", change=looping)
    code, said, seconds = refused("--model", model, "--port", 0, HEED_LOAD_TIMEOUT_S="1")
    assert (code, said) == (2, "heed serve: it was not loaded within 1 s\n")
    assert seconds < 1 + 2 * MARGIN


def test_hangup_follows_a_link_that_was_switched(versions, tmp_path):
    """As git-sync does it: a new link is renamed over the old one."""
    write_artifact(versions / "2", version="2")
    link, log = tmp_path / "current", tmp_path / "log"
    link.symlink_to(versions / "1")
    with service(link, log) as server:
        assert classify(server.port)[1]["version"] == "1"
        (tmp_path / "next").symlink_to(versions / "2")
        (tmp_path / "next").replace(link)
        server.signal(signal.SIGHUP)
        until(lambda: ("reload", "activated", "2") in changes(log))
        assert classify(server.port)[1]["version"] == "2"


def test_backup_beside_the_versions_keeps_none_of_them_from_being_served(versions, tmp_path):
    """Neither at the start nor at SIGHUP; the log names it."""
    log = tmp_path / "log"
    shutil.copytree(versions / "1", versions / "old")
    with service(versions, log) as server:
        write_artifact(versions / "2", version="2")
        shutil.copytree(versions / "1", versions / "2-backup")
        server.signal(signal.SIGHUP)
        until(lambda: ("reload", "activated", "2") in changes(log))
        assert classify(server.port)[1]["version"] == "2"
    assert "2-backup is passed over: it is tiny version 1" in log.read_text()


def test_hangup_activates_the_highest_version_on_disk(versions, tmp_path):
    """Or does nothing, where what is higher has no sound manifest; each time the log has a line."""
    log = tmp_path / "log"
    with service(versions, log) as server:

        def hang_up(count: int) -> None:
            server.signal(signal.SIGHUP)
            until(lambda: len(changes(log)) == count)

        hang_up(2)
        write_artifact(versions / "2", version="2")
        load = under_load(server.port, 0.5 * CURVE.capacity_rps, lambda: hang_up(3))
        assert load.tally.failed == 0, load.tally.outcomes
        (versions / "3").mkdir()
        (versions / "3" / "manifest.json").write_text("{}")
        hang_up(4)
        assert classify(server.port)[1]["version"] == "2"
    assert changes(log) == [
        ("start", "activated", "1"),
        ("reload", "unchanged", "1"),
        ("reload", "activated", "2"),
        ("reload", "unchanged", "2"),
    ]


# Stopping


def test_drain_is_announced_then_it_stops_listening_and_exits_0(tiny_artifact, tmp_path):
    """Not ready at once; still answering for the drain delay, and ending each connection."""
    with service(tiny_artifact, tmp_path / "log", drain_delay_s=1.0) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
        assert answer.headers["connection"] is None
        server.signal(signal.SIGTERM)
        began = time.monotonic()
        until(lambda: server.get("/health/ready").status == 503)
        assert server.get("/health/live").status == 200
        connection.request("GET", "/v1/models")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert classify(server.port)[0] == 200
        assert server.process.wait(20) == 0
        assert 1.0 <= time.monotonic() - began < 1.0 + 2.0 * MARGIN
        connection.close()


@pytest.mark.parametrize("drain_delay_s", [0.0, 0.5])
def test_keep_alive_clients_see_no_reset_when_it_stops(tiny_artifact, tmp_path, drain_delay_s):
    """32 that ask again at once: not on a connection that was used before.

    A new one may come in the microseconds between the last look at the queue and its closing.
    """
    outcomes: list[str] = []

    def client(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        body, headers = b'{"inputs": "my card"}', {"Content-Type": "application/json"}
        try:
            while True:
                kind = "new" if connection.sock is None else "used"
                connection.request("POST", "/v1/classify", body, headers)
                with connection.getresponse() as answer:
                    answer.read()
                    outcomes.append(str(answer.status))
        except ConnectionRefusedError:
            outcomes.append("refused")
        except (OSError, http.client.HTTPException):
            outcomes.append(f"{kind} connection lost")
        finally:
            connection.close()

    with service(tiny_artifact, tmp_path / "log", drain_delay_s=drain_delay_s) as server:
        threads = [threading.Thread(target=client, args=(server.port,)) for _ in range(32)]
        for thread in threads:
            thread.start()
        until(lambda: len(outcomes) > 200)
        server.signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert server.process.wait(20) == 0
    assert set(outcomes) <= {"200", "refused", "new connection lost"}
    assert outcomes.count("new connection lost") <= 2


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_it_at_once(tiny_artifact, tmp_path, second):
    """With 128 and its number, whatever is under way."""
    with service(tiny_artifact, tmp_path / "log", drain_delay_s=60.0) as server:
        server.signal(signal.SIGTERM)
        until(lambda: server.get("/health/ready").status == 503)
        server.signal(second)
        assert server.process.wait(0.5 * MARGIN) == 128 + second


def test_request_that_is_computed_for_long_is_finished(tiny_artifact, tmp_path):
    """It ends the wait: there is nothing else to wait for."""
    with service(tiny_artifact, tmp_path / "log", engine_stall_s=60.0) as server:
        server.tell("block")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(classify(server.port)))
        thread.start()
        until(lambda: server.metrics()["heed_in_flight_requests"] == 1)
        server.signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.tell("unblock")
        assert server.process.wait(20) == 0
        thread.join(20)
    assert [status for status, _ in answers] == [200]


# What may befall it


def test_engine_that_hangs_ends_the_process_with_70(tiny_artifact, tmp_path):
    """Who waits for it is answered 503 first, and nobody after that takes it for ready."""
    with service(tiny_artifact, tmp_path / "log", engine_stall_s=0.5) as server:
        server.tell("block")
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(classify(server.port))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        assert server.process.wait(20) == 70
        for thread in threads:
            thread.join(20)
    assert [(status, body["type"]) for status, body in answers] == [
        (503, "urn:heed:problem:engine-stalled")
    ] * 4


def test_pause_of_the_process_does_no_harm(tiny_artifact, tmp_path):
    """What expired meanwhile is answered 504, nothing is answered late, then all is as before."""
    with service(tiny_artifact, tmp_path / "log", request_timeout_s=1.0) as server:

        def pause() -> None:
            server.signal(signal.SIGSTOP)
            time.sleep(2.0)
            server.signal(signal.SIGCONT)
            until(lambda: server.get("/health/ready").status == 200)
            time.sleep(1.0)

        load = under_load(server.port, 0.3 * CURVE.capacity_rps, pause)
        assert set(load.tally.outcomes) <= {"200", "503", "504"}
        assert server.metrics()["heed_late_responses_total"] == 0
        again = under_load(server.port, 0.3 * CURVE.capacity_rps, lambda: time.sleep(0.5))
        assert again.tally.failed == 0, again.tally.outcomes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_disk_for_its_output_fails_no_request(tiny_artifact):
    """Lines are lost, not answers; also the line that says that it serves."""
    with service(tiny_artifact, Path("/dev/full")) as server:
        load = under_load(server.port, 0.3 * CURVE.capacity_rps, lambda: time.sleep(0.3))
        assert load.tally.failed == 0, load.tally.outcomes
        assert server.get("/metrics").status == 200
        server.signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


JUMPING = """
import itertools, time
real, steps = time.time, itertools.cycle((0.0, 3600.0, -3600.0))
time.time = lambda: real() + next(steps)
"""


def test_steps_of_the_clock_have_no_effect(tiny_artifact):
    """Each look at it finds it an hour off in another direction."""
    process = subprocess.Popen(
        [sys.executable, "-c", JUMPING + SERVE, "--model", str(tiny_artifact), "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"HEED_REQUEST_TIMEOUT_S": "1", "HEED_LOG_LEVEL": "error"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            port = int(re.search(r":(\d+) ", process.stdout.readline())[1])
            load = under_load(port, 100.0, lambda: time.sleep(1.5))
            assert load.tally.failed == 0, load.tally.outcomes
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
