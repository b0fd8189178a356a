"""Charts are well-formed, escaped and in proportion, whatever the numbers."""

import math
import re
from xml.etree.ElementTree import Element, fromstring

import pytest
from markupsafe import Markup

from loadtest import axes, charts
from loadtest.axes import HALF, TOP, WIDE, Axis, Band
from loadtest.charts import Bar, Slice, Timeline
from loadtest.result import Step

ENDS = (0.0, 100.0)
FOUR = Timeline([Slice(i, i + 1, f"note {i}") for i in range(4)])


def _drawn(svg: Markup) -> Element:
    """The chart as a tree; no number in it is broken, nothing lies outside of it."""
    tree = fromstring(svg)  # noqa: S314 - our own markup
    assert not re.search(r"\b(nan|inf)\b", re.sub(r">[^<]*<|aria-label=\"[^\"]*\"", "", svg))
    width, height = map(float, tree.attrib["viewBox"].split()[2:])
    for rect in tree.iter("rect"):
        assert 0 <= float(rect.attrib["x"]) <= width
        assert 0 <= float(rect.attrib["y"]) <= height
        assert float(rect.attrib["height"]) >= 0
        assert float(rect.attrib["width"]) >= 0
    assert tree.attrib["role"] == "img"
    assert tree.attrib["aria-label"]
    return tree


def _texts(tree: Element) -> list[str]:
    return [text.text or "" for text in tree.iter("text")]


def _tried(held: bool, reason: str) -> Step:
    return Step(phase="bracket", rate_rps=50.0, held=held, reason=reason)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0, 7.3, [0, 2, 4, 6, 8]),
        (0, 100, [0, 25, 50, 75, 100]),
        (0, 0.012, [0, 0.005, 0.01, 0.015]),
        (211, 243, [210, 220, 230, 240, 250]),
        (5, 5, [4.5, 4.75, 5, 5.25, 5.5]),
    ],
)
def test_ticks_are_round_and_hold_all_values(low: float, high: float, ticks: list[float]) -> None:
    """An axis starts at or below the lowest value and ends at or above the highest."""
    assert axes.linear_axis(low, high, ENDS).ticks == ticks


@pytest.mark.parametrize(("low", "high"), [(3.1, 1400), (0.02, 0.9), (5, 5.2), (1, 1e6), (4, 4)])
def test_logarithmic_axis_holds_all_values_with_few_labels(low: float, high: float) -> None:
    """Ticks are 1, 2, 5 times a power of ten, or the powers alone where they would crowd."""
    axis = axes.log_axis(low, high, ENDS, room=8)
    assert axis.low <= low <= high <= axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert axis.at(axis.low) == ENDS[0]
    assert axis.at(axis.high) == pytest.approx(ENDS[1])


def test_axis_puts_what_lies_beyond_at_its_end() -> None:
    """Infinity included."""
    axis = Axis([], 0, 10, *ENDS)
    assert axis.at(-5) == 0
    assert axis.at(math.inf) == 100


def test_line_chart_leaves_a_gap_where_there_is_no_value() -> None:
    """None and infinity split a line; 0 and the top tick lie on the plot's edges."""
    svg = charts.time_chart("t", {"p50": [0.0, 100.0, None, 50.0]}, FOUR)
    _drawn(svg)
    paths = re.findall(r'class="line p50" d="([^"]+)"', svg)
    assert len(paths) == 2
    assert paths[0].endswith(f" {TOP}.0")
    assert f" {WIDE.bottom}.0L" in paths[0]
    endless = charts.time_chart("t", {"p50": [1.0, math.inf, 1.0, 1.0]}, FOUR)
    assert len(re.findall('class="line p50"', endless)) == 2


def test_line_chart_does_not_join_what_time_keeps_apart() -> None:
    """Between two rounds of the candidate lies one of the baseline."""
    apart = Timeline([Slice(0, 1, "a"), Slice(5, 6, "b")], [Band(1, 5, "baseline", shaded=True)])
    svg = charts.time_chart("t", {"p50": [1.0, 2.0]}, apart)
    assert len(re.findall('class="line p50"', svg)) == 2
    assert svg.count('class="shade"') == 1
    assert "baseline" in _texts(_drawn(svg))


