"""Plans on a real Locust against a stub on a real socket."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import runner
from loadtest.plan import CANDIDATE, Plan, closed_plan, open_plan
from loadtest.result import OK, Run, Stage, latencies
from loadtest.runner import RunError, run_plan
from loadtest.target import Target
from loadtest.workload import Mix, Texts, load_workload
from tests.loadtest.stub import running_stub

STEADY = load_workload("steady").model_copy(update={"warm_up_s": 1.0})
CONSTANT = STEADY.model_copy(update={"arrivals": "constant"})


def closed(url: str, users: int = 3, duration_s: float = 1, warm_up_s: float = 0) -> Plan:
    """Users without think time."""
    return closed_plan(url, STEADY, users, duration_s, warm_up_s)


def offered(stages: list[Stage]) -> int:
    """Requests of these stages."""
    return sum(group.offered for stage in stages for group in stage.groups)


def outcomes(run: Run) -> set[str]:
    """Names of what happened to the measured requests."""
    return {name for stage in run.measured for group in stage.groups for name in group.outcomes}


@pytest.mark.e2e
def test_every_request_the_service_saw_is_in_the_run(serve_stub) -> None:
    """Counts are exact, drained requests included, and progress is reported."""
    seen: list[float] = []
    with serve_stub() as stub:
        plan = closed(stub.url)
        run = run_plan(plan, [Target(stub.url)], api_key="secret", on_progress=seen.append)
    assert offered(run.measured) == len(stub.bodies) > 10
    assert (outcomes(run), run.interrupted, run.arrivals) == ({OK}, False, "closed")
    assert sum(second.offered for second in run.stages[0].seconds) == len(stub.bodies)
    assert latencies(run.measured).total == len(stub.bodies)
    assert stub.authorizations == {"Bearer secret"}
    assert "secret" not in run.model_dump_json()
    assert seen == sorted(seen)


@pytest.mark.e2e
def test_requests_of_the_warm_up_are_sent_but_not_counted(serve_stub) -> None:
    """A service that fails only at first has no failure in its result."""
    with serve_stub(lambda n: (200, {"results": [1]}) if n > 3 else (503, {})) as stub:
        run = run_plan(closed(stub.url, users=1, warm_up_s=1), [Target(stub.url)])
    assert outcomes(run) == {OK}
    assert 0 < offered(run.measured) < len(stub.bodies) == offered(run.stages)


@pytest.mark.e2e
@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_loop_sends_its_schedule_and_no_request_more(processes: int) -> None:
    """However many processes share it; the server's own count is the truth."""
    with running_stub() as stub:
        target = Target(stub.url)
        plan = open_plan([stub.url], STEADY.with_rate(200, 2.0), [CANDIDATE])
        run = run_plan(plan, [target], processes=processes)
        answered = target.metrics()["heed_batch_size_count"]
    assert offered(run.stages) == answered > 500
    assert run.generator.processes == processes
    assert [stage.name for stage in run.stages] == ["warm-up", "steady"]
    assert outcomes(run) == {OK}
    assert len(run.ticks) >= 2
    assert run.ticks[-1].server_rss_bytes


@pytest.mark.e2e
@pytest.mark.parametrize("arrivals", ["open", "closed"])
def test_requests_carry_the_headers_of_their_kind(serve_stub, arrivals: str) -> None:
    """Every one those of all, and batches theirs beside them."""
    headers = {"all": {"X-Request-Timeout-Ms": "250"}, "batch": {"X-Request-Priority": "batch"}}
    mix = Mix(single=0.5, batch=0.5, batch_size=2)
    workload = CONSTANT.model_copy(update={"mix": mix, "headers": headers, "warm_up_s": 0})
    with serve_stub() as stub:
        plan = open_plan([stub.url], workload.with_rate(100, 0.5))
        if arrivals == "closed":
            plan = closed_plan(stub.url, workload, 2, 1, 0)
        run_plan(plan, [Target(stub.url)])
    assert {seen["X-Request-Timeout-Ms"] for seen in stub.headers} == {"250"}
    batches = [isinstance(json.loads(body)["inputs"], list) for body in stub.bodies]
    assert [seen["X-Request-Priority"] == "batch" for seen in stub.headers] == batches
    assert 0 < sum(batches) < len(batches)


