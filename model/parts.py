"""What a run was asked for, and the parts of its data."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from model.check_labels import check_known, refuse
from model.checkpoint import CheckpointError
from model.columns import Columns, DataError
from model.config import Config
from model.data import LabelledTexts, label_names, read_labelled
from model.spelling import merged, spellings
from model.split import hold_out
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
    merge_labels: bool = False


@dataclass(frozen=True)
class Data:
    """The parts of a run's data and their labels, sorted."""

    train: LabelledTexts
    valid: LabelledTexts
    test: LabelledTexts | None
    labels: tuple[str, ...]

    @property
    def measured(self) -> dict[str, LabelledTexts]:
        """The parts that the network is measured on, by name."""
        parts = zip(PARTS, (self.valid, self.test), strict=True)
        return {name: part for name, part in parts if part}


def read_data(request: Request) -> Data:
    """The parts of the data; without a validation file a stratified part of train is held out."""
    training = request.config.training
    train_part = read_labelled(request.train, request.columns)
    valid = read_labelled(request.valid, request.columns) if request.valid else None
    test = read_labelled(request.test, request.columns) if request.test else None
    if request.merge_labels:
        # The most frequent spelling, of a tie the first: that is the order of most_common.
        chosen = spellings(label for label, _ in Counter(train_part.labels).most_common())
        train_part = merged(train_part, chosen)
        valid, test = (part and merged(part, chosen) for part in (valid, test))
    labels = tuple(label_names(train_part))
    try:
        check_labels(labels)
    except ArtifactError as error:
        raise DataError(f"{request.train}: label {error}") from None
    refuse(train_part)
    if valid:
        check_known(valid, labels)
    else:
        fraction = min(training.validation_fraction, training.max_validation_rows / len(train_part))
        train_part, valid = hold_out(train_part, fraction, training.seed)
        if not len(valid):
            raise DataError(
                f"{request.train}: no label has two different texts, so none can be held out; pass "
                "--valid, or more rows"
            )
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
    for part, rows in data.measured.items():
        pairs = zip(rows.texts, rows.labels, strict=True)
        lines = [json.dumps({"text": text, "label": label}) for text, label in pairs]
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
