"""A tiny run and its artifacts, made once a session, and what else tests of training share."""

import io
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from export.bundle import export_run
from heed import main
from model.columns import Columns
from model.config import Config, load_config
from model.parts import Request
from model.run import run_training

ROOT = Path(__file__).parents[1]
HEED = str(Path(sys.executable).with_name("heed"))
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads leave their CPU
LABELS = ("account", "delivery", "refund")
SETTINGS = """\
[tokenizer]
vocab_size = 400
characters_per_id = 10.0

[network]
hidden_size = 32
num_heads = 2
num_layers = 1
mlp_size = 32
max_length = 24
bigram_buckets = 512
bigram_size = 8

[training]
epochs = 4
batch_size = 16
learning_rate = 5e-3
"""
_WHO = ("I", "my sister", "the shop", "nobody", "we all", "a friend")
_WHEN = ("yesterday", "last week", "on Monday", "again", "for no reason", "before noon", "today")
_WHAT = {
    "account": ("forgot the password", "cannot log in", "was locked out", "changed the e-mail"),
    "delivery": ("never got the parcel", "waits for the courier", "missed the van", "lost a box"),
    "refund": ("wants the money back", "was charged twice", "cancelled the order", "returned it"),
}
_SHARED = ("asked about the order", "called the hotline", "is not happy", "needs help")


@dataclass
class Silent:
    """A `model.run.Display` that keeps what it is told."""

    lines: list[str] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    records: list[Mapping[str, float]] = field(default_factory=list)

    def say(self, line: str) -> None:
        """See `Display`."""
        self.lines.append(line)

    def started(self, epoch: int, rows: int) -> None:
        """See `Listener`."""
        self.epochs.append((epoch, rows))

    def stepped(self, loss: float, rows: int) -> None:
        """See `Listener`."""
        self.losses.append(loss)
        self.rows.append(rows)

    def validated(self, record: Mapping[str, float]) -> None:
        """See `Listener`."""
        self.records.append(record)


@contextmanager
def one_thread() -> Iterator[None]:
    """Small tensors are slowed down by threads that wait for each other, also within a run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.run.cpu_quota", lambda: 1)
        yield
    torch.set_num_threads(before)


@contextmanager
def little_room(size_bytes: int) -> Iterator[None]:
    """No file of this process may become larger: writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def invented(count: int, seed: int) -> list[tuple[str, str]]:
    """Rows of text and label; one text in four does not tell its label."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = LABELS[number % len(LABELS)]
        what = rng.choice(_SHARED if rng.random() < 0.25 else _WHAT[label])
        words = [rng.choice(_WHO), what, rng.choice(_WHEN)]
        text = " ".join(words if rng.random() < 0.7 else [*words, "and", rng.choice(_SHARED)])
        rows.append((f"{text} {number % 97}", label))
    return rows


def write_rows(path: Path, rows: Sequence[tuple[str, str]]) -> str:
    """A JSON line with `text` and `label` for each row."""
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return str(path)


def write_settings(folder: Path, extra: str = "") -> Path:
    """The tiny settings as TOML; `extra` goes on in the section `training`."""
    path = folder / "tiny.toml"
    path.write_text(SETTINGS + extra, encoding="utf-8")
    return path


def tiny_config(folder: Path, **training: Any) -> Config:
    """The tiny settings, with `training` over them."""
    return load_config("tiny", write_settings(folder), **training)


def train_in(folder: Path, request: Mapping[str, Any]) -> tuple[dict[str, Any], Silent]:
    """Train on invented rows; `request` changes what is asked for. Metrics and listener."""
    listener = Silent()
    settings = {
        "out": folder / "run",
        "valid": None,
        "test": None,
        "columns": Columns(),
    } | dict(request)
    if "train" not in settings:
        settings["train"] = write_rows(folder / "train.jsonl", invented(150, seed=1))
    if "config" not in settings:
        settings["config"] = tiny_config(folder)
    return run_training(Request(**settings), listener), listener


@cache
def trained_run(base: Path) -> Path:
    """One finished run below `base`, a temporary folder of this session. Not to be changed."""
    folder = base / "trained"
    folder.mkdir()
    test = write_rows(folder / "test.jsonl", invented(120, seed=2))
    train = write_rows(folder / "train.jsonl", invented(300, seed=1))
    train_in(folder, {"train": train, "test": test})
    return folder / "run"


@cache
def exported(base: Path, precision: str) -> Path:
    """The artifact of `trained_run`. Not to be changed."""
    run = trained_run(base)
    out = run.parent / precision
    export_run(run, out, precision, "tickets", "1")
    return out


def heed(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The `heed` command in a process of its own."""
    options = {"cwd": ROOT, "timeout": 120, "env": ENVIRONMENT} | options
    command = [HEED, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def heed_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The `heed` command in this process: a second quicker, with the same code from `main` on."""
    out, err = io.StringIO(), io.StringIO()
    command = ["heed", *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
    code = caught.value.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())
