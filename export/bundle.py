"""Writes an artifact directory: whole or not at all."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from export.errors import ExportError
from export.evaluate import artifact_metrics
from export.parity import check_parity
from export.quantize import to_int8
from export.to_onnx import OPSET, to_onnx
from model.checkpoint import Checkpoint, load_checkpoint
from model.folder import held
from model.parts import PARTS, read_part
from model.provenance import git_commit, library_versions
from service.runtime.artifact import (
    MANIFEST_FILE,
    MODEL_FILE,
    PRECISIONS,
    TOKENIZER_FILE,
    FileEntry,
    Manifest,
    check_name,
)
from service.runtime.files import writing
from service.runtime.predictor import Predictor

_PARITY_TEXTS = 300
_FIGURES = ("n", "accuracy", "accuracy_low", "accuracy_high", "majority", "macro_f1", "ece", "nll")


def export_run(run: Path, out: Path, precision: str, name: str, version: str) -> Manifest:
    """Export the best checkpoint of `run` to the directory `out`, which must not exist yet.

    The artifact is built beside `out`, read back, compared with PyTorch and evaluated on the
    validation and test rows of the run; only then it gets its name.

    Raises:
        ExportError: bad arguments, or parity fails.
        HeldError: another export writes to `out`.
        FileError: it cannot be written.
        CheckpointError: `run` is not a finished run.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"unknown precision {precision!r}, expected {' or '.join(PRECISIONS)}")
    check_name("name", name)
    check_name("version", version)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} exists already; choose another --out or remove it")
    checkpoint = load_checkpoint(run)
    model = to_onnx(checkpoint.network, checkpoint.run.config.network.max_length)
    if precision == "int8":
        model = to_int8(model)
    workshop = out.with_name(f".{out.name}.building")
    building = workshop / "artifact"
    with held(workshop, temporary=True), writing(out):
        shutil.rmtree(building, ignore_errors=True)  # of an export that was killed
        try:
            building.mkdir()
            manifest = _describe(checkpoint, model, precision, name, version)
            _write(building, checkpoint.tokenizer_model, model, manifest)
            manifest = _measure(building, run, checkpoint, manifest)
            (building / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
            if out.exists():
                out.rmdir()
            building.rename(out)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return manifest


def _describe(
    checkpoint: Checkpoint, model: bytes, precision: str, name: str, version: str
) -> Manifest:
    run = checkpoint.run
    contents = {MODEL_FILE: model, TOKENIZER_FILE: checkpoint.tokenizer_model}
    return Manifest(
        name=name,
        version=version,
        labels=run.labels,
        max_length=run.config.network.max_length,
        precision=precision,
        opset=OPSET,
        metrics={},
        parity={},
        git_commit=git_commit(),
        libraries=library_versions(),
        files={file: FileEntry.of(content) for file, content in contents.items()},
    )


def _write(folder: Path, tokenizer: bytes, model: bytes, manifest: Manifest) -> None:
    (folder / MODEL_FILE).write_bytes(model)
    (folder / TOKENIZER_FILE).write_bytes(tokenizer)
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")


def _measure(folder: Path, run: Path, checkpoint: Checkpoint, manifest: Manifest) -> Manifest:
    """The manifest with parity and metrics, both of the artifact as it lies on disk."""
    predictor = Predictor(folder, "cpu")
    parts = {part: read_part(run, part) for part in PARTS if part in checkpoint.metrics}
    texts = parts["validation"].texts[:_PARITY_TEXTS]
    parity = check_parity(
        checkpoint.network, predictor.engine, predictor.tokenizer, texts, manifest.precision
    )
    metrics: dict[str, Mapping[str, Any]] = {}
    for part, rows in parts.items():
        figures = artifact_metrics(predictor, rows)
        metrics[part] = {key: figures[key] for key in _FIGURES if figures[key] is not None}
    return replace(manifest, parity=parity, metrics=metrics)
