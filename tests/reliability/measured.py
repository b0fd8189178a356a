"""What a measurement found, and what that says of the promise. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from scipy import stats

Verdict = Literal["met", "not met", "undecided", "inconclusive", "not measured"]

_SCALES = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")), "B": ((1e6, "MB"), (1e3, "kB"))}


@dataclass(frozen=True)
class Figure:
    """One number.

    Attributes:
        value: in base units: seconds, bytes, shares of 1.
        unit: `s`, `B`, `share`, or any word that is shown as it is.
        name: what it is of, where a row has several.
        low, high: its spread: a confidence interval or the range of rounds, as `spread` says.
        n: requests or rounds that it rests on.
        at_most, at_least: the target, where its spread is to keep it.
    """

    value: float
    unit: str
    name: str = ""
    low: float | None = None
    high: float | None = None
    spread: Literal["range", "95 % CI"] = "range"
    n: int | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> Literal["met", "not met", "undecided"]:
        """Of the whole spread against the target: `undecided` if the target lies within.

        A range of rounds counts as the interval of their median, which it is: of five rounds with
        93.75 %, of six with 96.9 %, of more it is wider than it need be (order statistics).
        """
        ends = (self.low, self.high) if None not in (self.low, self.high) else (self.value,)
        kept = [
            (self.at_most is None or end <= self.at_most)
            and (self.at_least is None or end >= self.at_least)
            for end in ends
            if end is not None
        ]
        if all(kept):
            return "met"
        return "undecided" if any(kept) else "not met"

    def __str__(self) -> str:
        """`p99 at 10x 18.2 ms (range 17.1 to 19.0 ms, n 5)`."""
        details = []
        if self.low is not None and self.high is not None:
            ends = f"{show(self.low, self.unit)} to {show(self.high, self.unit)}"
            details.append(f"{self.spread} {ends}")
        if self.n is not None:
            details.append(f"n {self.n:,}")
        shown = f"{self.name} {show(self.value, self.unit)}".strip()
        return f"{shown} ({', '.join(details)})" if details else shown


@dataclass(frozen=True)
class Measured:
    """The answer of a measurement for one promise.

    Attributes:
        held: what was found keeps the target, but for figures that have one of their own.
        figures: what was measured.
        note: one sentence for people.
        noise: what disturbed the machine. A promise that held in spite of it did hold; one that
            did not says nothing.
        unmeasured: why the figures say nothing either way, a generator that did not send say.
        skipped: why nothing, or not all, was measured.
    """

    held: bool
    figures: tuple[Figure, ...] = ()
    note: str = ""
    noise: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()
    skipped: str = ""

    @property
    def verdict(self) -> Verdict:
        """See the attributes."""
        if self.skipped:
            return "not measured"
        kept = {figure.verdict for figure in self.figures}
        if not self.held:
            kept.add("not met")
        if self.unmeasured or (self.noise and kept - {"met"}):
            return "inconclusive"
        return "not met" if "not met" in kept else "undecided" if "undecided" in kept else "met"

    def to_dict(self) -> dict[str, Any]:
        """For JSON; what is not finite becomes None."""
        figures = [
            {key: _finite(value) for key, value in asdict(figure).items()}
            for figure in self.figures
        ]
        return asdict(self) | {"figures": figures, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Measured":
        """What `to_dict` wrote; the numbers that were not finite are NaN."""
        given = {field.name: content[field.name] for field in fields(cls)}
        figures = tuple(
            Figure(**(each | {"value": math.nan if each["value"] is None else each["value"]}))
            for each in given.pop("figures")
        )
        given |= {name: tuple(given[name]) for name in ("noise", "unmeasured")}
        return cls(figures=figures, **given)


def skip(reason: str) -> Measured:
    """Nothing was measured."""
    return Measured(held=False, skipped=reason)


def all_held(parts: Sequence[Measured]) -> Measured:
    """A promise that rests on several answers: it holds if each does, none of them skipped.

    Where one does not hold, neither noise during another is an excuse, nor that it was skipped.
    """
    skipped = "; ".join(dict.fromkeys(part.skipped for part in parts if part.skipped))
    parts = [part for part in parts if not part.skipped]
    if not parts:
        return skip(skipped or "nothing answers for it")
    broken = any(part.verdict == "not met" for part in parts)
    excused = [] if broken else parts
    return Measured(
        held=all(part.held for part in parts),
        figures=tuple(figure for part in parts for figure in part.figures),
        note="; ".join(filter(None, (part.note for part in parts))),
        noise=tuple(dict.fromkeys(reason for part in excused for reason in part.noise)),
        unmeasured=tuple(dict.fromkeys(reason for part in excused for reason in part.unmeasured)),
        skipped="" if broken else skipped,
    )


def show(value: float, unit: str) -> str:
    """With three digits and a unit that suits the size."""
    if math.isnan(value):
        return "nothing"
    if math.isinf(value):
        return "endless"
    if unit == "share":
        return f"{100 * value:.1f} %"
    for size, name in _SCALES.get(unit, ()):
        if abs(value) >= size or (name == "us" and value):
            return f"{_digits(value / size)} {name}"
    return f"{_digits(value)} {unit}".strip()


def quantile(values: Sequence[float], fraction: float) -> float:
    """Nearest rank; NaN of nothing."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(fraction * len(values) - 1e-9) - 1)]


def of_rounds(values: Sequence[float], unit: str, name: str = "", **target: float) -> Figure:
    """The median of some rounds and their range; `target` is `at_most` or `at_least`."""
    middle = quantile(values, 0.5)
    return Figure(middle, unit, name, min(values), max(values), "range", len(values), **target)


def of_slope(
    slope: float, error: float, samples: int, unit: str, name: str = "", **target: float
) -> Figure:
    """A least-squares slope with its 95 % interval, from its standard error; see `of_rounds`."""
    margin = float(stats.t.ppf(0.975, max(1, samples - 2))) * error
    low, high = slope - margin, slope + margin
    return Figure(slope, unit, name, low, high, "95 % CI", samples, **target)


def _digits(value: float) -> str:
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
