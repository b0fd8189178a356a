"""Which folder is which version of which model: one rule, whoever asks."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runtime.artifact import ArtifactError
from service.runtime.predictor import Predictor
from service.runtime.versions import find_versions, is_run, version_key


def add(artifact: Path, folder: Path, name: str = "tiny", version: str = "1") -> Path:
    """A copy that says it is this version of that model."""
    shutil.copytree(artifact, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"name": name, "version": version}))
    return folder


@pytest.fixture
def versions(tiny_artifact: Path, tmp_path: Path) -> Path:
    """Versions 1 and 2 of the tiny model."""
    for version in ("1", "2"):
        add(tiny_artifact, tmp_path / "tiny" / version, version=version)
    return tmp_path / "tiny"


@pytest.fixture(autouse=True)
def records(monkeypatch):
    """A server that ran in this process takes the records to its own log."""
    monkeypatch.setattr(logging.getLogger("service"), "propagate", True)


def test_artifact_itself_is_its_only_version(tiny_artifact, tmp_path):
    """Whatever its folder is called."""
    found = find_versions(add(tiny_artifact, tmp_path / "anything", version="7"))
    assert (found.model, found.newest, found.path()) == ("tiny", "7", tmp_path / "anything")


def test_highest_version_is_the_newest(versions, tiny_artifact):
    """As people count: 10 above 9."""
    add(tiny_artifact, versions / "10", version="10")
    found = find_versions(versions)
    assert list(found.manifests) == ["1", "2", "10"]
    assert found.path() == versions / "10"
    assert found.path("1") == versions / "1"


@pytest.mark.parametrize(
    "name", ["old", "2-backup", "2.bak", "latest", "v1", "3", "2 (copy)", "02"]
)
def test_copy_under_another_name_is_passed_over_with_a_warning(versions, caplog, name):
    """It would answer for a version that it is not."""
    shutil.copytree(versions / "1", versions / name)
    found = find_versions(versions)
    assert found.newest == "2"
    assert Predictor(versions, "cpu").manifest.version == "2"
    expected = f"{name} is passed over: it is tiny version 1; expected a folder named 1"
    assert expected in caplog.text
    with pytest.raises(ArtifactError, match="expected a folder named 1"):
        found.path(name)


def test_link_among_versions_is_passed_over_with_a_warning(versions, caplog):
    """Also one by the name of a version: what it leads to may change."""
    (versions / "1").rename(versions.parent / "away")
    (versions / "1").symlink_to(versions.parent / "away")
    (versions / "3").symlink_to("3")
    assert list(find_versions(versions).manifests) == ["2"]
    assert "1 is passed over: is a symbolic link" in caplog.text


@pytest.mark.parametrize(
    ("content", "reason"),
    [("{", "is not JSON"), ("{}", "format version None"), ("", "is not JSON")],
)
def test_broken_manifest_keeps_no_other_version_from_being_served(
    versions, caplog, content, reason
):
    """A version that somebody copies or spoils right now, say."""
    (versions / "3").mkdir()
    (versions / "3" / "manifest.json").write_text(content)
    assert find_versions(versions).newest == "2"
    assert "3 is passed over: manifest.json" in caplog.text or reason in caplog.text


def test_what_is_hidden_or_holds_no_manifest_is_not_mentioned(versions, caplog):
    """It was never meant to be a version."""
    shutil.copytree(versions / "2", versions / ".9.building")
    (versions / "notes").mkdir()
    (versions / "readme.txt").touch()
    assert list(find_versions(versions).manifests) == ["1", "2"]
    assert caplog.text == ""


def test_other_model_beside_the_versions_is_passed_over(versions, tiny_artifact, caplog):
    """The folder is named after the model, as heed export has it; or it is known already."""
    add(tiny_artifact, versions / "3", name="other", version="3")
    assert find_versions(versions).newest == "2"
    assert "3 is passed over: it is of model other, not tiny" in caplog.text
    renamed = versions.rename(versions.parent / "renamed")
    assert find_versions(renamed, "other").newest == "3"
    assert find_versions(renamed, "tiny").newest == "2"


def test_versions_of_several_models_are_an_error_that_lists_them(versions, tiny_artifact):
    """Nobody guesses which of them is meant."""
    add(tiny_artifact, versions / "3", name="other", version="3")
    renamed = versions.rename(versions.parent / "renamed")
    message = r"several models \(other: 3; tiny: 1, 2\); name one folder, .*renamed/1 say"
    with pytest.raises(ArtifactError, match=message):
        find_versions(renamed)


def test_models_side_by_side_are_no_versions(tiny_artifact, tmp_path):
    """The folder of one of them is to be named."""
    for name in ("intents", "tickets"):
        add(tiny_artifact, tmp_path / "all" / name, name=name)
    with pytest.raises(ArtifactError) as caught:
        find_versions(tmp_path / "all")
    assert str(caught.value) == (
        f"{tmp_path}/all holds no version of a model; name one folder, {tmp_path}/all/intents say, "
        "or mend it: intents: it is intents version 1; expected a folder named 1; "
        "tickets: it is tickets version 1; expected a folder named 1"
    )


def test_link_to_a_version_or_to_a_folder_of_versions_is_followed_once(versions):
    """As git-sync and ConfigMaps have it: what it leads to now is meant from now on."""
    link = versions / "current"
    link.symlink_to("1")
    found = find_versions(link)
    assert (found.newest, found.path()) == ("1", (versions / "1").resolve())
    link.unlink()
    link.symlink_to("2")
    assert found.path().name == "1"
    assert Predictor(link, "cpu").manifest.version == "2"
    (versions.parent / "outer").symlink_to(versions)
    (versions.parent / "outermost").symlink_to("outer")
    assert find_versions(versions.parent / "outermost").newest == "2"


def test_link_that_leads_nowhere_is_one_line(tmp_path):
    """Dangling, or in a circle."""
    (tmp_path / "dangling").symlink_to("gone")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("dangling", "circle"):
        with pytest.raises(ArtifactError, match=f"{name} is a symbolic link that leads nowhere"):
            find_versions(tmp_path / name)


def test_files_inside_an_artifact_behind_a_link_are_no_links_either(versions):
    """Only the first step is free."""
    (versions / "1" / "model.onnx").rename(versions.parent / "elsewhere")
    (versions / "1" / "model.onnx").symlink_to(versions.parent / "elsewhere")
    (versions / "current").symlink_to("1")
    with pytest.raises(ArtifactError, match=r"model\.onnx is a symbolic link"):
        Predictor(versions / "current", "cpu")


def test_run_is_told_from_an_artifact(tmp_path):
    """With the command that makes one of it."""
    run = tmp_path / "runs" / "tickets"
    run.mkdir(parents=True)
    (run / "run.json").touch()
    message = f"is a run, not an artifact; export it first: heed export {run} --out artifacts/tick"
    assert is_run(run)
    with pytest.raises(ArtifactError, match=message):
        find_versions(run)


def test_folder_that_holds_nothing_is_an_error(tmp_path):
    """So is what is no folder, and what is not there."""
    (tmp_path / "file").touch()
    for path, message in [
        (tmp_path, "nor does a folder right below it"),
        (tmp_path / "file", "is not a directory"),
        (tmp_path / "nothing", "does not exist"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
    ]:
        with pytest.raises(ArtifactError, match=message) as caught:
            find_versions(path)
        assert "\n" not in str(caught.value)


def test_versions_sort_as_people_read_them():
    """Parts are numbers where they can be; no two are equal, whichever is found first."""
    ordered = ["01", "1", "1.9", "1.10", "2", "2.0.1", "10"]
    assert sorted(sorted(ordered), key=version_key) == ordered
    assert sorted(sorted(ordered, reverse=True), key=version_key) == ordered


def locked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let nothing below `folder` be looked at, as if its mode said so."""
    stat = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)


