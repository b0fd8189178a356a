"""A run that is killed and resumed ends exactly where an undisturbed one ends."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from model.checkpoint import load_tensors
from tests.runs import (
    ENVIRONMENT,
    HEED,
    ROOT,
    heed,
    heed_here,
    invented,
    write_rows,
    write_settings,
)

STATE = "resume.safetensors"
STEPS_PER_EPOCH = 90
TRAINING = "save_every_steps = 3\n"


def command_for(folder: Path, out: str, *more: str, seed: int = 7) -> list[str]:
    """`heed train` on 400 invented rows, of which 40 are held out: 90 batches of 4 an epoch."""
    files = [str(folder / "train.jsonl"), "--test", str(folder / "test.jsonl")]
    settings = ["--config", str(folder / "tiny.toml"), "--epochs", "3"]
    return ["train", *files, "--out", str(folder / out), *settings, "--seed", str(seed), *more]


def progress_of(run: Path) -> dict:
    """Where the state on disk stands; read at once, as the file may be replaced at any time."""
    try:
        content = (run / STATE).read_bytes()
    except FileNotFoundError:
        return {"epoch": 0, "position": 0, "step": 0}
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["state"])


def kill_in_mid_epoch(command: list[str], run: Path) -> None:
    """Start the command and kill it without warning in its second epoch."""
    process = subprocess.Popen(
        [HEED, *command],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (progress_of(run)["epoch"] == 1 and progress_of(run)["position"] > 9):
            assert time.monotonic() < deadline, "the run never came to its second epoch"
            with pytest.raises(subprocess.TimeoutExpired):  # else it ended before it was killed
                process.wait(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, settings, an undisturbed run, a killed one and its state at that time."""
    folder = tmp_path_factory.mktemp("resume")
    write_rows(folder / "train.jsonl", invented(400, seed=1))
    write_rows(folder / "test.jsonl", invented(100, seed=2))
    settings = write_settings(folder, TRAINING)
    settings.write_text(settings.read_text().replace("batch_size = 16", "batch_size = 4"))
    done = heed(*command_for(folder, "whole"))
    assert done.returncode == 0, done.stderr
    kill_in_mid_epoch(command_for(folder, "killed"), folder / "killed")
    shutil.copytree(folder / "killed", folder / "refused")
    return folder


def refused(folder: Path, *more: str, seed: int = 7) -> str:
    """Why the killed run is not resumed: one line, exit code 2, and the state as it was."""
    before = (folder / "refused" / STATE).read_bytes()
    done = heed_here(*command_for(folder, "refused", "--resume", *more, seed=seed))
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("heed: ")
    assert (folder / "refused" / STATE).read_bytes() == before
    return lines[-1]


def test_killed_run_has_a_state_and_no_metrics(folder):
    """What a killed run leaves can be resumed and not exported."""
    names = {path.name for path in (folder / "refused").iterdir()}
    assert {"run.json", "tokenizer.model", "checkpoint.safetensors", STATE} <= names
    assert "metrics.json" not in names
    progress = progress_of(folder / "refused")
    assert progress["epoch"] == 1
    assert 0 < progress["position"] < STEPS_PER_EPOCH
    assert progress["step"] == STEPS_PER_EPOCH + progress["position"]


def test_resume_with_other_settings_is_refused(folder):
    """The end would be neither that of the old settings nor that of the new."""
    assert refused(folder, seed=8).endswith(
        "was started with other settings (training.seed was 7, is 8); give the same to resume"
    )


def test_resume_with_other_data_is_refused(folder):
    """A row more would shift every batch."""
    original = (folder / "train.jsonl").read_text()
    write_rows(folder / "train.jsonl", invented(401, seed=1))
    try:
        assert refused(folder).endswith(
            "refused was started on other data; give the same files to resume"
        )
    finally:
        (folder / "train.jsonl").write_text(original)


def test_resumed_run_ends_where_an_undisturbed_one_ends(folder):
    """Killed in mid-epoch: weights, history and all figures are equal bit by bit."""
    done = heed(*command_for(folder, "killed", "--resume"))
    assert done.returncode == 0, done.stderr
    whole, resumed = (
        json.loads((folder / name / "metrics.json").read_text()) for name in ("whole", "killed")
    )
    for metrics in (whole, resumed):
        for record in metrics["training"]["history"]:
            record.pop("train_s")
    assert resumed["validation"] == whole["validation"]
    assert resumed["test"] == whole["test"]
    for key in ("history", "epochs", "best_epoch"):
        assert resumed["training"][key] == whole["training"][key]
    weights, expected = (
        load_tensors(folder / name / "checkpoint.safetensors")[0] for name in ("killed", "whole")
    )
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert {path.name for path in (folder / "killed").iterdir()} == {
        path.name for path in (folder / "whole").iterdir()
    }


def test_resume_of_a_finished_run_is_refused(folder):
    """One line, exit code 2, and nothing of the run is touched."""
    before = (folder / "whole" / "metrics.json").read_bytes()
    done = heed_here(*command_for(folder, "whole", "--resume"))
    assert done.returncode == 2
    assert done.stderr.strip() == f"heed: {folder / 'whole'} is finished: nothing to resume"
    assert (folder / "whole" / "metrics.json").read_bytes() == before
