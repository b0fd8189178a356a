"""The command as a user meets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loadtest import cli
from loadtest.cli import DurationError, parse_duration
from loadtest.result import Generator, Plan, Result, summarise
from loadtest.samples import OK, Samples

app = typer.Typer()
app.command()(cli.loadtest)


def _invoke(*arguments: str):
    return CliRunner().invoke(app, [*arguments])


def _a_result(outcome: str = OK) -> Result:
    samples = Samples("2026-01-02T03:04:05+00:00", stopped_s=1.0)
    samples.add(0.5, 0.1, outcome)
    plan = Plan("http://h", users=1, duration_s=1, warm_up_s=0, texts="built-in", num_texts=51)
    return summarise(samples, plan, [], Generator("2.47.0", 2, cpu_warning=False))


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("2m", 120), ("1h", 3600), ("45", 45), ("0", 0)]
)
def test_duration_is_seconds_minutes_hours_or_plain_seconds(text: str, seconds: int) -> None:
    """Whole numbers with one unit."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10x", "-5", "1.5m", "s", "10 s", "1m30s", "\u0663s"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """The message quotes what came and shows what is meant."""
    with pytest.raises(DurationError, match="is not a duration such as 10s, 2m, 1h or 45"):
        parse_duration(text)


@pytest.mark.e2e
def test_every_fifth_answer_503_is_counted_exactly_and_exits_1(serve_stub, tmp_path: Path) -> None:
    """The stub's own count is the truth."""
    one = {"results": [{"label": "a"}]}
    with serve_stub(lambda n: (503, {}) if n % 5 == 0 else (200, one)) as stub:
        out = tmp_path / "new" / "run.1"
        ran = _invoke(stub.url, *f"--users 4 --duration 1s --warm-up 0 --out {out}".split())
    sent, failed = len(stub.bodies), len(stub.bodies) // 5
    assert failed > 0
    saved = json.loads(Path(f"{out}.json").read_text(encoding="utf-8"))
    assert (saved["requests"], saved["failed"]) == (sent, failed)
    assert saved["errors"] == {"status 503": failed}
    assert ran.exit_code == 1
    assert ran.stderr == f"{failed:,} of {sent:,} requests failed\n"
    assert "Closed workload" in ran.stdout
    assert "flatter a server that stalls" in ran.stdout
    assert f"{failed:,}<small> of {sent:,}" in Path(f"{out}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("result", "exit_code", "said"),
    [
        (_a_result(), 0, ""),
        (_a_result("status 500"), 1, "1 of 1 requests failed\n"),
        (replace(_a_result(), interrupted=True), 130, ""),
        (replace(_a_result(), requests=0, latency=None), 1, "nothing was measured"),
    ],
)
def test_exit_code_tells_how_the_run_went(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, result: Result, exit_code: int, said: str
) -> None:
    """Only a whole run without a failure exits 0; both files are written whatever happened."""
    monkeypatch.setattr(cli, "run_loadtest", lambda *_, **__: result)
    ran = _invoke("http://h", "--out", str(tmp_path / "r"))
    assert ran.exit_code == exit_code
    assert ran.stderr.startswith(said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("http://127.0.0.1:1", "Error: cannot reach http://127.0.0.1:1"),
        ("127.0.0.1", "Error: '127.0.0.1' is not an address"),
        ("http://127.0.0.1:1 --texts none.txt", "Error: none.txt: no such file"),
        ("http://127.0.0.1:1 --duration 5x", "Error: '5x' is not a duration"),
        ("http://127.0.0.1:1 --duration 0", "Error: '0' is too short, at least 1s"),
        ("http://127.0.0.1:1 --warm-up -1s", "Error: '-1s' is not a duration"),
        ("http://127.0.0.1:1 --out afile/r", "Error: cannot save the result"),
    ],
)
def test_bad_use_is_one_line_on_stderr_and_exits_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: str, said: str
) -> None:
    """Nothing is printed on stdout and nothing saved."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("", encoding="utf-8")
    ran = _invoke(*arguments.split())
    assert ran.exit_code == 2
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == 1
    assert ran.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]
