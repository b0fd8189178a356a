"""From labelled files to a finished run directory."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol, TextIO

import structlog
import torch

from model.batches import encode
from model.checkpoint import (
    METRICS_FILE,
    RUN_FILE,
    WEIGHTS_FILE,
    CheckpointError,
    Run,
    load_tensors,
    read_tokenizer,
    write_json,
)
from model.data import warnings_for
from model.inference import network_logits
from model.metrics import labelled_metrics
from model.network import Network
from model.parts import PARTS, Data, Request, read_data, write_parts
from model.provenance import fingerprint, git_commit, library_versions
from model.report import draw_curves
from model.state import STATE_FILE, TrainingState
from model.tokenizer import train_tokenizer
from model.train import Listener, train
from service.runtime.artifact import TOKENIZER_FILE
from service.runtime.cpu import cpu_quota
from service.runtime.tokenizer import Tokenizer

CURVES_FILE = "curves.png"
LOG_FILE = "log.jsonl"


class Display(Listener, Protocol):
    """What a run shows while it goes on."""

    def say(self, line: str) -> None:
        """One line for people."""


def run_training(request: Request, display: Display) -> dict[str, Any]:
    """Read, train, evaluate, write; returns what `metrics.json` holds.

    Raises:
        DataError: the files cannot be used.
        CheckpointError: the folder holds another run, or none to resume.
    """
    _check_folder(request)
    data = read_data(request)
    _prepare_folder(request)
    torch.set_num_threads(cpu_quota())
    torch.manual_seed(request.config.training.seed)
    with (request.out / LOG_FILE).open("a", encoding="utf-8") as file:
        log = _Log(file, display)
        for line in warnings_for(data.train, data.valid, data.test):
            log.warn(line)
        tokenizer, run = _describe(request, data)
        state = _start_state(request, run)
        log.start(data, tokenizer, state)
        named = [data.train, data.valid]
        encoded = [encode(part.texts, part.labels, data.labels, tokenizer) for part in named]
        train(state, (encoded[0], encoded[1]), request.config.training, request.out, log)
        weights, best = load_tensors(request.out / WEIGHTS_FILE)
        network = run.build()
        network.load_state_dict(weights)
        metrics = _evaluate(network, data, tokenizer)
        metrics["training"] = {"best_epoch": best["epoch"]}
        metrics["training"] |= _summary(state, request.config.training.batch_size)
        log.event("done", **metrics)
    write_json(request.out / METRICS_FILE, metrics)
    draw_curves(state.progress.history, request.out / CURVES_FILE)
    (request.out / STATE_FILE).unlink()
    return metrics


class _Log:
    """A `Listener` that writes `log.jsonl` and hands on to the display."""

    def __init__(self, file: TextIO, display: Display) -> None:
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        renderer = structlog.processors.JSONRenderer()
        self.event = structlog.wrap_logger(
            structlog.WriteLogger(file), processors=[stamp, renderer]
        ).info
        self._display = display
        self.started, self.stepped = display.started, display.stepped

    def warn(self, line: str) -> None:
        self.event("warning", message=line)
        self._display.say(f"warning: {line}")

    def start(self, data: Data, tokenizer: Tokenizer, state: TrainingState) -> None:
        parameters = sum(parameter.numel() for parameter in state.network.parameters())
        self.event("start", train=len(data.train), valid=len(data.valid), step=state.progress.step)
        self._display.say(
            f"{len(data.train):,} training rows, {len(data.valid):,} validation rows, "
            f"{len(data.labels)} labels; {tokenizer.vocab_size:,} ids, {parameters:,} parameters"
        )

    def validated(self, record: Mapping[str, float]) -> None:
        self.event("epoch", **record)
        self._display.validated(record)


def _check_folder(request: Request) -> None:
    """Refuse before anything is read; changes nothing."""
    if request.resume and request.overwrite:
        raise CheckpointError("--resume goes on with a run, --overwrite replaces it: choose one")
    if request.resume and not (request.out / STATE_FILE).exists():
        reason = "is finished" if (request.out / METRICS_FILE).exists() else "holds no state"
        raise CheckpointError(f"{request.out} {reason}: nothing to resume")
    if (request.out / RUN_FILE).exists() and not (request.resume or request.overwrite):
        raise CheckpointError(
            f"{request.out} holds a run already; choose another --out, or --resume, or --overwrite"
        )


def _prepare_folder(request: Request) -> None:
    """Make the folder, without the run that is to be replaced."""
    try:
        if request.overwrite and (request.out / RUN_FILE).exists():
            shutil.rmtree(request.out)
        request.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{request.out} cannot be used: {error.strerror}") from None


def _describe(request: Request, data: Data) -> tuple[Tokenizer, Run]:
    """Train (or, resuming, read) the tokenizer and write `run.json` (or compare with it)."""
    out = request.out
    if not request.resume:
        (out / TOKENIZER_FILE).write_bytes(
            train_tokenizer(data.train.texts, request.config.tokenizer)
        )
    _, tokenizer = read_tokenizer(out, request.config.network.max_length)
    parts = (data.train, data.valid, *([data.test] if data.test else []))
    described = {
        "sources": [part.source for part in parts],
        "rows": [len(part) for part in parts],
        "fingerprints": [fingerprint(part.texts, part.labels) for part in parts],
        "columns": asdict(request.columns),
    }
    run = Run(
        request.config,
        data.labels,
        tokenizer.vocab_size,
        described,
        git_commit(),
        library_versions(),
    )
    if request.resume:
        before = Run.read(out)
        if before.config != run.config:
            raise CheckpointError(f"{out} was started with other settings; give the same to resume")
        if before.data["fingerprints"] != run.data["fingerprints"]:
            raise CheckpointError(f"{out} was started on other data; give the same files to resume")
        return tokenizer, before
    write_parts(out, data)
    run.write(out)
    return tokenizer, run


def _start_state(request: Request, run: Run) -> TrainingState:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = TrainingState(run.build().to(device), request.config.training)
    if request.resume:
        state.load(request.out / STATE_FILE)
    return state


def _evaluate(network: Network, data: Data, tokenizer: Tokenizer) -> dict[str, Any]:
    """Figures of the network on validation and, looked at only now, on test."""
    metrics: dict[str, Any] = {}
    for name, part in zip(PARTS, (data.valid, data.test), strict=True):
        if part:
            rows = [tokenizer.encode(text).input_ids for text in part.texts]
            metrics[name] = labelled_metrics(network_logits(network, rows), part, data.labels)
    return metrics


def _summary(state: TrainingState, batch_size: int) -> dict[str, Any]:
    progress = state.progress
    return {
        "epochs": progress.epoch,
        "train_s": round(progress.train_s, 1),
        "rows_per_s": round(progress.step * batch_size / max(progress.train_s, 1e-9)),
        "history": progress.history,
    }
