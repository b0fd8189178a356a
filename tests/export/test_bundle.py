"""The artifact directory: whole, verified and described, or not there."""

import json
import os
import shutil
from importlib.metadata import version as version_of
from pathlib import Path

import pytest

import export.bundle
from export.bundle import export_run
from export.errors import ExportError
from export.evaluate import evaluate
from export.naming import named, served_as
from model.checkpoint import CheckpointError
from model.folder import held
from model.lock import HeldError
from model.parts import read_part
from model.provenance import git_commit
from service.runtime.artifact import ArtifactError, FileEntry, read_artifact
from service.runtime.files import FileError
from service.runtime.versions import find_versions
from tests.runs import LABELS, heed_here, little_room

FIELDS = {
    "format_version",
    "name",
    "version",
    "labels",
    "max_length",
    "pad_token_id",
    "inputs",
    "outputs",
    "precision",
    "opset",
    "metrics",
    "parity",
    "git_commit",
    "libraries",
    "files",
}


@pytest.fixture(params=["fp32", "int8"])
def artifact(request):
    """Each precision."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def quick(monkeypatch, fp32):
    """Export without tracing: the graph that was exported before."""
    model = (fp32 / "model.onnx").read_bytes()
    monkeypatch.setattr(export.bundle, "to_onnx", lambda *_: model)


def test_artifact_is_three_files(artifact):
    """One graph, one tokenizer, one manifest, and the reader accepts them."""
    assert {path.name for path in artifact.iterdir()} == {
        "manifest.json",
        "model.onnx",
        "tokenizer.model",
    }
    assert read_artifact(artifact).manifest.name == "tickets"


def test_manifest_is_complete(artifact, checkpoint):
    """Everything a reader needs, and everything the result depends on."""
    manifest = json.loads((artifact / "manifest.json").read_text(encoding="utf-8"))
    assert manifest.keys() == FIELDS
    assert manifest["format_version"] == 1
    assert (manifest["name"], manifest["version"]) == ("tickets", "1")
    assert manifest["labels"] == list(LABELS)
    assert manifest["max_length"] == checkpoint.run.config.network.max_length
    assert manifest["inputs"] == ["input_ids", "attention_mask"]
    assert manifest["outputs"] == ["logits", "attention"]
    assert manifest["precision"] == artifact.name
    assert manifest["opset"] == 20
    assert manifest["git_commit"] == git_commit()


def test_manifest_has_the_versions_of_the_libraries(artifact):
    """Those that are installed, and Python's."""
    libraries = read_artifact(artifact).manifest.libraries
    for name in ("torch", "onnx", "onnxruntime", "sentencepiece", "numpy"):
        assert libraries[name] == version_of(name)
    assert "python" in libraries


def test_manifest_has_size_and_hash_of_every_file(artifact):
    """Of the files as they lie on disk."""
    files = read_artifact(artifact).manifest.files
    assert files == {
        name: FileEntry.of((artifact / name).read_bytes())
        for name in ("model.onnx", "tokenizer.model")
    }


def test_parity_is_in_the_manifest(fp32, int8):
    """fp32 within 1e-4; int8 says what it costs."""
    exact, small = (read_artifact(path).manifest.parity for path in (fp32, int8))
    assert exact["max_logit_difference"] <= 1e-4
    assert exact["label_agreement"] == 1.0
    assert 1e-4 < small["max_logit_difference"] < 1.0
    assert small["label_agreement"] > 0.9
    assert exact["texts"] == small["texts"] == 34


def test_metrics_are_those_of_the_artifact(artifact, trained_run):
    """Measured on the graph as it is served, not copied from the run."""
    metrics = read_artifact(artifact).manifest.metrics
    assert metrics.keys() == {"validation", "test"}
    for part, figures in metrics.items():
        assert figures.keys() == {
            *("n", "accuracy", "accuracy_low", "accuracy_high", "majority"),
            *("macro_f1", "ece", "nll"),
        }
        measured = evaluate(artifact, read_part(trained_run, part))
        assert figures == pytest.approx({key: measured[key] for key in figures})


def test_metrics_differ_between_precisions(fp32, int8):
    """Rounded weights have another likelihood: nothing was copied."""
    exact, small = (read_artifact(path).manifest.metrics["test"] for path in (fp32, int8))
    assert exact["nll"] != small["nll"]
    assert exact["nll"] == pytest.approx(small["nll"], abs=0.05)


