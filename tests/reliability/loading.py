"""A version that computes for ever while it is loaded: nothing waits for it."""

import http.client
import os
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.artifacts import looping, write_artifact
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds
from tests.reliability.server import ROOT, Server, free_port, running
from tests.reliability.startup import SERVE

LIMIT_S = 3.0  # HEED_LOAD_TIMEOUT_S
ROLLBACK_S = 0.1
SPARE_S = 2.0  # above the limit: imports, and the way out
EARLY_S = 0.5  # after which it is being loaded


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Rollbacks during such a load; how soon it is refused, at the start too; then SIGTERM."""
    folder = lab.fresh("loading") / "tiny"
    for version in ("1", "2"):
        write_artifact(folder / version, version=version)
    admin = free_port()
    server = Server(
        folder,
        lab.new_log(),
        {"admin_port": admin, "load_timeout_s": LIMIT_S, "engine_stall_s": 0.2},
        cores=lab.cores.server,
    )
    problems: list[str] = []
    with watched() as watch, running(server):
        write_artifact(folder / "3", version="3", change=looping)
        rollbacks = [_rollback(admin, problems) for _ in range(lab.times(5))]
        began = time.monotonic()
        _expect(problems, "the load", _post(admin, "/versions/3"), 422)
        refused_s = time.monotonic() - began
        _expect(problems, "the service", server.get("/health/ready").status, 200)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(_post, admin, "/versions/3")
            time.sleep(EARLY_S)
            began = time.monotonic()
            _expect(problems, "SIGTERM", server.stop(), 0)
            stopped_s = time.monotonic() - began
        start_s = _start(folder / "3", problems)
    figures = (
        of_rounds(rollbacks, "s", "rollback during a load", at_most=ROLLBACK_S),
        Figure(refused_s, "s", "refused after", at_most=LIMIT_S + SPARE_S),
        Figure(start_s, "s", "start ended after", at_most=LIMIT_S + SPARE_S),
        Figure(stopped_s, "s", "SIGTERM during a load: ended after", at_most=SPARE_S),
    )
    return {"loading": Measured(not problems, figures, "; ".join(problems), watch.noise)}


def _rollback(admin: int, problems: list[str]) -> float:
    """Seconds until a rollback is answered that comes while version 3 is loaded."""
    for version in ("1", "2"):
        _expect(problems, f"version {version}", _post(admin, f"/versions/{version}"), 200)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(_post, admin, "/versions/3")
        time.sleep(EARLY_S)
        began = time.monotonic()
        _expect(problems, "rollback", _post(admin, "/rollback"), 200)
        seconds = time.monotonic() - began
        _expect(problems, "the load that was given up", load.result(), 409)
    return seconds


def _start(model: Path, problems: list[str]) -> float:
    """Seconds until a service ends that finds nothing else to start with."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HEED_")}
    environment |= {"HEED_LOAD_TIMEOUT_S": str(LIMIT_S), "PYTHONPATH": str(ROOT)}
    command = [*SERVE, "--model", str(model), "--port", "0"]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    _expect(problems, "the exit code of the start", done.returncode, 2)
    _expect(problems, "lines of the start", done.stderr.count("\n"), 1)
    return time.monotonic() - began


def _post(admin: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
    try:
        connection.request("POST", "/admin" + path)
        return connection.getresponse().status
    except OSError:
        return 0  # the service ended meanwhile
    finally:
        connection.close()


def _expect(problems: list[str], what: str, found: int, expected: int) -> None:
    if found != expected:
        problems.append(f"{what}: {found}, expected {expected}")
