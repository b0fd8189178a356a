"""A run or an artifact on labelled data: the same figures by the same path."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from model.check_labels import check_evaluated
from model.checkpoint import load_checkpoint
from model.data import LabelledTexts
from model.inference import network_logits
from model.metrics import Logits, labelled_metrics
from model.spelling import merged, spellings
from service.runtime.predictor import Predictor
from service.runtime.versions import is_run


def evaluate(source: Path, data: LabelledTexts, *, merge_labels: bool = False) -> dict[str, Any]:
    """Figures of the checkpoint or artifact at `source` on `data`, and `findings` on its labels.

    Args:
        source: a run or an artifact.
        data: rows to measure on.
        merge_labels: take labels that the model only spells otherwise for the model's.

    Raises:
        HeedError: `source` is neither a finished run nor a sound artifact.
    """
    if is_run(source):
        checkpoint = load_checkpoint(source)
        tokenizer, labels = checkpoint.tokenizer, checkpoint.run.labels
        logits: Logits = partial(network_logits, checkpoint.network)
    else:
        predictor = Predictor(source)
        tokenizer, labels = predictor.tokenizer, predictor.manifest.labels
        logits = predictor.logits
    if merge_labels:
        data = merged(data, spellings(labels), set(labels))
    figures, _ = labelled_metrics(logits, tokenizer, data, labels)
    return figures | {"findings": [asdict(finding) for finding in check_evaluated(data, labels)]}


def artifact_metrics(predictor: Predictor, data: LabelledTexts) -> dict[str, Any]:
    """Figures of an artifact on `data`."""
    labels = predictor.manifest.labels
    return labelled_metrics(predictor.logits, predictor.tokenizer, data, labels)[0]