@pytest.mark.parametrize(
    "values", [[0.0] * 4, [None] * 4, [math.inf] * 4, [5.0] * 4, [1e-9, 1e9, 1.0, None]]
)
def test_line_chart_bears_any_values(values: list[float | None]) -> None:
    """Zeros, nothing at all, infinities, one value, a wide range; linear and logarithmic."""
    for frame in (WIDE, HALF._replace(log=True), HALF._replace(zero=False)):
        _drawn(charts.time_chart("t", {"backlog": values}, FOUR, frame))


def test_one_point_is_drawn() -> None:
    """A run of one second has a dot."""
    svg = charts.time_chart("t", {"p50": [3.0]}, Timeline([Slice(0, 1, "a")]))
    _drawn(svg)
    assert re.search(r'class="line p50" d="M[\d. ]+h0"', svg)
    _drawn(charts.time_chart("t", {}, Timeline([])))


def test_seconds_without_an_answer_are_marked() -> None:
    """A gap in a line is easily missed."""
    time = Timeline([Slice(0, 1, "a"), Slice(1, 2, "b", alarm=True)])
    svg = charts.time_chart("t", {"p50": [1.0, None]}, time)
    assert svg.count('class="alarm"') == 1


def test_long_run_counts_in_minutes() -> None:
    """An hour has no label of 3,000 s."""
    svg = charts.time_chart("t", {"p50": [1.0]}, Timeline([Slice(0, 3600, "a")]))
    assert "60 min" in _texts(_drawn(svg))


def test_names_that_have_no_room_are_shortened_or_left_out() -> None:
    """Labels do not run into each other."""
    bands = [Band(i, i + 1, f"round {i + 1}") for i in range(40)]
    slices = [Slice(i, i + 1, "") for i in range(40)]
    texts = _texts(_drawn(charts.time_chart("t", {"p50": [1.0] * 40}, Timeline(slices, bands))))
    assert "40" in texts
    assert "round 40" not in texts


def test_neighbours_of_one_name_are_merged() -> None:
    """Six rounds of A/A are one shade."""
    bands = [Band(0, 1, "A/A", True), Band(1, 2, "A/A", True), Band(3, 4, "A/A", True)]
    assert axes.merge_bands(bands) == [Band(0, 2, "A/A", True), Band(3, 4, "A/A", True)]


def test_every_text_in_a_chart_is_escaped() -> None:
    """A title, a note or a name cannot add markup."""
    bad = '"><script>&'
    band = [Band(0, 60, bad * 2)]
    drawn = [
        charts.time_chart(bad, {"p50": [1.0]}, Timeline([Slice(0, 60, bad)], band)),
        charts.steps(bad, [_tried(True, bad), _tried(False, bad)], 10),
        charts.bars(bad, [Bar(bad, 2, 1, bad)], 1),
        charts.dots(bad, {"candidate": [1.0, 2.0]}, bad),
        charts.percentile_chart(bad, {"sent": [(0.5, 1.0)]}, [(0.5, 1.0, bad)], (2, 0)),
        charts.interval(bad, (1, 2, 3), 4, "pass", True),
    ]
    for svg in drawn:
        assert "<script>" not in svg
        assert _drawn(svg).attrib["aria-label"] == bad


def test_bar_heights_are_in_proportion_and_one_request_is_still_seen() -> None:
    """Twice the count is twice the height, an empty bin has none, one in a million has some."""
    svg = charts.histogram("t", [1, 2, 4, 8], {"scheduled": [10_000, 0, 20_000]}, {"p50": 2.0})
    heights = _heights(svg)
    assert heights[1] == 0
    assert heights[2] == pytest.approx(2 * heights[0], abs=0.2)
    _drawn(svg)
    rare = charts.histogram("t", [1, 2, 4], {"scheduled": [1_000_000, 1]}, {})
    assert _heights(rare)[1] == 1.5


def _heights(svg: str) -> list[float]:
    return [float(h) for h in re.findall(r'class="bar scheduled".*?height="([\d.]+)"', svg)]


