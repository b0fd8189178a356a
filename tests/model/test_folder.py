"""A run folder is held by one process, and what was there stays until there is more."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import model.run
from model.folder import held, what_now
from model.lock import HeldError
from model.train import TrainingError
from service.runtime.errors import HeedError
from service.runtime.files import FileError, replacing
from tests.runs import Silent, invented, little_room, tiny_config, train_in, write_rows


def content(folder) -> dict[str, bytes]:
    """All files of a run, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def finished(tmp_path, trained_run):
    """A run of one's own."""
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


def begun(folder) -> None:
    """Leave of a run what one that is killed before it saves anything leaves."""
    for name in ("checkpoint.safetensors", "metrics.json", "curves.png"):
        (folder / name).unlink()


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_second_training_is_told_who_has_the_folder(finished, tmp_path, flags):
    """By process, host, time and command; neither run loses anything."""
    with held(finished):
        before = content(finished)
        with pytest.raises(HeldError) as caught:
            train_in(tmp_path, flags)
        assert content(finished) == before
    assert f"{finished} is being written by process {os.getpid()} on " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lock_of_a_killed_process_is_none(tmp_path):
    """The file may be left; the system's lock is not."""
    (tmp_path / ".lock").write_text("process 1 on elsewhere since 1970")
    with held(tmp_path) as problem:
        assert problem is None
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_locked_is_said(tmp_path, monkeypatch):
    """As on some network file systems: training goes on."""

    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("model.lock.fcntl", SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4))
    _, listener = train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1)})
    assert "cannot be locked (No locks available)" in listener.lines[0]


@pytest.mark.parametrize("room", [300, 20_000, 150_000])
def test_overwrite_without_room_keeps_the_old_run(finished, tmp_path, room):
    """Whatever the first file is that does not fit: one line, and every byte as it was."""
    before = content(finished)
    train = write_rows(tmp_path / "train.jsonl", invented(150, seed=1))
    request = {"train": train, "config": tiny_config(tmp_path), "overwrite": True}
    with little_room(room), pytest.raises(FileError, match=r"cannot be written: .*too large"):
        train_in(tmp_path, request)
    assert content(finished) == before


@pytest.mark.parametrize("error", [TrainingError("diverged"), KeyboardInterrupt(), MemoryError()])
def test_overwrite_that_fails_in_its_first_epoch_keeps_the_old_run(
    finished, tmp_path, monkeypatch, error
):
    """A typing error in the settings does not cost a model."""
    before = content(finished)

    def train(*_):
        raise error

    monkeypatch.setattr(model.run, "train", train)
    with pytest.raises(type(error)):
        train_in(tmp_path, {"overwrite": True})
    assert content(finished) == before


@pytest.mark.parametrize("moved", [".before", ".before.moving"])
def test_run_that_was_put_aside_comes_back_after_a_kill(finished, tmp_path, moved):
    """Wherever the process was killed: the next one finds the old run."""
    before = content(finished)
    (finished / moved).mkdir()
    for name in ("run.json", "metrics.json"):
        (finished / name).rename(finished / moved / name)
    if moved == ".before":
        for path in finished.iterdir():
            if path.is_file():
                path.rename(finished / moved / path.name)
        (finished / "run.json").write_text("of the new run")
    with pytest.raises(HeedError, match="holds a run already"):
        train_in(tmp_path, {})
    assert content(finished) == before


def test_full_disk_in_a_later_epoch_keeps_what_was_saved(tmp_path, monkeypatch):
    """The best weights and the state, from which --resume goes on; no half file."""
    room = []

    class Filling(Silent):
        def validated(self, record):
            super().validated(record)
            room.append(little_room(1_000))
            room[0].__enter__()

    monkeypatch.setattr("tests.runs.Silent", Filling)
    with pytest.raises(FileError, match="cannot be written"):
        train_in(tmp_path, {})
    room[0].__exit__(None, None, None)
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    monkeypatch.setattr("tests.runs.Silent", Silent)
    metrics, _ = train_in(tmp_path, {"resume": True})
    assert metrics["training"]["epochs"] == 4


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("gone", [(), ("run.json",), ("run.json", "tokenizer.model")])
def test_run_that_saved_nothing_starts_over(finished, tmp_path, flags, gone):
    """There is nothing to lose and nothing to resume; it is said."""
    begun(finished)
    for name in gone:
        (finished / name).unlink()
    metrics, listener = train_in(tmp_path, {"config": tiny_config(tmp_path, epochs=1), **flags})
    assert metrics["training"]["epochs"] == 1
    assert flags.get("overwrite") or "it starts over" in listener.lines[0]


def test_hint_after_a_stop_is_true(finished):
    """By what the folder holds."""
    assert what_now(finished, overwrite=True).endswith("is as it was")
    (finished / "resume.safetensors").write_bytes(b"")
    assert "with --resume goes on in" in what_now(finished, overwrite=False)
    assert "with --resume in place of --overwrite" in what_now(finished, overwrite=True)
    assert "the same command starts again" in what_now(finished / "none", overwrite=False)


def test_file_is_replaced_whole_or_not_at_all(tmp_path):
    """Without room the old content stays, and nothing lies beside it; a link stays a link."""
    path, link = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text("old")
    link.symlink_to(path)
    problem = pytest.raises(FileError, match=r"a\.json cannot be written")
    with little_room(10), problem, replacing(link) as temporary:
        temporary.write_text("new" * 100)
    assert sorted(tmp_path.iterdir()) == [path, link]
    assert path.read_text() == "old"
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), link.is_symlink()) == ("new", True)


@pytest.mark.parametrize(("path", "reason"), [("/dev/full", "No space left on device")])
def test_device_is_written_to_itself(path, reason):
    """It is not replaced by a file."""
    problem = pytest.raises(FileError, match=f"{path} cannot be written: {reason}")
    with problem, replacing(Path(path)) as opened:
        opened.write_text("x")