def test_version_that_cannot_be_read_keeps_no_other_from_being_served(
    versions, monkeypatch, caplog
):
    """It is passed over, and named in the log; what is asked for by its name is an error."""
    locked(monkeypatch, versions / "2")
    assert list(find_versions(versions).manifests) == ["1"]
    assert "2 is passed over: cannot be read: Permission denied" in caplog.text
    with pytest.raises(ArtifactError, match="2 cannot be read: Permission denied"):
        find_versions(versions / "2")


def test_folder_of_versions_that_cannot_be_listed_is_an_error(versions, monkeypatch):
    """In a line, not as a failure of our own."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ArtifactError, match="cannot be read: Permission denied"):
        find_versions(versions)


def test_many_folders_that_are_none_are_not_all_listed(tiny_artifact, tmp_path):
    """The line stays one that can be read."""
    for number in range(8):
        add(tiny_artifact, tmp_path / f"copy-{number}")
    with pytest.raises(ArtifactError, match=r"copy-4: .*; and 3 more$"):
        find_versions(tmp_path)


NAMES = st.lists(st.text("0123456789.ab-", min_size=1, max_size=6), max_size=6)


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.permutations(names))))
def test_any_versions_can_be_compared(orders):
    """Whatever folders are called, and in whatever order the file system names them."""
    one, other = (sorted(order, key=version_key) for order in orders)
    assert one == other