def test_int8_is_smaller(fp32, int8):
    """What it is for."""
    sizes = [(path / "model.onnx").stat().st_size for path in (int8, fp32)]
    assert sizes[0] < 0.7 * sizes[1]


def test_run_without_test_file_has_no_test_metrics(trained_run, tmp_path, quick):
    """Absent, not zero."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "test.jsonl").unlink()
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    manifest = export_run(run, tmp_path / "out", "fp32", "tickets", "1")
    assert manifest.metrics.keys() == {"validation"}


def test_returned_manifest_is_the_written_one(trained_run, tmp_path, quick):
    """What export says is what serving reads; name and version as asked for."""
    manifest = export_run(trained_run, tmp_path / "9", "fp32", "other", "9")
    assert read_artifact(tmp_path / "9").manifest == manifest
    assert (manifest.name, manifest.version) == ("other", "9")
    assert find_versions(tmp_path).path() == tmp_path / "9"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_existing_out_is_refused(trained_run, tmp_path, quick, kind):
    """Nothing is overwritten."""
    out = tmp_path / "out"
    if kind == "folder":
        out.mkdir()
        (out / "mine").write_text("keep")
    else:
        out.write_text("keep")
    with pytest.raises(ExportError, match="exists already"):
        export_run(trained_run, out, "fp32", "tickets", "1")
    assert (out / "mine" if kind == "folder" else out).read_text() == "keep"
    assert list(tmp_path.iterdir()) == [out]


def test_empty_out_is_taken(trained_run, tmp_path, quick):
    """A mounted folder, or one made beforehand."""
    (tmp_path / "out").mkdir()
    export_run(trained_run, tmp_path / "out", "fp32", "tickets", "1")
    assert read_artifact(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "error", "problem"),
    [
        ({"precision": "fp8"}, ExportError, "unknown precision 'fp8', expected fp32 or int8"),
        ({"name": "a b"}, ArtifactError, "name 'a b' is not usable"),
        ({"name": ""}, ArtifactError, "name '' is not usable"),
        ({"name": "../up"}, ArtifactError, "name '../up' is not usable"),
        ({"version": "-1"}, ArtifactError, "version '-1' is not usable"),
        ({"version": "1/2"}, ArtifactError, "version '1/2' is not usable"),
    ],
)
def test_bad_argument_is_refused(trained_run, tmp_path, change, error, problem):
    """Before anything is computed or written."""
    asked = {"precision": "fp32", "name": "tickets", "version": "1"} | change
    with pytest.raises(error) as caught:
        export_run(trained_run, tmp_path / "out", **asked)
    assert str(caught.value).startswith(problem)
    assert list(tmp_path.iterdir()) == []


def test_unfinished_run_is_refused(trained_run, tmp_path):
    """And leaves no folder."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "metrics.json").unlink()
    with pytest.raises(CheckpointError, match="did not finish"):
        export_run(run, tmp_path / "out", "fp32", "tickets", "1")
    assert list(tmp_path.iterdir()) == [run]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("step", ["check_parity", "artifact_metrics", "Predictor"])
