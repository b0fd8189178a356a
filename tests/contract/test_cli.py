"""What every command has in common: an example in its help, and errors that are one line."""

import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from heed import COMMANDS
from tests.runs import ROOT, heed, heed_here, invented, write_rows, write_settings


def refused(*arguments) -> str:
    """The one line on stderr of a command that ends with exit code 2."""
    done = heed_here(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("heed: ")
    return line.removeprefix("heed: ")


@pytest.fixture
def rows(tmp_path) -> str:
    """A labelled file."""
    return write_rows(tmp_path / "rows.jsonl", invented(30, seed=1))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command):
    """That of the command itself, to be copied."""
    done = heed_here(command, "--help")
    assert done.returncode == 0
    assert f"Example: heed {command}" in " ".join(done.stdout.split())
    assert done.stderr == ""


def test_help_lists_every_command_with_a_line():
    """In a process of its own, well within the time that a person waits."""
    started = time.monotonic()
    done = heed("--help")
    assert time.monotonic() - started < 5
    assert done.returncode == 0
    for command, (_, _, line) in COMMANDS.items():
        assert f"{command} {line}" in " ".join(done.stdout.split())


def test_version_is_printed():
    """As `heed X.Y.Z`."""
    done = heed_here("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "heed")


def test_no_command_shows_the_help():
    """There is nothing else to do."""
    done = heed_here()
    assert "Example: heed train" in done.stdout + done.stderr


def test_unknown_command_is_exit_code_2():
    """And no traceback."""
    done = heed_here("trian")
    assert done.returncode == 2
    assert "No such command 'trian'" in done.stderr


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--seed", ("train", "rows.csv", "--out", "run", "--seed", "1", "--seed=2")),
        ("--label-column", ("train", "a.csv", "--label-column", "a", "--label-column", "b")),
        ("--out", ("predict", "a.csv", "--model", "m", "--out", "a.csv", "--out", "b.csv")),
        ("--client", ("keys", "new", "--client", "a", "--client", "b")),
    ],
)
def test_option_that_takes_one_value_is_given_once(option, arguments):
    """The last of two would win without a word."""
    done = heed_here(*arguments)
    assert done.returncode == 2
    assert f"{option} is given 2 times; expected once" in done.stderr


def test_missing_file_is_named(tmp_path):
    """Of each command that reads rows."""
    assert refused("train", "none.csv", "--out", tmp_path / "run") == "none.csv: file not found"
    assert not (tmp_path / "run").exists()


def test_missing_file_to_evaluate_or_predict_is_named(fp32, tmp_path):
    """An artifact is there, the rows are not."""
    assert refused("evaluate", fp32, "none.csv") == "none.csv: file not found"
    out = tmp_path / "out.csv"
    arguments = ("predict", "--model", fp32, "none.csv", "--out", out)
    assert heed_here(*arguments).stderr.strip().splitlines()[-1] == "heed: none.csv: file not found"
    assert not out.exists()


def test_missing_column_lists_those_found(tmp_path, rows):
    """So that the option is right the second time."""
    arguments = ("train", rows, "--out", tmp_path / "run", "--text-column", "body")
    assert refused(*arguments) == (
        f"{rows}: no column 'body'; columns found: 'text', 'label'; name it with --text-column"
    )


def test_bad_preset_lists_the_known(tmp_path, rows):
    """Before torch is imported."""
    line = refused("train", rows, "--out", tmp_path / "run", "--preset", "huge")
    assert line == "unknown preset 'huge', expected one of base, small, tiny"


def test_bad_setting_names_file_and_key(tmp_path, rows):
    """Of a file given with --config."""
    config = tmp_path / "own.toml"
    config.write_text("[training]\nepoch = 3\n")
    line = refused("train", rows, "--out", tmp_path / "run", "--config", config)
    assert line.startswith(f"{config}: training.epoch: ")


@pytest.mark.parametrize("command", ["export", "evaluate"])
def test_what_is_no_run_is_refused(tmp_path, rows, command):
    """An empty folder is neither a run nor an artifact."""
    folder = tmp_path / "empty"
    folder.mkdir()
    rest = ("--out", tmp_path / "out") if command == "export" else (rows,)
    assert str(folder) in refused(command, folder, *rest)
    assert not (tmp_path / "out").exists()


