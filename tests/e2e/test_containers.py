"""The images and the compose file, in real containers."""

import json
import os
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1800)]  # images are built first

ROOT = Path(__file__).parents[2]
COMPOSE = shlex.split(os.environ.get("HEED_COMPOSE", "docker compose"))
MAX_SERVICE_MB = 240  # on top of the base image
BUILD_S, START_S, COMMAND_S = 900.0, 600.0, 120.0

Compose = Callable[..., subprocess.CompletedProcess[str]]


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _why_not() -> str | None:
    if not _runs([*COMPOSE, "version"]):
        return f"{shlex.join(COMPOSE)} does not run here; set $HEED_COMPOSE"
    if COMPOSE[0] == "docker" and not _runs(["docker", "info"]):
        return "no Docker engine runs here; set $HEED_COMPOSE for another"
    return None


@pytest.fixture(scope="module")
def port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def compose(port: int) -> Iterator[Compose]:
    """`docker compose` on the project's file, in a project of the test's own."""
    if reason := _why_not():
        pytest.skip(reason)
    environment = os.environ | {
        "COMPOSE_PROJECT_NAME": "heedtest",
        "HEED_PORT": str(port),
        "LOADTEST_DURATION": "5s",
    }

    def run(*arguments: str, timeout_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMPOSE, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    run("down", "--volumes")
    try:
        for service in ("heed", "train", "loadtest"):
            built = run("--profile", "loadtest", "build", service, timeout_s=BUILD_S)
            assert built.returncode == 0, built.stdout[-3000:]
        yield run
    finally:
        run("--profile", "loadtest", "down", "--volumes")


@pytest.fixture(scope="module")
def url(compose: Compose, port: int) -> str:
    """The service of `compose up` on an empty volume, ready."""
    address = f"http://127.0.0.1:{port}"
    started = compose("up", "--detach", timeout_s=START_S)
    assert started.returncode == 0, started.stdout[-3000:]
    _wait_until_ready(address, lambda: compose("logs").stdout[-3000:])
    return address


def _wait_until_ready(address: str, logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/health/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.5)  # a container says nothing when it becomes ready
    pytest.fail(f"not ready after {START_S:.0f} s:\n{logs()}")


def test_compose_up_trains_on_the_sample_and_serves_it(url: str) -> None:
    """From an empty volume to an answer, with nothing but `compose up`."""
    body = json.dumps({"inputs": "someone stole my card, block it"}).encode()
    request = urllib.request.Request(
        f"{url}/v1/classify", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    assert answer["model"] == "sample"
    assert answer["results"][0]["label"] == "lost_card"


@pytest.mark.usefixtures("url")
def test_service_image_is_small_and_holds_no_torch_and_no_pip(compose: Compose) -> None:
    """The serving image stays lean: what was added to its base image, and what is not in it."""
    size = compose("exec", "-T", "heed", "du", "-sm", "/opt/heed")
    assert int(size.stdout.split()[-2]) <= MAX_SERVICE_MB, size.stdout
    for module in ("torch", "pip", "datasets"):
        found = compose("exec", "-T", "heed", "/opt/heed/bin/python", "-c", f"import {module}")
        assert "ModuleNotFoundError" in found.stdout, module


@pytest.mark.usefixtures("url")
def test_service_runs_as_a_user_without_rights(compose: Compose) -> None:
    """Not root, and nothing but /tmp to write to."""
    user = compose("exec", "-T", "heed", "id", "-u")
    assert user.stdout.split()[-1] == "10001"
    written = compose("exec", "-T", "heed", "touch", "/opt/heed/x")
    assert written.returncode != 0


@pytest.mark.usefixtures("url")
def test_healthcheck_command_of_the_image_passes(compose: Compose) -> None:
    """The command of HEALTHCHECK, run where it will run."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if "urllib.request" in line]
    command = json.loads(line.strip().removeprefix("CMD "))
    checked = compose("exec", "-T", "heed", *command)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.usefixtures("url")
def test_profile_loadtest_loads_the_service(compose: Compose) -> None:
    """Locust reaches the service by its name and reports no failure."""
    result = compose("--profile", "loadtest", "run", "--rm", "loadtest")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "requests/s" in result.stdout


def test_second_start_serves_the_artifact_that_is_there(compose: Compose, url: str) -> None:
    """Training happens once: the volume keeps the artifact over `down` and `up`."""
    compose("down")
    assert compose("up", "--detach", timeout_s=START_S).returncode == 0
    _wait_until_ready(url, lambda: compose("logs").stdout[-3000:])
    assert "nothing to train" in compose("logs", "train").stdout
