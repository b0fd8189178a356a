"""runs/reliability.json: what was measured, and for each promise when and of which commit."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.reliability.measured import Measured
from tests.reliability.promises import EVERY, PROMISES, Promise


class Row(NamedTuple):
    """A promise, what was found, and on which machine, which day, which commit."""

    promise: Promise
    measured: Measured
    where: str


def save(path: Path, rows: Sequence[Row], *, quick: bool) -> None:
    """Write all of it."""
    promises = [
        {"number": number, "promise": row.promise.text, "target": row.promise.target}
        | row.measured.to_dict()
        | {"where": row.where}
        for number, row in enumerate(rows, 1)
    ]
    path.parent.mkdir(exist_ok=True)
    content = {"quick": quick, "promises": promises}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """The rows of a run that was not quick, in the order of today's table.

    Raises:
        ValueError: there are none, or of other promises.
    """
    if not path.is_file():
        raise ValueError(f"no {path}: a whole run makes one")
    content = json.loads(path.read_text(encoding="utf-8"))
    stored: Mapping[str, dict[str, Any]] = {each["promise"]: each for each in content["promises"]}
    if content["quick"] or set(stored) != {promise.text for promise in PROMISES}:
        raise ValueError(f"{path} is of a quick run, or of other promises")
    return [
        Row(promise, Measured.from_dict(stored[promise.text]), stored[promise.text]["where"])
        for promise in PROMISES
    ]


def updated(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """`old`, with what was measured again; what every measurement answers for stays."""
    return [
        before
        if after.measured.verdict == "not measured" or after.promise.measurement == EVERY
        else after
        for before, after in zip(old, new, strict=True)
    ]
