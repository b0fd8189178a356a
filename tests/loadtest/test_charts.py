"""Charts are well-formed, escaped and in proportion."""

import re
from xml.etree.ElementTree import fromstring

import pytest

from loadtest import charts


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 0.25, 0.5, 0.75, 1]),
        (7.3, [0, 2, 4, 6, 8]),
        (100, [0, 25, 50, 75, 100]),
        (0.012, [0, 0.005, 0.01, 0.015]),
        (900, [0, 250, 500, 750, 1000]),
    ],
)
def test_ticks_are_round_and_reach_the_highest_value(highest: float, ticks: list[float]) -> None:
    """An axis starts at 0 and ends at or above what it must show."""
    assert charts.nice_ticks(highest) == ticks


def test_line_chart_leaves_a_gap_where_there_is_no_value() -> None:
    """None splits a line in two; 0 and the top tick lie on the plot's edges."""
    svg = charts.line_chart("t", {"p50": [0.0, 100.0, None, 50.0]}, ["a", "b", "c", "d"], 4.0)
    paths = re.findall(r'class="line p50" d="([^"]+)"', svg)
    assert len(paths) == 2
    assert paths[0].endswith(f" {charts.TOP}.0")
    assert f" {charts.BOTTOM}.0L" in paths[0]


def test_every_text_in_a_chart_is_escaped() -> None:
    """A title or a note cannot add markup."""
    svg = charts.line_chart('"><script>', {"p50": [1.0]}, ["<b>&"], 1.0)
    assert "<script>" not in svg
    assert fromstring(svg).findtext("rect/title") == "<b>&"  # noqa: S314 - our own markup


def test_bar_heights_are_in_proportion_to_the_counts() -> None:
    """Twice the count is twice the height, and an empty bin has none."""
    svg = charts.histogram("t", [1, 2, 4, 8], [10, 0, 20], {"p50": 2.0}, "ms")
    heights = [float(h) for h in re.findall(r'class="bar".*?height="([\d.]+)"', svg)]
    assert heights[1] == 0
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.1)
    fromstring(svg)  # noqa: S314 - our own markup


def test_narrow_histogram_still_labels_its_axis() -> None:
    """Between two round values the ends of the axis are labelled."""
    svg = charts.histogram("t", [2.24, 2.51], [3], {}, "ms")
    assert ">2.24<" in svg
    assert ">2.51<" in svg
