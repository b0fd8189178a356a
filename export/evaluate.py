"""A run or an artifact on labelled data: the same figures by the same path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.checkpoint import load_checkpoint
from model.data import LabelledTexts
from model.inference import network_logits
from model.metrics import labelled_metrics
from service.runtime.predictor import Predictor
from service.runtime.versions import is_run


def evaluate(source: Path, data: LabelledTexts) -> dict[str, Any]:
    """Figures of the checkpoint or artifact at `source` on `data`, and `unseen_labels`.

    Raises:
        HeedError: `source` is neither a finished run nor a sound artifact.
    """
    if is_run(source):
        checkpoint = load_checkpoint(source)
        rows = [checkpoint.tokenizer.encode(text).input_ids for text in data.texts]
        labels: Sequence[str] = checkpoint.run.labels
        return labelled_metrics(network_logits(checkpoint.network, rows), data, labels)
    return artifact_metrics(Predictor(source), data)


def artifact_metrics(predictor: Predictor, data: LabelledTexts) -> dict[str, Any]:
    """Figures of an artifact on `data`."""
    rows = [predictor.tokenizer.encode(text).input_ids for text in data.texts]
    return labelled_metrics(predictor.logits(rows), data, predictor.manifest.labels)
