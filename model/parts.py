"""What a run was asked for, and the parts of its data."""

import json
from dataclasses import dataclass
from pathlib import Path

from model.checkpoint import CheckpointError
from model.columns import Columns, DataError
from model.config import Config
from model.data import LabelledTexts, check_known, hold_out, label_names, read_labelled
from service.runtime.artifact import ArtifactError, check_labels

PARTS = ("validation", "test")  # kept as PART.jsonl: what export measures the artifact on


@dataclass(frozen=True)
class Request:
    """What `heed train` was asked for."""

    train: str
    out: Path
    valid: str | None
    test: str | None
    columns: Columns
    config: Config
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Data:
    """The parts of a run's data and their labels, sorted."""

    train: LabelledTexts
    valid: LabelledTexts
    test: LabelledTexts | None
    labels: tuple[str, ...]


def read_data(request: Request) -> Data:
    """The parts of the data; without a validation file a stratified part of train is held out."""
    training = request.config.training
    train_part = read_labelled(request.train, request.columns)
    labels = tuple(label_names(train_part))
    try:
        check_labels(labels)
    except ArtifactError as error:
        raise DataError(f"{request.train}: label {error}") from None
    if request.valid:
        valid = read_labelled(request.valid, request.columns)
        check_known(valid, labels)
    else:
        fraction = min(training.validation_fraction, training.max_validation_rows / len(train_part))
        train_part, valid = hold_out(train_part, fraction, training.seed)
        if not len(valid):
            raise DataError(f"{request.train}: too few rows to hold some out; pass --valid")
    test = read_labelled(request.test, request.columns) if request.test else None
    return Data(train_part, valid, test, labels)


def read_part(folder: Path, part: str) -> LabelledTexts:
    """The validation or test rows of a run, as they were when it was trained."""
    path = folder / f"{part}.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return LabelledTexts([r["text"] for r in rows], [r["label"] for r in rows], str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def write_parts(folder: Path, data: Data) -> None:
    """Keep the validation and test rows in the run, for `read_part`."""
    for part, rows in zip(PARTS, (data.valid, data.test), strict=True):
        if rows:
            pairs = zip(rows.texts, rows.labels, strict=True)
            lines = [json.dumps({"text": text, "label": label}) for text, label in pairs]
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
