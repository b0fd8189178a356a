"""A run directory on disk: whole or refused, and without pickle."""

import ast
import json
import shutil
import zipfile

import pytest
import torch

from model.checkpoint import (
    CheckpointError,
    Run,
    load_checkpoint,
    load_tensors,
    save_tensors,
    write_json,
)
from model.state import TrainingState
from tests.runs import LABELS, ROOT


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a finished run, to be broken."""
    return shutil.copytree(trained_run, tmp_path / "copy")


def error_of(folder) -> str:
    """Why the folder is refused, in one line."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_checkpoint_is_ready_to_classify(trained_run):
    """Evaluation mode, labels in the order of the logits, metrics of the run."""
    checkpoint = load_checkpoint(trained_run)
    assert not checkpoint.network.training
    assert checkpoint.run.labels == LABELS
    assert checkpoint.network.head.out_features == len(LABELS)
    assert checkpoint.tokenizer.max_length == checkpoint.run.config.network.max_length
    assert checkpoint.metrics["test"]["n"] == 120


def test_tensors_round_trip(tmp_path):
    """Types, values and the JSON beside them, in one file."""
    tensors = {"a": torch.arange(3), "b": torch.rand(2, 3).T, "c": torch.tensor(0.5)}
    save_tensors(tmp_path / "x.safetensors", tensors, {"epoch": 3, "name": "ä"})
    loaded, state = load_tensors(tmp_path / "x.safetensors")
    assert state == {"epoch": 3, "name": "ä"}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_failed_write_leaves_the_old_file(tmp_path):
    """Whole or not at all."""
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": {(1, 2): 3}})
    assert json.loads(path.read_text()) == {"a": 1}


def test_run_round_trip(trained_run, tmp_path):
    """What is read is what was written."""
    run = Run.read(trained_run)
    run.write(tmp_path)
    assert Run.read(tmp_path) == run
    assert run.libraries["torch"] == torch.__version__


def test_folder_without_run_is_refused(tmp_path):
    """Neither an empty folder nor one that is not there."""
    assert error_of(tmp_path) == f"{tmp_path} is not a run: it holds no run.json"
    assert error_of(tmp_path / "none").endswith("none is not a run: it holds no run.json")


def test_unfinished_run_is_refused(run):
    """The message says how to go on."""
    (run / "metrics.json").unlink()
    assert error_of(run) == f"{run} did not finish; continue it with heed train --resume"


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "tokenizer.model"])
def test_missing_file_is_named(run, name):
    """One that `run.json` needs beside it."""
    (run / name).unlink()
    assert str(run / name) in error_of(run)


@pytest.mark.parametrize(
    "name", ["run.json", "checkpoint.safetensors", "tokenizer.model", "metrics.json"]
)
@pytest.mark.parametrize("content", [b"", b"\x80\x04]q\x00.", b"{", b"[]"])
def test_broken_file_is_named(run, name, content):
    """Empty, of another kind, cut off."""
    (run / name).write_bytes(content)
    assert str(run / name) in error_of(run)


def test_cut_checkpoint_is_named(run):
    """Half a copy is not half a model."""
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in error_of(run)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["a", "b"]},
        {"vocab_size": 7},
        {"config": {"network": {"hidden_size": 64}}},
    ],
)
def test_run_of_other_sizes_is_refused(run, change):
    """Weights that do not fit are an error, not a guess."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert str(run / "checkpoint.safetensors") in error_of(run)


@pytest.mark.parametrize("change", [{"config": {"network": {"odd": 1}}}, {"odd": 1}])
def test_run_of_another_heed_is_refused(run, change):
    """Unknown settings may mean anything."""
    path = run / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert error_of(run) == f"{path} is not a run of this Heed"


def test_run_directory_holds_no_pickle(trained_run):
    """safetensors, JSON, a picture and the tokenizer; nothing that runs code when it is read."""
    kinds = {path.suffix for path in trained_run.rglob("*")}
    assert kinds == {".safetensors", ".json", ".jsonl", ".png", ".model"}
    for path in trained_run.iterdir():
        assert not zipfile.is_zipfile(path)  # what torch.save writes
        start = path.read_bytes()[:9]
        if path.suffix == ".safetensors":
            assert start[8:] == b"{"
        else:
            assert not start.startswith(b"\x80")


@pytest.mark.parametrize("folder", ["model", "export"])
def test_source_never_pickles(folder):
    """No module and no function that reads or writes pickle is named in the code."""
    banned = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert banned.isdisjoint(alias.name.split(".")[0] for alias in node.names), path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in banned, path
                names = {alias.name for alias in node.names}
                assert node.module != "torch" or names.isdisjoint({"save", "load"}), path
            elif isinstance(node, ast.Attribute):
                called = ast.unparse(node)
                assert called not in {"torch.save", "torch.load"}, path
                assert called not in {"np.load", "np.save", "numpy.load", "numpy.save"}, path


def test_state_is_no_pickle(trained_run, tmp_path):
    """The state of an unfinished run is safetensors too."""
    run = Run.read(trained_run)
    TrainingState(run.build(), run.config.training).save(tmp_path / "state.safetensors")
    assert load_tensors(tmp_path / "state.safetensors")[1]["epoch"] == 0