def test_run_is_no_artifact(trained_run, tmp_path, rows):
    """The message names what was expected."""
    done = heed_here("predict", "--model", trained_run, rows, "--out", tmp_path / "out.csv")
    line = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert line.startswith(f"heed: {trained_run} is a run, not an artifact; export it first: heed ")
    for options in (("--model", trained_run), (trained_run,)):
        done = heed_here("serve", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is a run, not an artifact; export it first: heed export" in done.stderr


def test_model_of_serve_is_an_option(fp32):
    """Who leaves it out is told."""
    done = heed_here("serve", fp32)
    assert done.stderr == f"heed serve: the model is an option: heed serve --model {fp32}\n"


@pytest.mark.parametrize(
    ("typed", "meant"), [("tarin", "train"), ("exprot", "export"), ("load-test", "loadtest")]
)
def test_misspelt_command_is_answered_with_the_one_that_was_meant(typed, meant):
    """As a misspelt option is."""
    assert f"No such command '{typed}'. Did you mean '{meant}'?" in heed_here(typed).stderr
    assert "Did you mean" not in heed_here("xyzzy").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("export", "none", "--out", "x"),
        ("evaluate", "none", "x.csv"),
        ("predict", "x.csv", "--model", "none", "--out", "-"),
        ("serve", "--model", "none"),
        ("train", "none.csv", "--out", "x"),
    ],
)
def test_missing_input_is_named_before_anything_large_is_imported(tmp_path, arguments):
    """Not after seconds."""
    code = "import sys, heed; sys.argv[0] = 'heed'\ntry: heed.main()\nfinally: "
    code += "print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.search("none does not exist|none.csv: file not found", done.stderr)
    assert done.stdout == "[]\n"


def test_command_names_the_version_that_it_uses(fp32, tmp_path, rows):
    """Of a folder of versions; a backup beside them is passed over."""
    model = tmp_path / "fp32"
    manifest = json.loads((fp32 / "manifest.json").read_text())
    for version, folder in [("1", "1"), ("2", "2"), ("1", "old")]:
        shutil.copytree(fp32, model / folder)
        text = json.dumps(manifest | {"version": version})
        (model / folder / "manifest.json").write_text(text)
    (model / "current").symlink_to("1")
    for path, version in [(model, "2"), (model / "current", "1")]:
        options = ("--model", path, "--out", "-")
        for done in (heed_here("predict", rows, *options), heed_here("evaluate", path, rows)):
            assert done.returncode == 0, done.stderr
            line = f"model {manifest['name']} version {version} ({(model / version).resolve()})"
            assert line in done.stderr.splitlines()


def test_artifact_is_no_run(fp32, tmp_path):
    """Exporting twice is a mistake."""
    line = refused("export", fp32, "--out", tmp_path / "out")
    assert line == f"{fp32} is not a run: it holds no run.json"


def test_error_of_a_real_process_is_one_line(tmp_path):
    """No traceback, no progress bar, nothing on stdout."""
    done = heed("train", tmp_path / "none.csv", "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == f"heed: {tmp_path / 'none.csv'}: file not found"


def test_labels_that_look_like_markup_are_printed_as_they_are(tmp_path):
    """In warnings, in the table and among the labels that training never saw."""
    rows = [(text, f"[{label}]") for text, label in invented(30, seed=1)]
    train = write_rows(tmp_path / "train.jsonl", [*rows, ("once", "[/b]")])
    test = write_rows(tmp_path / "test.jsonl", [*rows[:5], ("what", "[/never]")])
    arguments = ("--test", test, "--config", write_settings(tmp_path), "--epochs", "1")
    done = heed_here("train", train, "--out", tmp_path / "run", *arguments)
    assert done.returncode == 0, done.stderr
    assert "classes have fewer than 2 training rows: '[/b]'" in " ".join(done.stderr.split())
    assert "'[/never]' (1 row)" in " ".join(done.stderr.split())
    done = heed_here("evaluate", tmp_path / "run", test)
    assert done.returncode == 0, done.stderr
    assert "[refund]" in done.stdout
    assert "'[/never]' (1 row)" in done.stdout


@pytest.mark.parametrize(("saved", "advice"), [(True, "--resume"), (False, "starts again")])
def test_interrupted_training_says_how_to_go_on(tmp_path, rows, monkeypatch, saved, advice):
    """Exit code 130, and advice that works: a state is there only after some steps."""

    def interrupt(_state, _parts, _config, folder, _listener):
        if saved:
            (folder / "resume.safetensors").write_bytes(b"a state")
        raise KeyboardInterrupt

    monkeypatch.setattr("model.run.train", interrupt)
    arguments = ("--out", tmp_path / "run", "--config", write_settings(tmp_path))
    done = heed_here("train", rows, *arguments)
    assert done.returncode == 130
    assert "stopped" in done.stderr
    assert advice in done.stderr


def test_wrong_option_is_exit_code_2(tmp_path):
    """What typer refuses ends as what Heed refuses."""
    for arguments in (
        ("train", "a.csv"),
        ("train", "a.csv", "--out", tmp_path, "--epochs", "0"),
        ("train", "a.csv", "--out", tmp_path, "--seed", "-1"),
        ("predict", "a.csv"),
        ("export", tmp_path, "--precison", "int8"),
    ):
        done = heed_here(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
