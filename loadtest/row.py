"""A judgement in words, decided once, so that verdict, terminal and every report say the same."""

from typing import NamedTuple

from loadtest.quantity import INFINITE, NOTHING, Unit, show
from loadtest.result import Judgement, Outcome


class Row(NamedTuple):
    """What a table shows of a judgement."""

    objective: str
    measured: str
    interval: str
    limit: str
    samples: str
    outcome: Outcome
    detail: str


def row(judgement: Judgement) -> Row:
    """A judgement in words; the p value of a comparison belongs to its detail."""
    p_value, unit = judgement.p_value, unit_of(judgement)
    said = [] if p_value is None else [f"p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'}."]
    side = "≤" if is_upper(judgement) else "≥"
    return Row(
        judgement.objective,
        show(judgement.value, unit) if was_seen(judgement) else NOTHING,
        _interval(judgement),
        f"{side} {show(judgement.limit, unit, exact=True)}",
        f"{judgement.samples:,} {'pairs' if judgement.relative else ''}".strip(),
        judgement.outcome,
        " ".join([*said, judgement.detail]).strip(),
    )


def sentence(judgement: Judgement) -> str:
    """`steady: p99 at most 50 ms: 61.2 ms (58.0 to 64.1 ms)`."""
    said = row(judgement)
    interval = f" ({said.interval})" if said.interval != NOTHING else ""
    return f"{said.objective}: {said.measured}{interval}"


def is_upper(judgement: Judgement) -> bool:
    """Whether more is worse."""
    return judgement.metric != "goodput"


def was_seen(judgement: Judgement) -> bool:
    """Whether a value of None is infinite; else there was nothing to measure."""
    if judgement.value is not None:
        return True
    return judgement.p_value is not None if judgement.relative else judgement.samples > 0


def unit_of(judgement: Judgement) -> Unit:
    """Of its figures; ratios are compared in points."""
    return "points" if judgement.relative and judgement.unit == "ratio" else judgement.unit


def _interval(judgement: Judgement) -> str:
    """`11.9 to 12.8 ms`; a dash where there is none."""
    low, high = judgement.low, judgement.high
    if low == high:
        endless = low is None and judgement.value is None and was_seen(judgement)
        return INFINITE if endless else NOTHING
    ends = [show(end, unit_of(judgement)) for end in (low, high)]
    same = ends[0].partition(" ")[2] == ends[1].partition(" ")[2]
    return f"{ends[0].partition(' ')[0] if same else ends[0]} to {ends[1]}"
