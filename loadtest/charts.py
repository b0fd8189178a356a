"""Inline SVG charts: numbers in, markup out. Colours and fonts come from the page's CSS."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from markupsafe import Markup

from loadtest import axes, svg
from loadtest.axes import HALF, LEFT, TOP, WIDE, Axis, Band, Frame
from loadtest.quantity import show_rate
from loadtest.result import Step


class Slice(NamedTuple):
    """A stretch of time with one value per line; `alarm`: nothing was answered in it."""

    start_s: float
    end_s: float
    note: str
    alarm: bool = False


class Timeline(NamedTuple):
    """The time axis that the charts of one page share; slices in order, bands side by side."""

    slices: Sequence[Slice]
    bands: Sequence[Band] = ()


class Bar(NamedTuple):
    """A row of `bars`: what was offered, what came of it, and words for it."""

    name: str
    offered: float
    good: float
    words: str


def time_chart(
    title: str, lines: Mapping[str, Sequence[float | None]], time: Timeline, frame: Frame = WIDE
) -> Markup:
    """One line per CSS class over time; None and infinity leave a gap, and so does time between.

    Args:
        title: read out to those who cannot see the chart.
        lines: CSS class -> one value per slice, at least 0.
        time: what the lines stand on.
        frame: its size; a logarithmic one falls back to linear if a value is 0.
    """
    values = [v for line in lines.values() for v in line if v is not None and math.isfinite(v)]
    y = axes.value_axis(values, frame)
    ends_s = [place.end_s for place in time.slices] + [band.end_s for band in time.bands]
    x = axes.time_axis(max(ends_s, default=1.0), frame)
    upright = (TOP, frame.bottom)
    at = [(x.at(place.start_s), x.at(place.end_s)) for place in time.slices]
    parts = [
        *axes.band_marks(time.bands, x, frame),
        *axes.grid(y, frame.right),
        *axes.below(x, frame),
    ]
    parts += [
        svg.rect("alarm", here, upright) for here, s in zip(at, time.slices, strict=True) if s.alarm
    ]
    for name, line in lines.items():
        for points in _runs(time.slices, line):
            parts.append(svg.line(name, [(x.at(s), y.at(value)) for s, value in points], y.start))
    parts += [
        svg.rect("hover", here, upright, s.note) for here, s in zip(at, time.slices, strict=True)
    ]
    return svg.svg(title, parts, frame[:2])


def histogram(
    title: str,
    edges: Sequence[float],
    series: Mapping[str, Sequence[int]],
    marks: Mapping[str, float],
    never: int = 0,
) -> Markup:
    """Bars over a logarithmic axis, with named marks; a second series is drawn as an outline.

    Args:
        title: read out to those who cannot see the chart.
        edges: in ms, one more than there are bars, ascending, above 0.
        series: CSS class -> the height of each bar.
        marks: name -> where it stands in ms; infinite ones are left out.
        never: requests that stand to the right of all bars.
    """
    frame = WIDE
    right = frame.right - (76 if never else 0)
    x = axes.log_axis(edges[0], edges[-1], (LEFT, right), room=14, tight=True)
    y = axes.value_axis([never, *(count for counts in series.values() for count in counts)], frame)
    parts = [*axes.grid(y, frame.right), *axes.below(x, frame)]
    at = [(x.at(low), x.at(high)) for low, high in pairwise(edges)]
    for number, (name, counts) in enumerate(series.items()):
        tops = [(low, high, _top(y, n)) for (low, high), n in zip(at, counts, strict=True)]
        if number:
            parts.append(_outline(name, tops))
        else:
            parts += [svg.rect(f"bar {name}", (a, b), (top, y.start)) for a, b, top in tops]
    if never:
        middle = frame.right - 28
        parts.append(svg.rect("bar failed", (middle - 16, middle + 16), (_top(y, never), y.start)))
        parts.append(svg.text(middle, frame.height - 8, "never", "x"))
        parts.append(svg.text(middle, y.at(never) - 5, f"{never:,}", "x ink"))
    parts += _marks({k: x.at(v) for k, v in marks.items() if math.isfinite(v)}, frame, right)
    for here, ends, *counts in zip(at, pairwise(edges), *series.values(), strict=True):
        said = ", ".join(f"{n:,} {name}" for name, n in zip(series, counts, strict=True))
        note = f"{ends[0]:.3g} to {ends[1]:.3g} ms: {said}"
        parts.append(svg.rect("hover", here, (TOP, frame.bottom), note))
    return svg.svg(title, parts, frame[:2])


def percentile_chart(
    title: str,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    limits: Sequence[tuple[float, float, str]],
    requests: tuple[int, int],
) -> Markup:
    """Latency by percentile: each nine takes the same width, so the slow end can be seen.

    Args:
        title: read out to those who cannot see the chart.
        curves: CSS class -> (fraction below 1, ms) in ascending order, finite.
        limits: (fraction, ms, name) of objectives.
        requests: all, and how many of them were never answered: there the curves end.
    """
    frame, (total, never) = WIDE._replace(log=True), requests
    values = [ms for points in curves.values() for _, ms in points] + [ms for _, ms, _ in limits]
    y = axes.value_axis(values, frame)
    x = Axis(axes.nines(max(total, 10)), 1, max(total, 10), LEFT, frame.right, log=True)
    parts = axes.grid(y, frame.right)
    for tick in x.ticks:
        parts.append(f'<path class="grid" d="M{x.at(tick):.1f} {TOP}V{frame.bottom}"/>')
        name = f"{100 * (1 - 1 / tick):.10g} %"
        parts.append(svg.text(min(x.at(tick), frame.right - 16), frame.height - 8, name, "x"))
    for name, points in curves.items():
        line = [(x.at(1 / (1 - fraction)), y.at(ms)) for fraction, ms in points]
        parts += [svg.line(name, line, y.start)] if line else []
    for fraction, ms, name in limits:
        at, height = x.at(1 / (1 - fraction)), y.at(ms)
        parts.append(f'<path class="limit" d="M{at - 14:.1f} {height:.1f}h28"/>')
        parts.append(svg.text(at, height - 6, name, "x ink"))
    if never:
        at = x.at(total / never)
        side, shift = ("end", -8) if at > frame.width / 2 else ("start", 8)
        parts.append(f'<path class="mark failed" d="M{at:.1f} {TOP}V{frame.bottom}"/>')
        parts.append(svg.cross("failed", at, TOP))
        parts.append(svg.text(at + shift, TOP + 4, f"{never:,} never answered", f"ink {side}"))
    return svg.svg(title, parts, frame[:2])


def dots(title: str, rows: Mapping[str, Sequence[float]], unit: str) -> Markup:
    """One row of dots per CSS class, one dot per round, a bar at the median; the infinite right."""
    frame = Frame(HALF.width, 46 + 34 * len(rows))
    finite = [v for row in rows.values() for v in row if math.isfinite(v)]
    ends = (92, frame.right - 24)
    x = axes.linear_axis(min(finite, default=0), max(finite, default=1), ends)
    x = x._replace(unit=(1, f" {unit}"))
    parts = axes.below(x, frame, top=8)
    for number, (name, values) in enumerate(rows.items()):
        y = 28 + 34 * number
        parts.append(svg.text(80, y + 4, name, "y ink"))
        places = [x.at(value) if math.isfinite(value) else frame.right - 6 for value in values]
        if places:
            middle = f"M{median(places):.1f} {y - 12}V{y + 12}"
            parts.append(f'<path class="median" d="{middle}"/>')
        for place, (at, value) in enumerate(zip(places, values, strict=True), 1):
            said = f"{value:,.4g} {unit}" if math.isfinite(value) else "never answered"
            parts.append(svg.circle(name, at, y, f"{name}, round {place}: {said}"))
    return svg.svg(title, parts, frame[:2])


def steps(title: str, tries: Sequence[Step], found: float | None) -> Markup:
    """Rates in the order they were tried: a dot held, a cross did not."""
    frame = WIDE
    y = axes.value_axis([found or 0, *(step.rate_rps for step in tries)], frame)
    x = axes.linear_axis(0, max(len(tries), 1), (LEFT, frame.right), tight=True)
    phases = axes.merge_bands(Band(i, i + 1, step.phase) for i, step in enumerate(tries))
    parts = [*axes.band_marks(phases, x, frame), *axes.grid(y, frame.right)]
    if found:
        parts.append(f'<path class="mark good" d="M{LEFT} {y.at(found):.1f}H{frame.right}"/>')
    for number, step in enumerate(tries):
        at, draw = x.at(number + 0.5), svg.circle if step.held else svg.cross
        note = f"{show_rate(step.rate_rps)}: {step.reason or 'held'}"
        parts.append(draw("good" if step.held else "failed", at, y.at(step.rate_rps), note))
        parts.append(svg.text(at, frame.height - 8, svg.label(round(step.rate_rps, 1)), "x"))
    return svg.svg(title, parts, frame[:2])


def bars(title: str, rows: Sequence[Bar], mark: float | None) -> Markup:
    """Goodput inside of what was offered; an upright line where the capacity lies."""
    frame = Frame(WIDE.width, 40 + 44 * len(rows))
    high = max([mark or 0, *(row.offered for row in rows)])
    x = axes.linear_axis(0, high, (72, frame.right), room=8, tight=True)
    parts = axes.below(x, frame, top=4)
    words = []
    for number, row in enumerate(rows):
        top = 24 + 44 * number
        parts.append(svg.text(62, top + 12, row.name, "y ink"))
        words.append(svg.text(x.start + 6, top - 6, row.words, "ink"))
        for name, value in (("bar offered", row.offered), ("bar good", row.good)):
            parts.append(svg.rect(name, (x.start, x.at(value)), (top, top + 16)))
    if mark:
        parts.append(f'<path class="mark" d="M{x.at(mark):.1f} 4V{frame.bottom}"/>')
    return svg.svg(title, [*parts, *words], frame[:2])


def interval(
    title: str, found: tuple[float, float, float], limit: float, outcome: str, upper: bool
) -> Markup:
    """A measured value with its interval against a limit; the wrong side of it is tinted.

    Args:
        title: read out to those who cannot see it.
        found: low, value, high; infinite ones end in an arrow.
        limit: drawn as an upright line.
        outcome: CSS class.
        upper: whether the wrong side is above the limit.
    """
    frame = Frame(150, 26)
    known = [limit, *(value for value in found if math.isfinite(value))]
    margin = 0.18 * (max(known) - min(known)) or abs(limit) * 0.1 or 1.0
    x = Axis([], min(known) - margin, max(known) + margin, 4, frame.width - 4)
    at, (low, value, high) = x.at(limit), map(x.at, found)
    parts = [
        svg.rect("wrong", (at, frame.width) if upper else (0, at), (3, 23)),
        f'<path class="limit" d="M{at:.1f} 1V25"/>',
        f'<path class="range {outcome}" d="M{low:.1f} 13H{max(high, low + 0.1):.1f}"/>',
    ]
    if math.isinf(found[2]):
        parts.append(f'<path class="range {outcome}" d="M{high - 5} 8l5 5l-5 5"/>')
    if math.isfinite(found[1]):
        parts.append(f'<circle class="value {outcome}" cx="{value:.1f}" cy="13" r="4.5"/>')
    return svg.svg(title, parts, frame[:2])


def _runs(
    slices: Sequence[Slice], line: Sequence[float | None]
) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap, as (middle of the slice, value)."""
    points: list[tuple[float, float]] = []
    end_s = -math.inf
    for place, value in zip(slices, line, strict=True):
        there = value is not None and math.isfinite(value)
        if points and (not there or place.start_s > end_s + 0.001):
            yield points
            points = []
        if value is not None and there:
            points.append(((place.start_s + place.end_s) / 2, value))
        end_s = place.end_s
    if points:
        yield points


def _marks(places: Mapping[str, float], frame: Frame, right: float) -> list[str]:
    parts = []
    for number, (name, at) in enumerate(places.items()):
        side, shift = ("end", -5) if at > (LEFT + right) / 2 else ("start", 5)
        parts.append(f'<path class="mark" d="M{at:.1f} {TOP - 12}V{frame.bottom}"/>')
        parts.append(svg.text(at + shift, TOP - 2 + 15 * number, name, f"ink {side}"))
    return parts


def _top(y: Axis, count: float) -> float:
    """Of a bar: one request among a million is still seen."""
    return min(y.at(count), y.start - 1.5) if count else y.start


def _outline(name: str, tops: Sequence[tuple[float, float, float]]) -> str:
    path = "".join(f"V{top:.1f}H{end:.1f}" for _, end, top in tops)
    return f'<path class="line {name}" d="M{tops[0][0]:.1f} {tops[0][2]:.1f}{path}"/>'
