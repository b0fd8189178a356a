"""A run or an artifact on labelled data: the same figures by the same path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import RUN_FILE, load_checkpoint
from model.data import LabelledTexts, unseen_labels
from model.inference import network_logits
from model.metrics import classification_metrics
from service.runtime.postprocess import Float32Array, softmax
from service.runtime.predictor import Predictor


def evaluate(source: Path, data: LabelledTexts) -> dict[str, Any]:
    """Figures of the checkpoint or artifact at `source` on `data`, and `unseen_labels`.

    Raises:
        HeedError: `source` is neither a finished run nor a sound artifact.
    """
    if (source / RUN_FILE).is_file():
        checkpoint = load_checkpoint(source)
        rows = [checkpoint.tokenizer.encode(text).input_ids for text in data.texts]
        labels: Sequence[str] = checkpoint.run.labels
        return _figures(network_logits(checkpoint.network, rows), data, labels)
    return artifact_metrics(Predictor(source), data)


def artifact_metrics(predictor: Predictor, data: LabelledTexts) -> dict[str, Any]:
    """Figures of an artifact on `data`."""
    rows = [predictor.tokenizer.encode(text).input_ids for text in data.texts]
    return _figures(predictor.logits(rows), data, predictor.manifest.labels)


def _figures(logits: Float32Array, data: LabelledTexts, labels: Sequence[str]) -> dict[str, Any]:
    figures = classification_metrics(softmax(logits), data.labels, labels)
    return figures | {"unseen_labels": unseen_labels(data, labels)}
