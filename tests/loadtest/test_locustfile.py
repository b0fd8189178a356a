"""The locustfile on its own, as `locust -f` runs it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import loadtest
from loadtest.plan import closed_plan
from loadtest.workload import Texts, load_workload
from tests.loadtest.stub import running_stub

ONE_RESULT = {"results": [{"label": "a"}]}
ANSWERS: list[tuple[int, object]] = [
    (200, ONE_RESULT),
    (503, {"title": "busy"}),
    (200, b"not json"),
    (200, {"results": []}),
    (200, [1]),
    (307, ONE_RESULT),
]
KINDS = [
    "ok", "status 503", "no results in the answer", "wrong number of results",
    "no results in the answer", "status 307",
]  # fmt: skip


@pytest.fixture
def locust(tmp_path: Path):
    """Runs a copy of the folder in a checkout where nothing is installed."""
    source = Path(loadtest.__file__).parent
    shutil.copytree(source, tmp_path / "checkout" / "loadtest")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "loadtest.py").write_text("", encoding="utf-8")  # hides the package

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("LOCUST", "HEED"))}
        file = tmp_path / "checkout" / "loadtest" / "locustfile.py"
        command = [sys.executable, "-P", "-m", "locust", "-f", str(file), "--headless"]
        return subprocess.run(
            [*command, "--only-summary", *options],
            cwd=tmp_path / "elsewhere",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def bodies_by_kind(bodies: list[bytes]) -> Counter[str]:
    """How many of each kind the stub received."""
    kinds: Counter[str] = Counter()
    for body in bodies:
        sent = json.loads(body)
        kinds[
            "batch"
            if isinstance(sent["inputs"], list)
            else "explain"
            if "explain" in sent
            else "single"
        ] += 1
    return kinds


@pytest.mark.e2e
def test_every_kind_of_bad_answer_is_a_named_failure(serve_stub, locust, tmp_path: Path) -> None:
    """One user, so that outcomes come in the order of the answers."""
    (tmp_path / "t.csv").write_text("text\nsecret one\nsecret two\n", encoding="utf-8")
    texts = Texts(file=tmp_path / "t.csv")
    workload = load_workload("steady").model_copy(update={"texts": texts})
    with serve_stub(lambda number: ANSWERS[(number - 1) % len(ANSWERS)]) as stub:
        plan = closed_plan(stub.url, workload, users=1, duration_s=1, warm_up_s=0)
        (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        ran = locust(
            *f"--host {stub.url} -u 1 -t 1s --stop-timeout 5 --api-key k".split(),
            *("--plan", str(tmp_path / "plan.json"), "--result-file", str(tmp_path / "out.json")),
        )
    counted = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    expected = Counter(KINDS[i % len(KINDS)] for i in range(len(stub.bodies)))
    assert counted["stages"][0]["groups"]["single"]["outcomes"] == expected
    assert ran.returncode == 1
    assert "secret" not in ran.stdout + ran.stderr
    assert stub.authorizations == {"Bearer k"}
    sent = Counter(json.loads(body)["inputs"] for body in stub.bodies)
    assert set(sent) == {"secret one", "secret two"}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ("", {"single", "batch", "explain"}),
        ("Batch", {"batch"}),
        ("Explain", {"explain"}),
        ("Single", {"single"}),
        ("--tags explain", {"explain"}),
    ],
)
def test_users_and_tags_choose_what_is_sent(
    serve_stub, locust, options: str, kinds: set[str]
) -> None:
    """Without a name the users mix all three."""
    with serve_stub() as stub:
        locust(*f"--host {stub.url} -u 4 -r 4 -t 2s --stop-timeout 5".split(), *options.split())
    assert set(bodies_by_kind(stub.bodies)) == kinds


@pytest.mark.e2e
@pytest.mark.parametrize("processes", [1, 2])
def test_an_open_loop_needs_no_run_time_and_shows_in_locusts_own_table(
    locust, tmp_path: Path, processes: int
) -> None:
    """It ends with its schedule; Locust counts what the server counted, workers or not."""
    records = [] if processes > 1 else ["--records", str(tmp_path / "records.csv")]
    with running_stub(delay=0.005) as stub:
        options = f"--host {stub.url} --workload steady --rate 100 --duration 2s"
        if processes > 1:
            options += f" --processes {processes} -u {processes}"
        ran = locust(*options.split(), *records)
    assert ran.returncode == 0, ran.stderr
    aggregated = re.search(r"Aggregated\s+(\d+)\s+0\(0\.00%\)", ran.stderr + ran.stdout)
    assert aggregated
    assert int(aggregated[1]) > 500  # five seconds of warm-up are in Locust's table too
    if records:
        rows = list(csv.DictReader((tmp_path / "records.csv").read_text("utf-8").splitlines()))
        assert len(rows) == int(aggregated[1])
        for row in rows:
            moments = [
                float(row[f"{name}_s"]) for name in ("scheduled", "sent", "first_byte", "end")
            ]
            assert moments == sorted(moments)
        assert {(row["outcome"], row["model_version"]) for row in rows} == {("ok", "1")}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--texts none.txt", "none.txt: file not found"),
        ("--workload none", "none: no such file, and no workload that Heed ships"),
        ("--workload steady --duration x", "'x' is not a duration"),
        ("--workload spike --rate 5", "expected a workload of one stage to change its rate"),
    ],
)
def test_bad_options_end_locust_with_one_line(locust, options: str, said: str) -> None:
    """No traceback, no load."""
    ran = locust("--host", "http://127.0.0.1:1", "-t", "1s", *options.split())
    assert ran.returncode == 1
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