@pytest.mark.parametrize("error", [ExportError("no"), KeyboardInterrupt(), OSError("disk full")])
def test_failing_export_leaves_no_folder(trained_run, tmp_path, monkeypatch, step, error):
    """Neither by that name nor beside it."""

    def fail(*_):
        raise error

    monkeypatch.setattr(export.bundle, step, fail)
    with pytest.raises(FileError if isinstance(error, OSError) else type(error)):
        export_run(trained_run, tmp_path / "out", "fp32", "tickets", "1")
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_export_is_replaced(trained_run, tmp_path, quick):
    """It has a name of its own, and the next export takes it away."""
    leftover = tmp_path / ".out.building" / "artifact"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("x")
    export_run(trained_run, tmp_path / "out", "fp32", "tickets", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    read_artifact(tmp_path / "out")


def test_second_export_into_a_folder_is_told_who_writes_there(trained_run, tmp_path, quick):
    """And leaves what the first has built."""
    with held(tmp_path / ".out.building", temporary=True):
        with pytest.raises(HeldError, match=rf"process {os.getpid()} on "):
            export_run(trained_run, tmp_path / "out", "fp32", "tickets", "1")
        assert (tmp_path / ".out.building").exists()
    assert list(tmp_path.iterdir()) == []


def test_export_without_room_is_one_line_and_leaves_nothing(trained_run, tmp_path, quick):
    """Files may have 4 kB each, as on a disk that is nearly full."""
    with little_room(4_000):
        done = heed_here("export", trained_run, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == f"heed: {tmp_path / 'out'} cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_command_names_the_artifact_by_its_folder(trained_run, tmp_path, quick):
    """Version 1 and fp32 unless asked for something else; it says what comes next."""
    done = heed_here("export", trained_run, "--out", tmp_path / "support")
    assert done.returncode == 0, done.stderr
    manifest = read_artifact(tmp_path / "support").manifest
    assert (manifest.name, manifest.version, manifest.precision) == ("support", "1", "fp32")
    assert f"next: heed serve --model {tmp_path / 'support'}" in done.stdout
    assert "same label on 100.0 % of 34 texts" in done.stdout


@pytest.mark.parametrize(
    ("out", "given", "expected"),
    [
        ("models/support", (None, None), ("support", "1")),
        ("models/support", ("tickets", "7"), ("tickets", "7")),
        ("models/support/2", (None, None), ("support", "2")),
        ("models/support/v1.10", (None, None), ("support", "v1.10")),
        ("models/support/2026-11-24", (None, None), ("support", "2026-11-24")),
        ("models/support/blue", (None, "blue"), ("support", "blue")),
        ("models/support/2", ("tickets", None), ("tickets", "2")),
        ("models/support/2", (None, "3"), ("2", "3")),
        ("models/20newsgroups", (None, None), ("20newsgroups", "1")),
        ("/2", (None, None), ("2", "1")),
    ],
)
def test_folder_of_numbers_or_of_the_version_is_one_version_of_its_parent(out, given, expected):
    """So that what is exported beside an older version can be swapped in."""
    assert named(Path(out), *given) == expected


@pytest.mark.parametrize(
    ("out", "given", "advice"),
    [
        ("art/My Model", (None, None), "'My Model' .*; choose one with --name My-Model$"),
        ("art/My Model/2", (None, None), "'My Model' .*; choose one with --name My-Model$"),
        ("art/Café", (None, None), "choose one with --name Cafe$"),
        ("art/模型", (None, None), "choose one with --name model$"),
        ("art/-x_", (None, None), "choose one with --name x$"),
        ("art/" + "x" * 70, (None, None), f"choose one with --name {'x' * 64}$"),
        ("art/a", (None, "1/2"), "version '1/2' .*; choose one with --version 1-2$"),
    ],
)
def test_folder_that_is_no_name_gets_the_advice_of_one(out, given, advice):
    """With the option that takes it."""
    with pytest.raises(ExportError, match=advice) as caught:
        named(Path(out), *given)
    usable = str(caught.value).split()[-1]
    assert usable in named(Path("art/a"), usable, usable)


def test_next_command_serves_what_was_exported(tiny_artifact, tmp_path):
    """The folder of the versions only where that leads to this one, not to a neighbour."""

    def add(*names: str) -> Path:
        folder = tmp_path.joinpath(*names)
        shutil.copytree(tiny_artifact, folder)
        path = folder / "manifest.json"
        name, version = named(folder, None, None)
        manifest = json.loads(path.read_text()) | {"name": name, "version": version}
        path.write_text(json.dumps(manifest))
        return folder

    assert served_as(add("tickets", "1")) == tmp_path / "tickets"
    assert served_as(add("tickets", "3")) == tmp_path / "tickets"
    assert served_as(add("tickets", "2")) == tmp_path / "tickets" / "2"
    assert served_as(add("artifacts", "intents")) == tmp_path / "artifacts" / "intents"
    assert served_as(add("artifacts", "2")) == tmp_path / "artifacts"


def test_exported_versions_of_a_model_are_served_by_their_folder(trained_run, tmp_path, quick):
    """The highest one, under the name of the model."""
    for version in ("1", "2"):
        done = heed_here("export", trained_run, "--out", tmp_path / "support" / version)
        assert done.returncode == 0, done.stderr
        assert f"next: heed serve --model {tmp_path / 'support'}\n" in done.stdout
    manifest = read_artifact(find_versions(tmp_path / "support").path()).manifest
    assert (manifest.name, manifest.version) == ("support", "2")
