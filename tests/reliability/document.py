"""docs/reliability.md from the answers. Pure."""

from collections.abc import Sequence
from itertools import groupby

from tests.reliability.measured import Measured
from tests.reliability.promises import Promise

_HEAD = """\
# What Heed promises, and what was measured

Written by `make reliability`; by hand it would be overwritten. {summary}

Measured on {machine}. The service has the first core and its clients the others, where it is not
said otherwise. "Engine of ..." is one that sleeps for a known time instead of computing, "real
model" that of `make demo`. Load comes from the open-loop generator of the release gate
([gate.md](gate.md)); latencies count from when a request was due. A range is that of rounds, n the
requests or rounds.

A miss counts as *invalid* where the hypervisor took more than 2 % of the CPU meanwhile or other
programs more than 5 %; so does any figure for which the generator could not send what was due. What
held in spite of that did hold.
"""
_COLUMNS = "| | promise | tested by | target | measured | |\n|---|---|---|---|---|---|"
_MARKS = {"held": "held", "not held": "**not held**", "invalid": "*invalid*", "skipped": "skipped"}


def to_markdown(judged: Sequence[tuple[Promise, Measured]], machine: str) -> str:
    """The document.

    Args:
        judged: all promises in their order, each with its answer.
        machine: what it was measured on.
    """
    parts = [_HEAD.format(summary=summary(judged), machine=machine)]
    numbered = enumerate(judged, 1)
    for group, rows in groupby(numbered, key=lambda row: row[1][0].group):
        parts.append(f"## {group}\n\n{_COLUMNS}")
        parts[-1] += "".join(f"\n{_row(number, *row)}" for number, row in rows) + "\n"
    return "\n".join(parts)


def summary(judged: Sequence[tuple[Promise, Measured]]) -> str:
    """How many there are of each verdict, in a sentence."""
    verdicts = [measured.verdict for _, measured in judged]
    counts = [f"{verdicts.count(name)} {name}" for name in _MARKS if name in verdicts]  # type: ignore[arg-type]
    return f"{len(verdicts)} promises: {', '.join(counts)}."


def _row(number: int, promise: Promise, measured: Measured) -> str:
    cells = [
        str(number),
        promise.text,
        promise.how,
        promise.target,
        _found(measured),
        _MARKS[measured.verdict],
    ]
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _found(measured: Measured) -> str:
    """Figures, then what else there is to say."""
    said = [*map(str, measured.figures), measured.note, measured.skipped]
    if measured.verdict == "invalid":
        said += [*measured.unmeasured, *measured.noise]
    return "; ".join(filter(None, said)) or "as promised"