@pytest.mark.e2e
def test_records_hold_a_row_for_every_request(tmp_path: Path) -> None:
    """For figures that histograms cannot give: of one second, or of what was refused."""
    with running_stub(error_ratio=0.5) as stub:
        plan = open_plan([stub.url], CONSTANT.with_rate(100, 0.5))
        run = run_plan(plan, [Target(stub.url)], records=tmp_path / "records.csv")
    rows = list(csv.DictReader((tmp_path / "records.csv").read_text("utf-8").splitlines()))
    assert len(rows) == offered(run.stages)
    assert {row["outcome"] for row in rows if row["stage"] == "steady"} == outcomes(run)
    assert all(float(row["scheduled_s"]) <= float(row["end_s"]) for row in rows)


@pytest.mark.e2e
def test_an_open_loop_keeps_its_connections_alive(serve_stub) -> None:
    """Requests 20 ms apart that take 1 ms share a few connections."""
    with serve_stub() as stub:
        run = run_plan(
            open_plan([stub.url], CONSTANT.with_rate(50, 2.0), [CANDIDATE]), [Target(stub.url)]
        )
    assert outcomes(run) == {OK}
    assert len(stub.bodies) > 100
    assert len(stub.ports) <= 10


@pytest.mark.e2e
@pytest.mark.parametrize("arrivals", ["closed", "open"])
def test_ctrl_c_ends_locust_and_keeps_what_was_measured(arrivals: str) -> None:
    """The run says that it was cut short and when, and no process is left behind."""
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            processes.append(self)

    with running_stub() as stub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.subprocess, "Popen", Recorded)
        target = Target(stub.url)
        plan = closed(stub.url, 2, 600)
        if arrivals == "open":
            workload = STEADY.model_copy(update={"warm_up_s": 0.0}).with_rate(100, 600)
            plan = open_plan([stub.url], workload, [CANDIDATE])

        def press_ctrl_c(_: float) -> None:
            if target.metrics().get("heed_batch_size_count", 0) > 50:
                raise KeyboardInterrupt

        run = run_plan(plan, [target], on_progress=press_ctrl_c)
        assert offered(run.measured) == target.metrics()["heed_batch_size_count"] > 50
    assert run.interrupted
    [stage] = run.measured
    assert 0 < stage.duration_s < 60
    assert len(stage.seconds) < 61
    assert [process.returncode for process in processes] == [0]


def test_locust_that_fails_is_quoted_by_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is one line, not a missing file."""
    code = "import sys; print('first'); sys.exit('No module named locust')"
    monkeypatch.setattr(runner, "_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(RunError, match="failed: No module named locust"):
        run_plan(closed("http://127.0.0.1:1"), [])


def test_importing_the_commands_patches_nothing() -> None:
    """Gevent stays in Locust's process, and nothing that serves or classifies is imported."""
    code = (
        "import sys, loadtest.cli; "
        "others = {'gevent', 'locust', 'torch', 'onnxruntime', 'service.app'}; "
        "print(sorted(others & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.e2e
def test_a_generator_that_cannot_start_is_an_error_and_no_hang(tmp_path: Path) -> None:
    """The texts are gone between the plan and the run: one line, at once."""
    file = tmp_path / "texts.txt"
    file.write_text("hello\n", encoding="utf-8")
    workload = STEADY.model_copy(update={"texts": Texts(file=file)})
    with running_stub() as stub:
        plan = open_plan([stub.url], workload.with_rate(10, 1), [CANDIDATE])
        file.unlink()
        with pytest.raises(RunError, match=r"texts\.txt: file not found"):
            run_plan(plan, [Target(stub.url)])


def test_a_locust_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the last answer was due there is nothing to wait for."""
    monkeypatch.setattr(runner, "_command", lambda *_: ["sleep", "1000"])
    monkeypatch.setattr(runner, "OVERDUE_S", -20)
    with pytest.raises(RunError, match="did not end within"):
        run_plan(closed("http://127.0.0.1:1"), [])
