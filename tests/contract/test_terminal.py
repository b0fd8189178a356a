"""What every command shows: on a terminal, in a file, in a pipe, to a reader that leaves."""

import json
import os
import pty
import re
import struct
import subprocess
import termios
from fcntl import ioctl

import pytest

from service.runtime.artifact import label_problem
from tests.artifacts import write_artifact
from tests.nasty import COMMANDS
from tests.runs import ENVIRONMENT, HEED, ROOT, heed, heed_here

OURS = re.compile(r"\x1b\[[\d;]*m|\x1b\[\?25[lh]|\x1b\[1A")
REDRAWN = re.compile(r"\r?\x1b\[2K")  # of a bar: shown as a line each time
# Two of them would be the same label; a label holds no half of a pair, no NUL.
LABELS = tuple(f"a{command}b" for command in COMMANDS if not re.search("[\ud800-\udfff]", command))


def on_terminal(*arguments, columns: int = 80, stdout: int | None = None) -> str:
    """What the command shows on a terminal of so many columns, without our own colours.

    `stdout` goes elsewhere, if it is given.
    """
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {k: v for k, v in ENVIRONMENT.items() if k not in {"COLUMNS", "NO_COLOR"}}
    process = subprocess.Popen(
        [HEED, *map(str, arguments)],
        stdin=follower,
        stdout=follower if stdout is None else stdout,
        stderr=follower,
        cwd=ROOT,
        env=environment | {"TERM": "xterm"},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 65_536)
        except OSError:  # the command has ended
            break
        if not chunk:
            break
        shown += chunk
    os.close(leader)
    process.wait(60)
    return OURS.sub("", REDRAWN.sub("\n", shown.decode()))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An artifact with the labels of this kind that one may have, and rows with all of them."""
    folder = tmp_path_factory.mktemp("hostile")
    allowed = tuple(label for label in LABELS if label_problem(label) is None)
    write_artifact(folder / "model", labels=allowed)
    rows = [{"text": f"my card {n}", "label": label} for n, label in enumerate(LABELS * 2)]
    rows.append({"text": "more", "label": f"unseen {COMMANDS[3]}"})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    return folder


def plain(shown: str) -> bool:
    """Whether nothing in it commands a terminal."""
    return all(line.isprintable() for line in re.split("\r?\n", shown))


def test_labels_command_no_terminal(hostile):
    """Of an artifact that somebody sent, in the tables of `heed evaluate`, and unseen ones."""
    arguments = ("evaluate", hostile / "model", hostile / "rows.jsonl")
    assert plain(on_terminal(*arguments))
    done = heed_here(*arguments)
    assert done.returncode == 0, done.stderr
    assert plain(done.stdout)
    assert r"a\u001b[31mb" in done.stdout


def test_rows_on_stdout_command_no_terminal(hostile):
    """They are JSON, in which such characters have a spelling."""
    (hostile / "in.jsonl").write_text(
        "".join(json.dumps({"text": f"x {command}", command: command}) + "\n" for command in LABELS)
    )
    shown = on_terminal("predict", "--model", hostile / "model", hostile / "in.jsonl", "--out", "-")
    assert plain(shown)
    assert shown.count('"predicted_label"') == len(LABELS)


def test_rows_go_to_stdout_while_a_terminal_shows_the_bar(tiny_artifact, tmp_path):
    """`heed predict ... --out - > rows.jsonl` in a shell: no row is drawn above the bar."""
    (tmp_path / "in.txt").write_text("where is my card " * 9 + "\n")
    with (tmp_path / "rows.jsonl").open("wb") as file:
        arguments = ("predict", "--model", tiny_artifact, tmp_path / "in.txt", "--out", "-")
        shown = on_terminal(*arguments, stdout=file.fileno())
    assert json.loads((tmp_path / "rows.jsonl").read_text())["text"].startswith("where is")
    assert "predicted_label" not in shown


@pytest.mark.parametrize("command", [c for c in COMMANDS if "/" not in c and "\ud800" not in c])
@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "{}", "{}"],
        ["predict", "--model", "{}", "{}", "--out", "-"],
        ["export", "{}", "--out", "x"],
        ["serve", "--model", "{}"],
        ["keys", "list", "--file", "{}"],
        ["loadtest", "http://{}", "--out", "/dev/null/{}"],
        ["gate", "http://127.0.0.1:1", "--slo", "{}", "--out", "/dev/null/{}"],
        ["train", "{}.csv", "--out", "/dev/null/{}"],
        ["predict", "--{}"],
        ["{}"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_errors_command_no_terminal(arguments, command):
    """Whatever a path, an address or an option is called; and each is one line or usage."""
    done = heed_here(*(part.format(f"a{command}b") for part in arguments))
    assert done.returncode
    assert plain(done.stdout + done.stderr)


def test_reader_of_stdout_that_leaves_ends_the_command_quietly(tiny_artifact, tmp_path):
    """`heed predict ... | head`: no word on stderr but of rows."""
    (tmp_path / "in.txt").write_text("where is my card\n" * 20_000)
    process = subprocess.Popen(
        [HEED, "predict", "--model", tiny_artifact, tmp_path / "in.txt", "--out", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    process.stdout.readline()
    process.stdout.close()
    (line,) = process.stderr.read().splitlines()
    assert line.startswith(b"model tiny version 1")
    process.stderr.close()
    process.wait(60)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_full_disk_is_one_line(tiny_artifact, tmp_path, command):
    """On stdout, of whatever command."""
    (tmp_path / "in.csv").write_text("text,label\nmy card,refund\n")
    arguments = {
        "predict": ["--model", tiny_artifact, tmp_path / "in.csv", "--out", "-"],
        "evaluate": [tiny_artifact, tmp_path / "in.csv"],
    }
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [HEED, command, *map(str, arguments[command])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert done.returncode
    _model, line = done.stderr.splitlines()
    assert "No space left on device" in line


@pytest.mark.parametrize("columns", [80, 40])
def test_what_is_shown_fits_a_terminal(hostile, tiny_artifact, tmp_path, columns):
    """Words stay whole where they fit, tables have no blanks at their ends."""
    (tmp_path / "in.txt").write_text("where is my card\n" * 20 + "again " * 90 + "\n\n")
    commands = [
        ("predict", "--model", tiny_artifact, tmp_path / "in.txt", "--out", tmp_path / "o.csv"),
        ("evaluate", hostile / "model", hostile / "rows.jsonl"),
    ]
    for arguments in commands:
        shown = on_terminal(*arguments, columns=columns)
        assert "\\u001b[2K" not in shown  # our own bar, spelled out
        lines = [line for line in re.split("\r?\n", shown) if str(hostile.parent) not in line]
        assert max(map(len, lines)) <= columns
        if arguments[0] == "evaluate":
            first = next(i for i, line in enumerate(lines) if line.startswith("label "))
            last = next(i for i, line in enumerate(lines) if line.startswith("accuracy"))
            assert last - first > 1
            assert all(line == line.rstrip() for line in lines[first:last])


def test_redirected_output_has_no_progress_bar(tiny_artifact, tmp_path):
    """Lines only: how many rows, at what rate, what was cut, what is empty."""
    (tmp_path / "in.csv").write_text("text\nmy card\n" + "again " * 90 + "\n" + '" "\n')
    done = heed(
        "predict", "--model", tiny_artifact, tmp_path / "in.csv", "--out", tmp_path / "o.csv"
    )
    _model, first, *rest = done.stderr.splitlines()
    assert re.fullmatch(r"3 rows in 0\.\d s, [1-9][\d,]* rows/s", first)
    assert rest == [
        "1 of 3 rows were longer than 32 tokens and were cut",
        "1 row has no text: the prediction is empty",
    ]
