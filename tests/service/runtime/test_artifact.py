"""The artifact reader: what is sound is read, anything else is refused in one line."""

import ast
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import onnx
import pytest

from service.loader import load_model
from service.runtime.artifact import (
    ArtifactError,
    FileEntry,
    Manifest,
    check_name,
    label_problem,
    read_artifact,
    read_manifest,
)
from service.runtime.engine import Engine
from service.runtime.onnx import onnxruntime
from service.settings import Settings
from tests.artifacts import LABELS, write_artifact

ALL = ("manifest.json", "model.onnx", "tokenizer.model")
LISTED = ALL[1:]


@pytest.fixture
def artifact(tiny_artifact: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_artifact, tmp_path / "artifact"))


def edit_manifest(artifact: Path, **changes: object) -> None:
    """Overwrite fields of the manifest on disk."""
    path = artifact / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_sound_artifact_is_read_with_the_hash_of_its_manifest(artifact):
    """The bytes in memory are those that were hashed."""
    read = read_artifact(artifact)
    assert read.manifest.labels == LABELS
    assert read.model == (artifact / "model.onnx").read_bytes()
    assert read.tokenizer == (artifact / "tokenizer.model").read_bytes()
    manifest = (artifact / "manifest.json").read_bytes()
    assert read.manifest_sha256 == hashlib.sha256(manifest).hexdigest()


def test_manifest_survives_writing_and_reading(artifact):
    """What `to_json` writes, `from_json` reads."""
    manifest = read_artifact(artifact).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest


def flip(artifact: Path, file: str) -> None:
    """Change one bit in the middle."""
    content = bytearray((artifact / file).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / file).write_bytes(content)


def cut(artifact: Path, file: str) -> None:
    """Drop the last byte."""
    os.truncate(artifact / file, (artifact / file).stat().st_size - 1)


def grow(artifact: Path, file: str) -> None:
    """A hole of a terabyte at the end: it takes no room on the disk, but would in memory."""
    os.truncate(artifact / file, 2**40)


def drop(artifact: Path, file: str) -> None:
    """Remove it."""
    (artifact / file).unlink()


def move_and(artifact: Path, file: str, link: Callable[[Path, Path], None]) -> None:
    """Keep the content outside the folder, under another name."""
    elsewhere = artifact.parent / "elsewhere"
    (artifact / file).rename(elsewhere)
    link(artifact / file, elsewhere)


def replace_by(artifact: Path, file: str, make: Callable[[Path], None]) -> None:
    """Something of another kind under its name."""
    (artifact / file).unlink()
    make(artifact / file)


def rename_entry(artifact: Path, name: str) -> None:
    """The manifest lists the graph under a name that leads elsewhere."""
    files = json.loads((artifact / "manifest.json").read_text())["files"]
    files[name] = files.pop("model.onnx")
    edit_manifest(artifact, files=files)


def replace_model(artifact: Path, model: bytes) -> None:
    """Another graph, with a manifest that vouches for it."""
    (artifact / "model.onnx").write_bytes(model)
    files = json.loads((artifact / "manifest.json").read_text())["files"]
    edit_manifest(artifact, files=files | {"model.onnx": asdict(FileEntry.of(model))})


def entries(**entry: object) -> dict[str, object]:
    """Both files with this entry."""
    return {name: dict(entry) for name in LISTED}


def external(model: bytes) -> bytes:
    """The graph with its first tensor in another file."""
    graph = onnx.ModelProto.FromString(model)
    tensor = graph.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    return graph.SerializeToString()


