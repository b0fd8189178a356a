"""SVG as text: shapes at px, every note and name escaped. Colours and fonts are CSS classes."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

AREAS = {"good", "backlog"}  # lines that are filled down to the axis


def svg(title: str, parts: Iterable[str], size: tuple[int, int]) -> Markup:
    """A drawing of width and height, with a title for those who cannot see it."""
    box = f'viewBox="0 0 {size[0]} {size[1]}"'
    label = f'role="img" aria-label="{Markup.escape(title)}"'
    return Markup(f"<svg {box} {label}>{''.join(parts)}</svg>")  # noqa: S704 - texts are escaped


def rect(name: str, x: tuple[float, float], y: tuple[float, float], note: str = "") -> str:
    """From left to right and from top to bottom; the note is shown on hovering."""
    place = f'x="{x[0]:.1f}" y="{y[0]:.1f}" width="{x[1] - x[0]:.1f}" height="{y[1] - y[0]:.1f}"'
    return f'<rect class="{name}" {place}>{_note(note)}</rect>'


def circle(name: str, x: float, y: float, note: str = "") -> str:
    """A dot."""
    return f'<circle class="dot {name}" cx="{x:.1f}" cy="{y:.1f}" r="5">{_note(note)}</circle>'


def cross(name: str, x: float, y: float, note: str = "") -> str:
    """An x in place of a dot."""
    path = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    return f'<path class="cross {name}" d="{path}">{_note(note)}</path>'


def text(x: float, y: float, said: str, name: str) -> str:
    """Words; nothing for none."""
    shown = f'<text class="{name}" x="{x:.1f}" y="{y:.1f}">{Markup.escape(said)}</text>'
    return shown if said else ""


def label(value: float) -> str:
    """A round number."""
    return f"{value:,.10g}"


def line(name: str, points: Sequence[tuple[float, float]], bottom: float) -> str:
    """Through points in px; an area reaches down to `bottom`."""
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    drawn = f'<path class="line {name}" d="M{path}{"h0" if len(points) == 1 else ""}"/>'
    if name not in AREAS:
        return drawn
    under = f"M{points[0][0]:.1f} {bottom}L{path}V{bottom}Z"
    return f'<path class="area {name}" d="{under}"/>{drawn}'


def _note(said: str) -> Markup:
    return Markup("<title>{}</title>").format(said) if said else Markup()
