"""From labelled files to a finished run directory."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TextIO

import structlog
import torch

from model.baseline import compare
from model.batches import EncodedTexts, encode
from model.check import balance, check, cut, described
from model.checkpoint import (
    CheckpointError,
    Run,
    load_tensors,
    read_tokenizer,
    write_json,
)
from model.config import TrainingConfig
from model.finding import Finding
from model.folder import (
    LOG_FILE,
    METRICS_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    drop_replaced,
    held,
    keeping,
    restore,
    tidy,
)
from model.inference import network_logits
from model.metrics import labelled_metrics
from model.network import Network
from model.parts import Data, Request, read_data, write_parts
from model.provenance import fingerprint, git_commit, library_versions
from model.report import draw_curves
from model.state import TrainingState
from model.tokenizer import train_tokenizer
from model.train import Listener, train
from service.runtime.artifact import TOKENIZER_FILE
from service.runtime.cpu import cpu_quota
from service.runtime.files import writing
from service.runtime.tokenizer import Tokenizer
from service.runtime.versions import RUN_FILE

CURVES_FILE = "curves.png"
DATA_FILE = "data.json"  # what the data is, and what the check found in it


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
    with held(request.out) as unlocked:
        if unlocked:
            display.say(
                f"warning: {request.out} cannot be locked ({unlocked}); see to it that no other "
                "training writes there"
            )
        request = _settled(request, display)
        data = read_data(request)
        with writing(request.out), keeping(request.out, replace=request.overwrite):
            return _train(request, data, display)


def _train(request: Request, data: Data, display: Display) -> dict[str, Any]:
    torch.set_num_threads(cpu_quota())
    torch.manual_seed(request.config.training.seed)
    with (request.out / LOG_FILE).open("a", encoding="utf-8") as file:
        log = _Log(file, display, request.out)
        tokenizer, run = _describe(request, data)
        state = _start_state(request, run)
        log.start(data, tokenizer, state)
        encoded = _look(data, tokenizer, request.out, log)
        train(state, encoded, request.config.training, request.out, log)
        weights, best = load_tensors(request.out / WEIGHTS_FILE)
        network = run.build()
        network.load_state_dict(weights)
        metrics = _evaluate(network, data, tokenizer, request.config.training)
        metrics["training"] = {"best_epoch": best["epoch"]}
        metrics["training"] |= _summary(state, request.config.training.batch_size)
        log.event("done", **metrics)
    write_json(request.out / METRICS_FILE, metrics)
    draw_curves(state.progress.history, request.out / CURVES_FILE)
    (request.out / STATE_FILE).unlink()
    return metrics


def _look(
    data: Data, tokenizer: Tokenizer, folder: Path, log: "_Log"
) -> tuple[EncodedTexts, EncodedTexts]:
    """Encode the rows to train and validate on; say, log and keep what the data is like."""
    findings = check(data.train, data.measured, data.labels)
    encoded = []
    for name, part in (("training", data.train), ("validation", data.valid)):
        texts = encode(part.texts, part.labels, data.labels, tokenizer)
        findings += cut(name, part, texts.lengths, tokenizer.max_length)
        encoded.append(texts)
    for finding in findings:
        log.found(finding)
    write_json(folder / DATA_FILE, described(data.train, data.measured, findings))
    return encoded[0], encoded[1]


class _Log:
    """A `Listener` that writes `log.jsonl` and hands on to the display."""

    def __init__(self, file: TextIO, display: Display, folder: Path) -> None:
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        renderer = structlog.processors.JSONRenderer()
        self.event = structlog.wrap_logger(
            structlog.WriteLogger(file), processors=[stamp, renderer]
        ).info
        self._display, self._folder = display, folder
        self.started, self.stepped = display.started, display.stepped

    def found(self, finding: Finding) -> None:
        self.event(finding.level, kind=finding.kind, part=finding.part, message=finding.message)
        self._display.say(str(finding))

    def start(self, data: Data, tokenizer: Tokenizer, state: TrainingState) -> None:
        parameters = sum(parameter.numel() for parameter in state.network.parameters())
        self.event("start", train=len(data.train), valid=len(data.valid), step=state.progress.step)
        self._display.say(
            f"{len(data.train):,} training rows"
            + "".join(f", {len(part):,} {name} rows" for name, part in data.measured.items())
            + f"; {balance(data.train)}; {tokenizer.vocab_size:,} ids, {parameters:,} parameters"
        )

    def validated(self, record: Mapping[str, float]) -> None:
        drop_replaced(self._folder)
        self.event("epoch", **record)
        self._display.validated(record)


def _settled(request: Request, display: Display) -> Request:
    """What can be done in the folder; refuses before anything is read, and changes no run.

    A run that saved nothing holds nothing to lose and nothing to resume: it starts over.
    """
    out = request.out
    if request.resume and request.overwrite:
        raise CheckpointError("--resume goes on with a run, --overwrite replaces it: choose one")
    tidy(out)
    if request.overwrite or not (out / STATE_FILE).exists():
        restore(out)
    stopped, finished = (out / STATE_FILE).exists(), (out / METRICS_FILE).exists()
    begun = (out / LOG_FILE).exists() and not (out / WEIGHTS_FILE).exists()
    if request.overwrite or (request.resume and stopped):
        return request
    if stopped:
        raise CheckpointError(
            f"{out} holds a run already, which was stopped: --resume goes on with it, --overwrite "
            "replaces it; or choose another --out"
        )
    if finished and request.resume:
        raise CheckpointError(f"{out} is finished: nothing to resume")
    if (out / RUN_FILE).exists() and not begun:
        raise CheckpointError(
            f"{out} holds a run already; choose another --out, or --overwrite to replace it"
        )
    if request.resume and not begun:
        raise CheckpointError(f"{out} holds no run: nothing to resume; leave --resume out")
    if begun:
        display.say(f"the run in {out} was stopped before anything was saved: it starts over")
    return replace(request, resume=False)


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
            other = _differences(before.config.model_dump(), run.config.model_dump())
            raise CheckpointError(
                f"{out} was started with other settings ({other}); give the same to resume"
            )
        if before.data["fingerprints"] != run.data["fingerprints"]:
            raise CheckpointError(f"{out} was started on other data; give the same files to resume")
        return tokenizer, before
    write_parts(out, data)
    run.write(out)
    return tokenizer, run


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """`training.epochs was 40, is 41`."""
    return ", ".join(
        f"{section}.{name} was {value}, is {now[section].get(name)}"
        for section, settings in before.items()
        for name, value in settings.items()
        if now[section].get(name) != value
    )


def _start_state(request: Request, run: Run) -> TrainingState:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = TrainingState(run.build().to(device), request.config.training)
    if request.resume:
        state.load(request.out / STATE_FILE)
    return state


def _evaluate(
    network: Network, data: Data, tokenizer: Tokenizer, config: TrainingConfig
) -> dict[str, Any]:
    """Figures on validation and, looked at only now, on test; and those of the baseline."""
    metrics: dict[str, Any] = {}
    predicted = {}
    logits = partial(network_logits, network)
    for name, part in data.measured.items():
        metrics[name], predicted[name] = labelled_metrics(logits, tokenizer, part, data.labels)
    metrics["baseline"] = compare(data.train, data.measured, predicted, config.baseline_characters)
    return metrics


def _summary(state: TrainingState, batch_size: int) -> dict[str, Any]:
    progress = state.progress
    return {
        "epochs": progress.epoch,
        "train_s": round(progress.train_s, 1),
        "rows_per_s": round(progress.step * batch_size / max(progress.train_s, 1e-9)),
        "history": progress.history,
    }
