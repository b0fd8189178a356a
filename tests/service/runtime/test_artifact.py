"""The artifact reader: what is sound is read, anything else is refused in one line."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.artifact import (
    ArtifactError,
    FileEntry,
    Manifest,
    check_name,
    find_artifact,
    read_artifact,
    version_key,
)
from tests.artifacts import LABELS


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


@pytest.mark.parametrize("file", ["manifest.json", "model.onnx", "tokenizer.model"])
def test_missing_file_is_refused(artifact, file):
    """Each of the three."""
    (artifact / file).unlink()
    with pytest.raises(ArtifactError, match=f"{file} is missing"):
        read_artifact(artifact)


def test_extra_file_is_refused(artifact):
    """Nothing lies in the folder that the manifest does not vouch for."""
    (artifact / "weights.data").touch()
    with pytest.raises(ArtifactError, match=r"unexpected file 'weights\.data'"):
        read_artifact(artifact)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.model"])
def test_flipped_byte_is_refused(artifact, file):
    """By the hash."""
    content = bytearray((artifact / file).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / file).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{file} was changed"):
        read_artifact(artifact)


def test_truncated_file_is_refused_by_its_size(artifact):
    """The message has both sizes."""
    path = artifact / "model.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=f"{size - 1} bytes, the manifest says {size}"):
        read_artifact(artifact)


def test_symbolic_link_is_refused(artifact, tmp_path):
    """Even to the right content."""
    path = artifact / "model.onnx"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be read"):
        read_artifact(artifact)


def test_pipe_is_refused_without_waiting_for_a_writer(artifact):
    """Opening it must not block."""
    (artifact / "model.onnx").unlink()
    os.mkfifo(artifact / "model.onnx")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_artifact(artifact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2 is unknown, this Heed reads 1"),
        ({"format_version": None}, "format version None is unknown"),
        ({"labels": ["a"]}, "unusable value for labels"),
        ({"labels": ["a", "a"]}, "unusable value for labels"),
        ({"labels": ["a", 1]}, "unusable value for labels"),
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


def test_folder_that_is_none_is_refused(tmp_path):
    """A file, and nothing at all."""
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="is not a directory"):
        read_artifact(tmp_path / "file")
    with pytest.raises(ArtifactError, match="does not exist"):
        find_artifact(tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="nor does a folder right below it"):
        find_artifact(tmp_path)


def test_highest_version_of_a_folder_of_versions_is_found(artifact, tmp_path):
    """As people count: 10 above 9."""
    versions = tmp_path / "versions"
    for version in ("9", "10", "2"):
        shutil.copytree(artifact, versions / version)
    (versions / "99").mkdir()  # no manifest in it
    assert find_artifact(versions) == versions / "10"
    assert find_artifact(artifact) == artifact


def test_versions_sort_as_people_read_them():
    """Parts are numbers where they can be."""
    ordered = ["1", "1.9", "1.10", "2", "2.0.1", "10"]
    assert sorted(sorted(ordered), key=version_key) == ordered


@given(st.lists(st.text("0123456789.ab-", min_size=1, max_size=6), max_size=6))
def test_any_versions_can_be_compared(versions):
    """Never a TypeError, whatever folders are called."""
    sorted(versions, key=version_key)


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
