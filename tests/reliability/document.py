"""docs/reliability.md from the answers. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import get_args

from tests.reliability.measured import Measured, Verdict
from tests.reliability.promises import EVERY, Promise
from tests.reliability.store import Row

_HEAD = """\
# What Heed promises, and what was measured

{summary} Written by `make reliability`; by hand it would be overwritten.

{quick}Machine: {machine}. The service
has the first core and its clients the others, where it is not said
otherwise. "Engine of ..." is one that sleeps for a known time instead of computing, "real model"
that of `make demo`. Load comes from the open-loop generator of the release gate
([gate.md](gate.md)); latencies count from when a request was due. A range is that of rounds, n the
requests or rounds.

**Met**: every test and every measurement that answers for the promise kept the target, with the
whole of its spread where rounds or an interval are shown; *undecided* where the target lies within.
The range of rounds counts as the interval of their median (of five with 94 %, of seven with 98 %).
A miss is *inconclusive* where the hypervisor took more than 2 % of the CPU meanwhile or other
programs more than 5 %; so is any figure for which the generator could not send what was due. What
kept its target in spite of that did keep it. *Not measured*: a program was missing, or a test was
not run.
"""
_QUICK = "**A quick run, to see that everything runs: its figures and verdicts mean nothing.**\n\n"
_COLUMNS = "| | promise | target | |\n|---|---|---|---|"
_MARKS = {"met": "met", "not met": "**not met**"}  # the others in italics


def to_markdown(rows: Sequence[Row], *, quick: bool = False) -> str:
    """The document: what was not met, the table of all promises, then how each was measured.

    Args:
        rows: all promises in their order. Where most were measured stands at the top.
        quick: whether it was a quick run.
    """
    numbered = list(enumerate(rows, 1))
    (where, _), *_ = Counter(row.where for row in rows).most_common()
    parts = [_HEAD.format(summary=summary(rows), machine=where, quick=_QUICK if quick else "")]
    for verdict in get_args(Verdict)[1:]:
        missed = [each for each in numbered if each[1].measured.verdict == verdict]
        if missed:
            lines = "\n".join(_missed(number, row) for number, row in missed)
            parts.append(f"## {verdict.capitalize()}\n\n{lines}\n")
    for group, members in groupby(numbered, key=lambda each: each[1].promise.group):
        own = list(members)
        table = "\n".join(_row(number, row) for number, row in own)
        parts.append(f"## {group}\n\n{_COLUMNS}\n{table}\n")
        parts += [
            _section(number, row, "" if row.where == where else row.where) for number, row in own
        ]
    return "\n".join(parts)


def summary(rows: Sequence[Row]) -> str:
    """How many there are of each verdict, in a sentence."""
    count = Counter(row.measured.verdict for row in rows)
    found = [f"{count[name]} {name}" for name in get_args(Verdict) if count[name]]
    return f"{len(rows)} promises: {', '.join(found)}."


def _missed(number: int, row: Row) -> str:
    """Its first figure is that on which the target is."""
    promise, measured, _ = row
    said = [*map(str, measured.figures[:1]), measured.note, *_reasons(measured)]
    return f"- [{number}](#{number}) {promise.text}: {_line('; '.join(filter(None, said)))}"


def _row(number: int, row: Row) -> str:
    promise, measured, _ = row
    mark = _MARKS.get(measured.verdict, f"*{measured.verdict}*")
    cells = [f"[{number}](#{number})", promise.text, promise.target, mark]
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"


def _section(number: int, row: Row, again: str) -> str:
    promise, measured, _ = row
    found = [*map(str, measured.figures), measured.note, *_reasons(measured)]
    if again:
        found.append(f"measured again: {again}")
    lines = [
        f'### <a id="{number}"></a>{number}. {promise.text}: {measured.verdict}',
        "",
        f"Target: {_line(promise.target)}. How: {_line(promise.how)}.",
        "",
        *(f"- {_line(each)}" for each in filter(None, found)),
        *_commands(promise),
    ]
    return "\n".join(lines) + "\n"


def _commands(promise: Promise) -> Iterator[str]:
    """What to run to see it again."""
    if promise.measurement:
        only = "" if promise.measurement == EVERY else f" --only {promise.measurement}"
        yield f"- again: `python -m tests.reliability{only}`"
    for test in promise.tests:
        yield f"- test: `{test}`"


def _reasons(measured: Measured) -> list[str]:
    """Why there is no verdict, or none that says much."""
    noise = measured.noise if measured.verdict == "inconclusive" else ()
    return [*filter(None, (measured.skipped, *measured.unmeasured, *noise))]


def _line(text: str) -> str:
    return " ".join(text.split())
