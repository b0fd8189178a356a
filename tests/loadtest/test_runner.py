"""run_loadtest against a stub on a real socket."""

import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import runner
from loadtest.runner import RunError, run_loadtest
from loadtest.target import TargetError
from loadtest.texts import TextsError


@pytest.mark.e2e
def test_every_request_the_service_saw_is_in_the_result(serve_stub) -> None:
    """Counts are exact, drained requests included, and progress is reported."""
    seen: list[float] = []
    with serve_stub() as stub:
        result = run_loadtest(
            stub.url, 3, 1, api_key="secret", warm_up_s=0, on_progress=seen.append
        )
    assert result.requests == len(stub.bodies) > 10
    assert (result.failed, result.errors, result.interrupted) == (0, {}, False)
    assert sum(second.requests for second in result.series) == result.requests
    assert result.latency is not None
    assert sum(result.latency.histogram.counts) == result.requests
    assert 0 < result.latency.p50_s <= result.latency.p95_s <= result.latency.max_s
    assert result.models[0].name == "topics"
    assert stub.authorizations == {"Bearer secret"}
    assert "secret" not in result.to_json()
    assert seen == sorted(seen)


@pytest.mark.e2e
def test_requests_of_the_warm_up_are_sent_but_not_counted(serve_stub) -> None:
    """A service that fails only at first has no failure in its result."""
    with serve_stub(lambda n: (200, {"results": [1]}) if n > 3 else (503, {})) as stub:
        result = run_loadtest(stub.url, users=1, duration_s=1, warm_up_s=1)
    assert result.failed == 0
    assert 0 < result.requests < len(stub.bodies)


@pytest.mark.e2e
def test_ctrl_c_ends_locust_and_keeps_what_was_measured(serve_stub) -> None:
    """The result says that it was cut short, and no process is left behind."""
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            processes.append(self)

    with serve_stub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.subprocess, "Popen", Recorded)

        def press_ctrl_c(_: float) -> None:
            if len(stub.bodies) > 20:
                raise KeyboardInterrupt

        result = run_loadtest(stub.url, 2, 600, warm_up_s=0, on_progress=press_ctrl_c)
    assert result.interrupted
    assert result.requests == len(stub.bodies) > 20
    assert 0 < result.measured_s < 600
    assert [process.returncode for process in processes] == [0]


def test_nothing_is_started_for_a_bad_address_or_bad_texts(
    serve_stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both are known before the first request."""
    monkeypatch.setattr(runner, "_run", lambda *_: pytest.fail("started"))
    with pytest.raises(TargetError):
        run_loadtest("http://127.0.0.1:1")
    with serve_stub() as stub, pytest.raises(TextsError):
        run_loadtest(stub.url, texts=tmp_path / "none.csv")


def test_locust_that_fails_is_quoted_by_its_last_line(
    serve_stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken installation is one line, not a missing file."""
    code = "import sys; print('first'); sys.exit('No module named locust')"
    monkeypatch.setattr(runner, "_command", lambda *_: [sys.executable, "-c", code])
    with serve_stub() as stub, pytest.raises(RunError, match="failed: No module named locust"):
        run_loadtest(stub.url)


def test_importing_the_runner_patches_nothing() -> None:
    """Gevent stays in Locust's process, and no other part of the project is imported."""
    code = (
        "import sys, loadtest.cli; others = {'gevent', 'locust', 'service', 'model', 'export'}; "
        "print(sorted(others & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
