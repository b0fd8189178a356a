"""What a check of the data has found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model.data import LabelledTexts

EXAMPLES = 3  # row numbers that a finding gives


@dataclass(frozen=True)
class Finding:
    """One thing that is worth knowing about the data.

    Attributes:
        kind: a short name, for programs.
        part: training, validation, test or evaluated.
        count: of what the message says: rows, texts, labels.
        rows: numbers of a few rows that show it, in the source of the part.
        message: for people, with what to do.
        level: warning, or note for what is usual and does no harm.
    """

    kind: str
    part: str
    count: int
    rows: tuple[int, ...]
    message: str
    level: str = "warning"

    def __str__(self) -> str:
        """Level and message."""
        return f"{self.level}: {self.message}"


def examples(data: LabelledTexts, indexes: Iterable[int]) -> tuple[int, ...]:
    """The numbers of the first few of these rows."""
    return tuple(data.row(index) for index, _ in zip(indexes, range(EXAMPLES), strict=False))


def of_rows(part: str, data: LabelledTexts, indexes: Sequence[int]) -> str:
    """`5 of 60 test rows (row 3 for example)`."""
    return (
        f"{len(indexes):,} of {len(data):,} {part} rows (row {data.row(indexes[0]):,} for example)"
    )


def noted(part: str, data: LabelledTexts) -> list[Finding]:
    """What was worth a warning in reading."""
    return [Finding("reading", part, 1, (), note) for note in data.notes]
