"""The locustfile on its own, as `locust -f` runs it."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import loadtest
from loadtest.samples import Samples

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
    "ok", "status 503", "no results in the answer", "not one result", "no results in the answer",
    "status 307",
]  # fmt: skip


def _run_locust(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    source = Path(loadtest.__file__).parent
    for name in ("locustfile.py", "samples.py", "texts.py", "texts.txt"):
        shutil.copy(source / name, folder)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "loadtest.py").write_text("", encoding="utf-8")  # hides the package
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LOCUST", "HEED"))}
    command = [sys.executable, "-m", "locust", "-f", str(folder / "locustfile.py"), "--headless"]
    return subprocess.run(
        [*command, "--only-summary", *options],
        cwd=folder / "elsewhere",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.e2e
def test_every_kind_of_bad_answer_is_a_named_failure(serve_stub, tmp_path: Path) -> None:
    """From a folder without the package, one user: outcomes in the order of the answers."""
    (tmp_path / "t.csv").write_text("text\nsecret one\nsecret two\n", encoding="utf-8")
    with serve_stub(lambda number: ANSWERS[(number - 1) % len(ANSWERS)]) as stub:
        options = f"--host {stub.url} -u 1 -t 1s --stop-timeout 5 --api-key k --result-file ../out"
        ran = _run_locust(tmp_path, *options.split(), "--texts", str(tmp_path / "t.csv"))
    samples = Samples.read(tmp_path / "out")
    expected = [KINDS[i % len(KINDS)] for i in range(len(stub.bodies))]
    assert len(expected) > len(KINDS)
    assert samples.outcome == expected
    assert ran.returncode == 1
    assert "secret" not in ran.stdout + ran.stderr
    assert stub.authorizations == {"Bearer k"}
    sent = Counter(json.loads(body)["inputs"] for body in stub.bodies)
    assert set(sent) == {"secret one", "secret two"}
    assert min(samples.latency_s) > 0
    assert list(samples.start_s) == sorted(samples.start_s)


@pytest.mark.e2e
def test_bad_texts_file_ends_locust_with_one_line(tmp_path: Path) -> None:
    """No traceback, no load."""
    ran = _run_locust(tmp_path, "--host", "http://127.0.0.1:1", "-t", "1s", "--texts", "none.txt")
    assert ran.returncode == 1
    assert "Error: none.txt: no such file" in ran.stderr
    assert "Traceback" not in ran.stderr
