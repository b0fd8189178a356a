"""The commands as a user meets them."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadtest import cli
from loadtest.bench import Bench
from loadtest.result import Result
from loadtest.workload import load_workload
from tests.loadtest.made import outcomes, result
from tests.loadtest.stub import running_stub
from tests.runs import little_room

apps = {name: typer.Typer() for name in ("loadtest", "gate", "capacity", "workload")}
for name, app in apps.items():
    app.command()(getattr(cli, name))

SLO = """
version: 1
scenarios: {steady: {workload: steady, rate: 100, duration: 1s, warm_up: 0s}}
objectives: [{metric: p50, max: 500ms, margin: 10%}]
validity: {lag_p99: 50ms, steal: 50%}
"""


def invoke(command: str, *arguments: str):
    """One command, in process."""
    return CliRunner().invoke(apps[command], [*arguments])


@pytest.mark.e2e
def test_every_fifth_answer_503_is_counted_exactly_and_exits_1(serve_stub, tmp_path: Path) -> None:
    """The stub's own count is the truth."""
    one = {"results": [{"label": "a"}]}
    with serve_stub(lambda n: (503, {}) if n % 5 == 0 else (200, one)) as stub:
        out = tmp_path / "new" / "run.1"
        ran = invoke(
            "loadtest", stub.url, *f"--users 4 --duration 1s --warm-up 0s --out {out}".split()
        )
    sent, failed = len(stub.bodies), len(stub.bodies) // 5
    assert failed > 0
    assert outcomes(Result.read(out / "result.json")) == {"ok": sent - failed, "status 503": failed}
    assert ran.exit_code == 1
    assert ran.stderr.endswith(f"{failed:,} of {sent:,} requests failed\n")
    assert "flatter a server that stalls" in ran.stdout
    assert f"of {sent:,}" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.e2e
def test_an_open_loop_sends_at_its_rate(tmp_path: Path) -> None:
    """Constant, so exactly as many as are due."""
    with running_stub() as stub:
        options = f"--rate 100 --arrivals constant --duration 2s --warm-up 0s --out {tmp_path}"
        ran = invoke("loadtest", stub.url, *options.split())
    assert ran.exit_code == 0, ran.output
    assert outcomes(Result.read(tmp_path / "result.json")) == {"ok": 200}
    assert "Closed workload" not in ran.stdout


@pytest.mark.e2e
@pytest.mark.parametrize(("delay", "exit_code"), [(0.001, 0), (0.8, 1)])
def test_a_gate_leaves_four_files_and_exits_by_its_verdict(
    tmp_path: Path, delay: float, exit_code: int
) -> None:
    """0 for a fast stub, 1 for a slow one."""
    (tmp_path / "slo.yaml").write_text(SLO, encoding="utf-8")
    out = tmp_path / "gate"
    with running_stub(delay=delay) as stub:
        ran = invoke("gate", stub.url, "--slo", str(tmp_path / "slo.yaml"), "--out", str(out))
    assert ran.exit_code == exit_code, ran.output
    files = {"result.json", "report.html", "junit.xml", "summary.md"}
    assert {path.name for path in out.iterdir()} == files
    assert "steady: 5 rounds of 1 s" in ran.stdout
    assert Result.read(out / "result.json").verdict.exit_code == exit_code


@pytest.mark.e2e
def test_a_result_of_a_gate_is_the_baseline_of_the_next(tmp_path: Path) -> None:
    """By its folder or its file; the same build is no regression."""
    (tmp_path / "slo.yaml").write_text(
        SLO.replace("margin: 10%", "margin: 10%, max_increase: 300%"), encoding="utf-8"
    )
    options = ["--slo", str(tmp_path / "slo.yaml"), "--out"]
    with running_stub(delay=0.02) as stub:
        first = invoke("gate", stub.url, *options, str(tmp_path / "a"))
        baseline = ("--baseline", str(tmp_path / "a"))
        second = invoke("gate", stub.url, *options, str(tmp_path / "b"), *baseline)
    assert (first.exit_code, second.exit_code) == (0, 0), second.output
    relative = [j.relative for j in Result.read(tmp_path / "b" / "result.json").verdict.judgements]
    assert relative == [False, True]