def test_histogram_shows_what_was_never_answered() -> None:
    """A bar of its own to the right of all; an infinite percentile has no place on the axis."""
    counts = {"scheduled": [5], "sent": [4]}
    svg = charts.histogram("t", [1, 2], counts, {"p50": 1.5, "p99": math.inf}, 17)
    texts = _texts(_drawn(svg))
    assert "never" in texts
    assert "17" in texts
    assert "p99" not in texts
    assert svg.count('class="line sent"') == 1


def test_narrow_histogram_still_labels_its_axis() -> None:
    """Between two round values the ends of the axis are labelled."""
    texts = _texts(_drawn(charts.histogram("t", [2.24, 2.51], {"scheduled": [3]}, {})))
    assert "2.24" in texts
    assert "2.51" in texts


def test_every_nine_is_as_wide_as_the_last() -> None:
    """90 % to 99 % takes as much room as 99 % to 99.9 %."""
    points = [(0.5, 1.0), (0.9999, 9.0)]
    svg = charts.percentile_chart("t", {"scheduled": points}, [], (10_000, 0))
    places = {text.text: float(text.attrib["x"]) for text in _drawn(svg).iter("text")}
    wide, last = places["99 %"] - places["90 %"], places["99.9 %"] - places["99 %"]
    assert wide == pytest.approx(last, abs=0.2)


def test_percentile_curve_ends_where_requests_were_never_answered() -> None:
    """The mark says how many; no request at all is fine too."""
    svg = charts.percentile_chart("t", {"scheduled": [(0.5, 1.0)]}, [], (100, 20))
    assert "20 never answered" in _texts(_drawn(svg))
    _drawn(charts.percentile_chart("t", {"scheduled": []}, [(0.99, 50.0, "≤ 50 ms")], (1, 1)))


def test_dots_stand_for_rounds() -> None:
    """One for each, each with its number; an infinite one stands at the right edge."""
    svg = charts.dots("t", {"candidate": [1.0, math.inf, 3.0], "baseline": []}, "ms")
    notes = [title.text for title in _drawn(svg).iter("title")]
    assert notes == [
        "candidate, round 1: 1 ms",
        "candidate, round 2: never answered",
        "candidate, round 3: 3 ms",
    ]
    _drawn(charts.dots("t", {"candidate": [0.0, 0.0], "baseline": [0.0]}, "%"))


def test_steps_tell_what_held_by_shape_and_not_only_by_colour() -> None:
    """A dot held, a cross did not."""
    tries = [_tried(True, ""), _tried(False, "p99 too high")]
    svg = charts.steps("t", tries, 50)
    assert svg.count("<circle") == 1
    assert svg.count('class="cross failed"') == 1
    _drawn(svg)
    _drawn(charts.steps("t", [], None))


def test_bars_are_in_proportion() -> None:
    """Half of what was offered came back in time."""
    svg = charts.bars("t", [Bar("2x", 400, 200, "words")], 200)
    offered, good = (
        float(w) for w in re.findall(r'class="bar \w+" x="[\d.]+" y="\d+\.0" width="([\d.]+)"', svg)
    )
    assert good == pytest.approx(offered / 2, abs=0.1)
    _drawn(charts.bars("t", [Bar("2x", 0.0, 0.0, "")], None))


@pytest.mark.parametrize(
    "found",
    [
        (1.0, 2.0, 3.0),
        (2.0, 2.0, 2.0),
        (0.0, 0.0, 0.0),
        (1.0, 2.0, math.inf),
        (math.inf, math.inf, math.inf),
    ],
)
def test_interval_shows_any_measured_value(found: tuple[float, float, float]) -> None:
    """An endless interval ends in an arrow; only a known value has a dot."""
    svg = charts.interval("t", found, 2.0, "fail", upper=True)
    _drawn(svg)
    assert svg.count('class="range fail"') == 1 + math.isinf(found[2])
    assert svg.count("<circle") == math.isfinite(found[1])


def test_wrong_side_of_a_limit_is_above_it_unless_more_is_better() -> None:
    """Goodput is wrong below."""
    upper, lower = (
        charts.interval("t", (1, 2, 3), 2.0, "pass", upper=side) for side in (True, False)
    )
    assert 'class="wrong" x="75.0"' in upper
    assert 'class="wrong" x="0.0"' in lower
