"""No process of Heed opens a connection or writes a file that the user did not ask for.

Each command runs with a home, a temporary folder and a working folder of its own, which are looked
at afterwards; under strace, where it is installed, so is what native code does.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.runs import ENVIRONMENT, HEED, invented, write_rows, write_settings

pytestmark = pytest.mark.e2e

CALLS = "connect,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
WRITES = re.compile(r"\b(?:open|openat)\(.*O_CREAT|\b(?:creat|mkdir|mkdirat|rename\w*)\(")
OWN = ("127.0.0.1", "::1")


class Place:
    """Where commands run, and what they may not touch."""

    def __init__(self, folder: Path) -> None:
        self.home, self.tmp, self.work = (folder / name for name in ("home", "tmp", "work"))
        for path in (self.home, self.tmp, self.work):
            path.mkdir()
        self.trace = folder / "trace"
        cleared = {
            k: v for k, v in ENVIRONMENT.items() if not k.startswith(("XDG_", "ORT_", "MPL"))
        }
        private = {"HOME": str(self.home), "TMPDIR": str(self.tmp), "PYTHONDONTWRITEBYTECODE": "1"}
        self.environment = cleared | private

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs as long as the block."""
        watched = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "signal=none",
            "-e",
            f"trace={CALLS}",
        ]
        watched += ["-A", "-o", str(self.trace)]
        process = subprocess.Popen(
            [*(watched if shutil.which("strace") else []), HEED, *words],
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:  # what strace is told does not reach what it watches
                for child in psutil.Process(process.pid).children() or [process]:
                    child.terminate()
                process.communicate(timeout=60)

    def run(self, *words: str) -> None:
        """A command that must succeed."""
        with self.started(*words) as process:
            out, err = process.communicate(timeout=200)
            assert process.returncode == 0, out + err

    def look(self) -> None:
        """Nothing is left in the home and the temporary folder; nothing else was reached for."""
        assert [str(path) for path in (*self.home.rglob("*"), *self.tmp.rglob("*"))] == []
        if not self.trace.exists():
            return
        for line in self.trace.read_text(errors="replace").splitlines():
            address = re.search(r'inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"', line)
            assert address is None or address[1] in OWN, line
            if WRITES.search(line) and " = -1 E" not in line:
                for path in re.findall(r'"(/[^"]*)"', line):
                    allowed = (str(self.work), str(self.tmp), "/dev/", "/proc/")
                    assert path.startswith(allowed), line
        self.trace.unlink()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """With labelled rows and small settings in the working folder."""
    found = Place(tmp_path_factory.mktemp("hermetic"))
    write_rows(found.work / "train.jsonl", invented(120, seed=1))
    write_rows(found.work / "test.jsonl", invented(30, seed=2))
    write_settings(found.work)
    return found


def test_training_and_what_follows_leave_no_trace(place):
    """Train, export, evaluate, predict: only what was named is written, and no host asked for."""
    options = ["--config", "tiny.toml", "--epochs", "1", "--out", "run", "--test", "test.jsonl"]
    place.run("train", "train.jsonl", *options)
    for precision in ("fp32", "int8"):
        place.run("export", "run", "--out", f"models/{precision}", "--precision", precision)
    place.run("evaluate", "models/fp32", "test.jsonl", "--json", "figures.json")
    place.run("evaluate", "run", "test.jsonl")
    place.run("predict", "test.jsonl", "--model", "models/fp32", "--out", "labelled.parquet")
    place.run("evaluate", "models/int8", "labelled.parquet")
    place.look()
    given, made = {"train.jsonl", "test.jsonl", "tiny.toml"}, {"run", "models", "figures.json"}
    assert {path.name for path in place.work.iterdir()} == given | made | {"labelled.parquet"}


def test_serving_and_loading_leave_no_trace(place):
    """The service connects to nobody, and the load test to the service alone."""
    if not (place.work / "models" / "fp32").exists():
        pytest.skip("the artifact comes from the test before")
    place.run("workload", "test.jsonl", "--out", "load.toml")
    with place.started("serve", "--model", "models/fp32", "--port", "0") as service:
        url = re.search(r"http://\S+", service.stdout.readline()).group()
        load = ["--duration", "1s", "--warm-up", "0s"]
        for kind in (["--users", "2"], ["--rate", "20"]):
            place.run("loadtest", url, *load, *kind, "--out", "load")
    place.look()
