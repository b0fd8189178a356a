"""Inline SVG charts: numbers in, markup out. Colours and fonts come from the page's CSS."""

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 860, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 848, 12, 200  # the plot's edges


def line_chart(
    title: str, lines: Mapping[str, Sequence[float | None]], notes: Sequence[str], seconds: float
) -> Markup:
    """One line per CSS class over time; None leaves a gap.

    Args:
        title: read out to those who cannot see the chart.
        lines: CSS class -> one value per equal slice of the time, at least 0.
        notes: what each slice says when pointed at.
        seconds: the time they cover.
    """
    slices = len(notes)
    top = nice_ticks(max((v for line in lines.values() for v in line if v is not None), default=1))
    width = (RIGHT - LEFT) / slices
    parts = _y_axis(top) + _time_axis(seconds)
    for name, values in lines.items():
        points = [
            None if v is None else (LEFT + (i + 0.5) * width, _y(v, top[-1]))
            for i, v in enumerate(values)
        ]
        parts += [_path(name, run) for run in _runs(points)]
    parts += [_hover(LEFT + i * width, width, note) for i, note in enumerate(notes)]
    return _svg(title, parts)


def histogram(
    title: str, edges: Sequence[float], counts: Sequence[int], marks: dict[str, float], unit: str
) -> Markup:
    """Bars over a logarithmic axis, with named marks.

    Args:
        title: read out to those who cannot see the chart.
        edges: one more than `counts`, ascending, above 0.
        counts: the height of each bar.
        marks: name -> where it stands; drawn as upright lines.
        unit: of `edges` and `marks`.
    """
    low, high = math.log10(edges[0]), math.log10(edges[-1])

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * (RIGHT - LEFT)

    top = nice_ticks(max(counts))
    parts = _y_axis(top)
    for start, end, count in zip(edges, edges[1:], counts, strict=False):
        bar_top = _y(count, top[-1])
        note = f"{start:.3g} to {end:.3g} {unit}: {count:,}"
        parts.append(
            f'<rect class="bar" x="{x(start) + 0.5:.1f}" width="{x(end) - x(start) - 1:.1f}" '
            f'y="{bar_top:.1f}" height="{BOTTOM - bar_top:.1f}"/>'
        )
        parts.append(_hover(x(start), x(end) - x(start), note))
    parts += [_text(x(tick), BOTTOM + 20, f"{tick:g}", "x") for tick in _log_ticks(low, high)]
    for row, (name, value) in enumerate(marks.items()):
        at = min(max(x(value), LEFT), RIGHT)
        side, shift = ("end", -5) if at > (LEFT + RIGHT) / 2 else ("start", 5)
        parts.append(f'<path class="mark" d="M{at:.1f} {TOP}V{BOTTOM}"/>')
        parts.append(_text(at + shift, TOP + 11 + 15 * row, name, f"mark-name {side}"))
    return _svg(title, parts)


def nice_ticks(highest: float) -> list[float]:
    """Three to six round values from 0 up to at least `highest`."""
    rough = (highest or 1) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    return [round(step * i, 10) for i in range(math.ceil((highest or 1) / step * 0.999) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return inside if len(inside) > 1 else [float(f"{10**end:.3g}") for end in (low, high)]


def _y(value: float, highest: float) -> float:
    return BOTTOM - value / highest * (BOTTOM - TOP)


def _y_axis(ticks: list[float]) -> list[str]:
    parts = []
    for tick in ticks:
        y = _y(tick, ticks[-1])
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:,g}", "y"))
    return parts


def _time_axis(seconds: float) -> list[str]:
    ticks = [tick for tick in nice_ticks(seconds) if tick <= seconds]
    x = (LEFT + tick / seconds * (RIGHT - LEFT) for tick in ticks)
    return [_text(at, BOTTOM + 20, f"{tick:g} s", "x") for at, tick in zip(x, ticks, strict=True)]


def _runs(points: Iterable[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    runs: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _path(name: str, run: list[tuple[float, float]]) -> str:
    points = "L".join(f"{x:.1f} {y:.1f}" for x, y in run)
    return f'<path class="line {name}" d="M{points}{"h0" if len(run) == 1 else ""}"/>'


def _hover(x: float, width: float, note: str) -> str:
    place = f'x="{x:.1f}" y="{TOP}" width="{width:.2f}" height="{BOTTOM - TOP}"'
    return f'<rect class="hover" {place}><title>{Markup.escape(note)}</title></rect>'


def _text(x: float, y: float, text: str, name: str) -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{Markup.escape(text)}</text>'


def _svg(title: str, parts: Iterable[str]) -> Markup:
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{Markup.escape(title)}"'
    return Markup(f"<svg {box}>{''.join(parts)}</svg>")  # noqa: S704 - every text is escaped above