def edited(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A spoiler that replaces the graph by `change` of it."""
    return lambda it: replace_model(it, change((it / "model.onnx").read_bytes()))


MATRIX: list[tuple[str, Callable[[Path], object], str]] = [
    *((f"flipped {f}", partial(flip, file=f), f"{f} was changed") for f in LISTED),
    *((f"cut {f}", partial(cut, file=f), f"{f} has .* bytes, the manifest says") for f in LISTED),
    *((f"grown {f}", partial(grow, file=f), f"{f} has 1099511627776 bytes") for f in ALL),
    *((f"missing {f}", partial(drop, file=f), f"{f} is missing") for f in LISTED),
    ("missing manifest.json", partial(drop, file="manifest.json"), "holds no manifest.json"),
    *(
        (
            f"symlink {f}",
            partial(move_and, file=f, link=Path.symlink_to),
            f"{f} is a symbolic link; copy the folder with cp -rL",
        )
        for f in ALL
    ),
    *(
        (
            f"hard link {f}",
            partial(move_and, file=f, link=Path.hardlink_to),
            f"{f} has 2 hard links",
        )
        for f in ALL
    ),
    *(
        (f"pipe {f}", partial(replace_by, file=f, make=os.mkfifo), f"{f} is not a regular file")
        for f in ALL
    ),
    (
        "folder",
        partial(replace_by, file="model.onnx", make=Path.mkdir),
        "model.onnx is not a regular file",
    ),
    (
        "device",
        partial(replace_by, file="model.onnx", make=lambda path: path.symlink_to("/dev/zero")),
        "model.onnx is a symbolic link",
    ),
    ("extra file", lambda it: (it / "weights.bin").touch(), r"unexpected file 'weights\.bin'"),
    ("extra folder", lambda it: (it / "a").mkdir(), "unexpected file 'a'"),
    ("extra link", lambda it: (it / "a").symlink_to("model.onnx"), "unexpected file 'a'"),
    *(
        (f"entry {name}", partial(rename_entry, name=name), "unusable value for files")
        for name in ("../model.onnx", "/etc/passwd", "sub/model.onnx", "manifest.json")
    ),
    ("newer format", lambda it: edit_manifest(it, format_version=2), "format version 2 is unknown"),
    ("external data", edited(external), "model.onnx keeps a tensor in another file"),
    ("no graph", edited(lambda model: b"\xff" * 64), "model.onnx is no ONNX graph"),
    ("cut graph", edited(lambda model: model[:-1]), "model.onnx is no ONNX graph"),
    (
        "other graph",
        edited(lambda model: b"\x18\0\0\0ORTM" + model),
        "in the format of ONNX Runtime",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "message"), [it[1:] for it in MATRIX], ids=[it[0] for it in MATRIX]
)
def test_tampered_artifact_is_refused_before_onnx_runtime_sees_a_byte(
    artifact, monkeypatch, spoil, message
):
    """In one line that names the folder, by an error that makes `heed` exit with 2."""
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    spoil(artifact)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(Settings(model=artifact, execution_provider="cpu"))
    assert "\n" not in str(caught.value)
    assert str(artifact) in str(caught.value)


def test_device_in_place_of_a_file_is_refused(artifact):
    """It has no end."""
    (artifact / "model.onnx").unlink()
    try:
        os.mknod(artifact / "model.onnx", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device needs a privilege")
    with pytest.raises(ArtifactError, match=r"model\.onnx is not a regular file"):
        read_artifact(artifact)


def test_folder_behind_a_symbolic_link_is_refused(artifact, tmp_path):
    """What it points to may change; folders further up may be links."""
    (tmp_path / "link").symlink_to(artifact)
    with pytest.raises(ArtifactError, match="link: is a symbolic link"):
        read_artifact(tmp_path / "link")
    (tmp_path / "up").symlink_to(tmp_path)
    assert read_artifact(tmp_path / "up" / artifact.name).manifest.name == "tiny"


@pytest.mark.parametrize("moment", ["manifest.json", "model.onnx"])
def test_folder_that_is_exchanged_while_it_is_read_makes_no_difference(
    artifact, tmp_path, monkeypatch, moment
):
    """All files are those of the folder that was opened, and each is read once."""
    expected = read_artifact(artifact)
    other = write_artifact(tmp_path / "other", name="other", labels=("a", "b"))
    opened = []

    def exchange(path, flags, **options):
        if path == moment:
            artifact.rename(tmp_path / "gone")
            other.rename(artifact)
        opened.append(path)
        return os_open(path, flags, **options)

    os_open = os.open
    monkeypatch.setattr(os, "open", exchange)
    read = read_artifact(artifact)
    assert (read.manifest, read.model) == (expected.manifest, expected.model)
    assert sorted(map(str, opened)) == sorted([str(artifact), *ALL])


def test_what_onnx_runtime_gets_are_the_bytes_that_were_hashed(artifact, monkeypatch):
    """Whatever lies on the disk by then, and from no folder."""
    model = (artifact / "model.onnx").read_bytes()
    read = read_artifact(artifact)
    flip(artifact, "model.onnx")
    given = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        "onnxruntime.InferenceSession",
        lambda content, *rest, **options: (
            given.append(content) or session(content, *rest, **options)
        ),
    )
    Engine(read)
    assert given == [model]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2 is unknown, this Heed reads 1"),
        ({"format_version": None}, "format version None is unknown"),
        ({"labels": ["a"]}, "unusable value for labels"),
        ({"labels": ["a", "a"]}, "unusable value for labels"),
        ({"labels": ["a", 1]}, "unusable value for labels"),
        ({"labels": ["a", ""]}, "labels: '' shows nothing"),
        ({"labels": ["a", " "]}, "labels: ' ' shows nothing"),
        ({"labels": ["a", "\u200b"]}, "labels: .* shows nothing"),
        ({"labels": ["a", "a\0"]}, "labels: .* holds a control character"),
        ({"labels": ["a", "\x1b[2J"]}, "labels: .* holds a control character"),
        ({"labels": ["a", "x\ny"]}, "labels: .* holds a control character"),
        ({"labels": ["a", "x\u2028y"]}, "labels: .* holds a control character"),
        ({"labels": ["a", "b", " b"]}, "labels: ' b' is there twice, but for blanks"),
        ({"opset": "17"}, "unusable value for opset"),
        ({"opset": 10**30}, "unusable value for opset"),
        ({"git_commit": 5}, "unusable value for git_commit"),
        ({"libraries": {"onnx": 1}}, "unusable value for libraries"),
        ({"pad_token_id": False}, "unusable value for pad_token_id"),
        ({"metrics": {"test": {"accuracy": float("nan")}}}, "NaN is no number"),
        ({"parity": {"max_abs_logit": float("inf")}}, "Infinity is no number"),
        ({"labels": ["a", "\ud800"]}, "is not JSON in UTF-8"),
        ({"metrics": {"test": {"\udfff": 0.5}}}, "is not JSON in UTF-8"),
        ({"metrics": {"test": {"rows": 10**400}}}, "unusable value for metrics"),
        ({"inputs": ["ids"]}, "unusable value for inputs"),
        ({"outputs": ["logits"]}, "unusable value for outputs"),
        ({"max_length": 0}, "unusable value for max_length"),
        ({"max_length": True}, "unusable value for max_length"),
        ({"max_length": 10**9}, "unusable value for max_length"),
        ({"version": 1}, "unusable value for version"),
        ({"metrics": 5}, "unusable value for metrics"),
        ({"metrics": {"test": {"accuracy": "high"}}}, "unusable value for metrics"),
        ({"libraries": "x"}, "unusable value for libraries"),
        ({"format_version": True}, "format version True"),
        ({"pad_token_id": 5}, "unusable value for pad_token_id"),
        ({"precision": "fp8"}, "unusable value for precision"),
        ({"files": {}}, "unusable value for files"),
        ({"files": {"model.onnx": 1, "tokenizer.model": 2}}, "unusable value for files"),
        ({"files": entries(size="1", sha256="0" * 64)}, "unusable value for files"),
        ({"files": entries(size=2**40, sha256="0" * 64)}, "unusable value for files"),
        ({"files": entries(size=1, sha256="../x")}, "unusable value for files"),
        ({"name": "../up"}, "name '../up' is not usable"),
        ({"version": ""}, "version '' is not usable"),
        ({"surprise": 1}, "has unknown surprise"),
    ],
)
def test_unusable_manifest_is_refused(artifact, change, message):
    """With the name of the field."""
    edit_manifest(artifact, **change)
    with pytest.raises(ArtifactError, match=message) as caught:
        read_artifact(artifact)
    assert "\n" not in str(caught.value)
    assert str(artifact) in str(caught.value)


def test_label_that_people_can_read_is_one():
    """Of any script; joiners are part of words and emoji."""
    for label in ("spam", "é", "退款", "نیم\u200cفاصله", "👩\u200d🚒", "c++ / c#", "0"):
        assert label_problem(label) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": "1"', '"version": "1", "version": "2"', "the name 'version' is there twice"),
        ('"accuracy": 0.5', '"accuracy": 0.5, "accuracy": 0.9', "'accuracy' is there twice"),
        ('"accuracy": 0.5', '"accuracy": 1e999', "1e999 is too large a number"),
        ('"accuracy": 0.5', f'"accuracy": {"9" * 5000}', "is not JSON"),
        ('"accuracy": 0.5', f'"accuracy": {"[" * 100000}', "is nested too deep"),
        ('"accuracy": 0.5', '"accuracy": -Infinity', "-Infinity is no number of JSON"),
    ],
)
def test_manifest_that_readers_could_take_differently_is_refused(artifact, old, new, message):
    """In one line: two programs must read the same from it."""
    path = artifact / "manifest.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ArtifactError, match=message) as caught:
        read_artifact(artifact)
    assert "\n" not in str(caught.value)


def test_manifest_in_another_encoding_is_refused(artifact):
    """JSON between programs is UTF-8."""
    path = artifact / "manifest.json"
    path.write_bytes(path.read_text().encode("utf-16"))
    with pytest.raises(ArtifactError, match="is not JSON in UTF-8"):
        read_artifact(artifact)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ("a", "b\0")},
        {"labels": ("a", "\ud800")},
        {"metrics": {"test": {"nll": float("nan")}}},
        {"metrics": {"test": {"n": 10**400}}},
        {"version": "1/2"},
    ],
)
def test_nothing_is_written_that_would_be_refused(artifact, change):
    """By the same checks."""
    manifest = replace(read_manifest(artifact), **change)
    with pytest.raises(ArtifactError):
        manifest.to_json()


def test_manifest_that_lacks_a_field_is_refused(artifact):
    """By name."""
    path = artifact / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["labels"], manifest["opset"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="lacks labels, opset"):
        read_artifact(artifact)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[]", "must hold an object"), ("\xff", "JSON")]
)
def test_manifest_that_is_no_object_is_refused(artifact, text, message):
    """Broken syntax, another type, broken UTF-8."""
    (artifact / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=message):
        read_artifact(artifact)


def test_manifest_alone_can_be_read(artifact):
    """To know the version without reading the rest."""
    (artifact / "model.onnx").unlink()
    assert read_manifest(artifact).version == "1"
    with pytest.raises(ArtifactError, match="does not exist"):
        read_manifest(artifact / "nothing")


def test_folder_that_is_none_is_refused(tmp_path):
    """A file, and nothing at all."""
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is not a directory"):
        read_artifact(tmp_path / "file")


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 64])
def test_plain_names_are_usable(name):
    """What may stand in URLs, file names and metrics."""
    assert check_name("name", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a/b", "a b", "é", "x" * 65, "a\n"])
def test_other_names_are_refused(name):
    """Nothing that climbs out of a folder or breaks a line."""
    with pytest.raises(ArtifactError, match="is not usable"):
        check_name("name", name)


def test_entry_of_a_file_has_its_size_and_hash():
    """SHA-256 in hex."""
    assert FileEntry.of(b"abc") == FileEntry(3, hashlib.sha256(b"abc").hexdigest())


def test_service_runs_nothing_that_it_reads():
    """No module of it imports a reader that can: an artifact is data."""
    readers = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "torch"}
    for path in (Path(__file__).parents[3] / "service").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported = {str(node.module).partition(".")[0]}
            else:
                continue
            assert not imported & readers, path
