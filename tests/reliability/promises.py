"""The table of promises, from promises.toml."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("promises.toml")
EVERY = "*"


@dataclass(frozen=True)
class Promise:
    """One row. Its number is its place in `PROMISES`.

    Attributes:
        group: heading under which it stands.
        text: the promise in one line.
        how: how it is tested or measured.
        target: what must be reached.
        tests: node ids of tests that `make test` runs.
        measurement: name of a module here, or `EVERY` one; empty if tests are all.
        key: which of its answers.
    """

    group: str
    text: str
    how: str
    target: str
    tests: tuple[str, ...] = ()
    measurement: str = ""
    key: str = ""


def _read() -> tuple[tuple[Promise, ...], dict[str, int]]:
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    promises = tuple(
        Promise(**(row | {"tests": tuple(row.get("tests", ()))})) for row in table["promises"]
    )
    return promises, table["measurements"]


PROMISES, MEASUREMENTS = _read()
