"""Axes of charts: values to px, with round ticks."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from loadtest import svg

LEFT, TOP, RIGHT, BOTTOM = 56, 24, 14, 28  # margins around the plot
LETTER = 6.6  # px, the width of a usual one


class Frame(NamedTuple):
    """Size in px; an upright axis that is logarithmic, begins at 0, reaches `least` or more."""

    width: int
    height: int
    log: bool = False
    zero: bool = True
    least: float = 0.0

    @property
    def right(self) -> int:
        """The plot's edge."""
        return self.width - RIGHT

    @property
    def bottom(self) -> int:
        """The plot's edge."""
        return self.height - BOTTOM


WIDE, HALF = Frame(860, 240), Frame(424, 190)


class Band(NamedTuple):
    """A stretch of time with a name; shaded where it is not what the lines show."""

    start_s: float
    end_s: float
    label: str
    shaded: bool = False


class Axis(NamedTuple):
    """Values to px. Ticks are round; labels count in `unit`: its size, its name."""

    ticks: list[float]
    low: float
    high: float
    start: float
    end: float
    log: bool = False
    unit: tuple[float, str] = (1, "")

    def at(self, value: float) -> float:
        """Where a value stands; beyond the ends at the ends."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def linear_axis(
    low: float, high: float, ends: tuple[float, float], room: int = 4, *, tight: bool = False
) -> Axis:
    """An axis with about `room` round steps from at most `low` to at least `high`.

    Args:
        low: must be shown; equal to `high` is fine.
        high: must be shown.
        ends: px.
        room: how many steps there is place for.
        tight: ends at `low` and `high`, not at a tick.
    """
    if high <= low:
        low, high = (low * 0.9, low * 1.1) if low else (0.0, 1.0)
    rough = (high - low) / room
    power = 10.0 ** math.floor(math.log10(rough))
    round_ones = (1, 2, 5, 10) if tight else (1, 2, 2.5, 5, 10)
    step = next(m * power for m in round_ones if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 0.001), math.ceil(high / step - 0.001)
    ticks = [round(step * i, 10) for i in range(first, last + 1)]
    if tight:
        return Axis([tick for tick in ticks if low <= tick <= high], low, high, *ends)
    return Axis(ticks, ticks[0], ticks[-1], *ends)


def log_axis(
    low: float, high: float, ends: tuple[float, float], room: int = 8, *, tight: bool = False
) -> Axis:
    """The same, logarithmic; `low` above 0."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ticks = [multiple * power for power in powers for multiple in (1, 2, 5)]
    if not tight:
        low = max(tick for tick in ticks if tick <= low * 1.001)
        high = min((tick for tick in ticks if tick >= high * 0.999), default=2 * high)
    shown: list[float] = []
    for some in (ticks, powers, powers[::2]):
        shown = [tick for tick in some if low * 0.999 <= tick <= high * 1.001]
        if len(shown) <= room:
            break
    if len(shown) < 2:
        shown = [float(f"{end:.3g}") for end in (low, high)]
    return Axis(shown, low, high, *ends, log=True)


def value_axis(values: Iterable[float], frame: Frame) -> Axis:
    """Upright, linear from 0, or as the frame asks."""
    found = list(values)
    ends = (frame.bottom, TOP)
    if frame.log and found and min(found) > 0 and max(found) > 20 * min(found):
        return log_axis(min(found), max(found), ends, room=frame.height // 24)
    high = max([frame.least, *found]) or 1
    return linear_axis(0 if frame.zero else min([0.9 * high, *found]), high, ends)


def time_axis(end_s: float, frame: Frame) -> Axis:
    """In seconds; beyond ten minutes in minutes."""
    ends, room = (LEFT, frame.right), frame.width // 100
    per, name = (60, " min") if end_s > 600 else (1, " s")
    ticks = linear_axis(0, end_s / per, ends, room, tight=True).ticks
    return Axis([tick * per for tick in ticks], 0, end_s, *ends, unit=(per, name))


def nines(total: int) -> list[float]:
    """1 in 1, in 2, in 10, in 100, ... up to 1 in `total`."""
    return [1.0, 2.0, *(10.0**n for n in range(1, math.floor(math.log10(total) + 1e-9) + 1))]


def grid(y: Axis, right: float) -> list[str]:
    """The lines and labels of an upright axis."""
    parts = [f'<path class="grid" d="M{LEFT} {y.at(tick):.1f}H{right}"/>' for tick in y.ticks]
    return parts + [svg.text(LEFT - 8, y.at(tick) + 4, svg.label(tick), "y") for tick in y.ticks]


def below(x: Axis, frame: Frame, top: float | None = None) -> list[str]:
    """The labels of a level axis; with `top`, upright grid lines from there."""
    lines = [] if top is None else [f"M{x.at(tick):.1f} {top}V{frame.bottom}" for tick in x.ticks]
    labels = [(x.at(tick), svg.label(tick / x.unit[0]) + x.unit[1]) for tick in x.ticks]
    return [f'<path class="grid" d="{line}"/>' for line in lines] + [
        svg.text(min(at, frame.width - len(said) * LETTER / 2), frame.height - 8, said, "x")
        for at, said in labels
    ]


def band_marks(bands: Iterable[Band], x: Axis, frame: Frame) -> list[str]:
    """Shades, borders, and the names that have room; a long name may do with its last word."""
    parts = []
    for band in bands:
        start, end = x.at(band.start_s), x.at(band.end_s)
        if band.shaded:
            parts.append(svg.rect("shade", (start, end), (TOP, frame.bottom)))
        elif start > LEFT:
            parts.append(f'<path class="border" d="M{start:.1f} {TOP}V{frame.bottom}"/>')
        names = (band.label, *band.label.split()[-1:])
        fit = (name for name in names if (len(name) + 0.5) * LETTER < end - start)
        parts.append(svg.text((start + end) / 2, TOP - 8, next(fit, ""), "x band"))
    return parts


def merge_bands(bands: Iterable[Band]) -> list[Band]:
    """Neighbours that say the same become one."""
    merged: list[Band] = []
    for band in bands:
        if merged and merged[-1]._replace(start_s=0) == band._replace(
            start_s=0, end_s=band.start_s
        ):
            merged[-1] = merged[-1]._replace(end_s=band.end_s)
        else:
            merged.append(band)
    return merged