def test_workload_learns_lengths_and_keeps_no_text(tmp_path: Path) -> None:
    """Neither in the file nor on the screen."""
    data, out = tmp_path / "t.csv", tmp_path / "t.toml"
    data.write_text("text\n" + "canary " * 10 + "\n" + "canary\n", encoding="utf-8")
    ran = invoke("workload", str(data), "--out", str(out), "--rate", "50")
    assert ran.exit_code == 0
    assert "canary" not in out.read_text(encoding="utf-8") + ran.output
    workload = load_workload(out)
    assert workload.stages[0].rate == 50
    assert max(map(len, workload.text_pool)) <= 70


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("loadtest", "http://127.0.0.1:1", "cannot reach http://127.0.0.1:1"),
        ("loadtest", "127.0.0.1", "'127.0.0.1' is not an address"),
        ("loadtest", "http://127.0.0.1:1 --texts none.txt", "none.txt: file not found"),
        ("loadtest", "http://127.0.0.1:1 --duration 5x", "'5x' is not a duration"),
        ("loadtest", "http://127.0.0.1:1 --duration 0", "'0' is too short, at least 1s"),
        ("loadtest", "http://127.0.0.1:1 --warm-up -1s", "'-1s' is not a duration"),
        ("loadtest", "http://127.0.0.1:1 --workload none", "none: no such file, and no workload"),
        ("loadtest", "http://127.0.0.1:1 --out afile/r", "cannot save the result in afile/r"),
        ("workload", "none.csv", "none.csv: file not found"),
        ("gate", "http://127.0.0.1:1 --slo none.yaml", "none.yaml: cannot be read"),
        ("gate", "http://127.0.0.1:1 --slo slo.yaml", "cannot reach http://127.0.0.1:1"),
        ("gate", "nowhere --slo slo.yaml", "'nowhere' is not an address"),
        ("gate", "http://127.0.0.1:1 --slo slo.yaml --baseline none.json", "none.json: No such"),
        (
            "gate",
            "http://127.0.0.1:1 --slo slo.yaml --baseline afile",
            "afile: no load test result",
        ),
        ("capacity", "http://127.0.0.1:1 --slo slo.yaml", "cannot reach http://127.0.0.1:1"),
        (
            "capacity",
            "http://h --slo slo.yaml --scenario x",
            "slo.yaml: no scenario 'x', only steady",
        ),
    ],
)
def test_bad_use_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, arguments: str, said: str
) -> None:
    """No result is saved. Exit code 2; 3 for gates, where 2 means a regression."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("", encoding="utf-8")
    (tmp_path / "slo.yaml").write_text(SLO, encoding="utf-8")
    ran = invoke(command, *arguments.split())
    assert ran.exit_code == (3 if command in {"gate", "capacity"} else 2)
    assert ran.stderr.startswith(f"Error: {said}")
    assert ran.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("result.json"))


def test_ctrl_c_exits_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a shell reports it."""
    monkeypatch.chdir(tmp_path)

    def press_ctrl_c(_: Bench) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bench, "require_ready", press_ctrl_c)
    assert invoke("loadtest", "http://127.0.0.1:1").exit_code == 130


def test_a_gates_usage_errors_exit_3() -> None:
    """A script that takes 2 for a regression must not see one in a mistyped option."""
    for command, code in (("gate", 3), ("capacity", 3), ("loadtest", 2)):
        ran = subprocess.run(
            [sys.executable, "-m", "heed", command, "--mistyped"], capture_output=True, check=False
        )
        assert ran.returncode == code


@pytest.mark.e2e
@pytest.mark.parametrize("load", [["--users", "2"], ["--rate", "40"]])
def test_failures_are_told_with_what_the_service_says(serve_stub, tmp_path: Path, load) -> None:
    """In the terminal and the report, nothing in it obeyed."""
    problem = {"status": 422, "detail": "inputs[0]: is <b>empty</b>\x1b[2J"}
    options = [*load, "--duration", "1s", "--warm-up", "0s", "--out", str(tmp_path)]
    with serve_stub(lambda _: (422, problem)) as stub:
        ran = invoke("loadtest", f" {stub.url.upper()}// ", *options)
    assert ran.exit_code == 1
    [line] = [line for line in ran.stdout.splitlines() if "status 422" in line]
    assert line.split(maxsplit=3)[3].rstrip() == r"inputs[0]: is <b>empty</b>\u001b[2J"
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "status 422: inputs[0]: is &lt;b&gt;empty&lt;/b&gt;" in report


def test_result_without_room_leaves_the_old_one(tmp_path: Path) -> None:
    """One line, and what was there stays."""
    (tmp_path / "result.json").write_text("old", encoding="utf-8")
    streams = CliRunner().isolation()  # in memory: what pytest captures goes to a file
    with streams, little_room(100), pytest.raises(typer.Exit) as ended:
        cli._save(tmp_path, result())
    assert ended.value.exit_code == cli.NOT_MEASURED
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == ["old"]
