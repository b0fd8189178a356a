"""Charts over time: the seconds of the candidate, its server and the machine meanwhile. Pure."""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup

from loadtest import charts
from loadtest.axes import HALF, WIDE, Band, Frame, merge_bands
from loadtest.charts import Slice, Timeline
from loadtest.result import Result, Run, Second, Stage, Tick

MAX_POINTS = 300  # on a line; a longer run is thinned
HALF_TICK_S = 0.5  # a tick belongs to the piece that holds its middle
FIRST = "Latency over time"  # of the charts of a scenario
LOW = WIDE._replace(height=160, least=4)
WORDS = {  # CSS classes that do not speak for themselves
    "scheduled": "from scheduled",
    "sent": "from sent",
    "sent-p99": "p99 from sent",
    "queue": "queue wait",
    "host": "in use",
}
Lines = Mapping[str, list[float | None]]
CPU = {"host": "host_cpu_ratio", "steal": "steal_ratio"}
LOG, NOT_FROM_0 = HALF._replace(log=True), HALF._replace(zero=False)
SERVER: tuple[tuple[str, str, float, Frame, dict[str, str]], ...] = (  # CSS class -> field of Tick
    ("Queue and engine", "ms, mean", 1000, LOG, {"queue": "queue_s", "engine": "engine_s"}),
    ("Batch size", "texts, mean", 1, HALF, {"batch": "batch_size"}),
    ("Server CPU", "% of a core", 100, HALF, {"server": "server_cpu_ratio"}),
    ("Server memory", "MB", 1e-6, NOT_FROM_0, {"memory": "server_rss_bytes"}),
    ("Generator CPU", "% of a core", 100, HALF, {"generator": "generator_cpu_ratio"}),
    ("Machine CPU", "% of all cores", 100, HALF, CPU),
)
SHADED = {"baseline": "baseline", "calibration": "A/A"}


class Chart(NamedTuple):
    """A chart with what stands above it: legend entries are (CSS class, words)."""

    title: str
    unit: str
    legend: dict[str, str]
    svg: Markup


class Piece(NamedTuple):
    """Some seconds of the candidate that become one point; `start_s` is on the page's time axis."""

    run: Run
    seconds: list[Second]
    start_s: float

    @property
    def width_s(self) -> float:
        """How long it is."""
        return sum(second.width_s for second in self.seconds)


def laid_out(result: Result, scenario: str) -> tuple[list[Piece], list[Band]]:
    """The measured stages of a scenario one after another: warm-ups, gaps, others left out."""
    stages = [(run, s) for run in result.runs for s in run.measured if s.scenario == scenario]
    mine = [stage for _, stage in stages if stage.role == "candidate"]
    size = math.ceil(sum(len(stage.seconds) for stage in mine) / MAX_POINTS)
    name = _stage_name(mine, searched=result.capacity is not None)
    pieces, bands, now_s = [], [], 0.0
    for run, stage in stages:
        candidate = stage.role == "candidate"
        label = name(stage) if candidate else SHADED[stage.role]
        bands.append(Band(now_s, now_s + stage.duration_s, label, shaded=not candidate))
        for first in range(0, len(stage.seconds) if candidate else 0, size):
            seconds = stage.seconds[first : first + size]
            pieces.append(Piece(run, seconds, now_s + seconds[0].at_s - stage.start_s))
        now_s += stage.duration_s
    return pieces, merge_bands(bands)


def _stage_name(stages: list[Stage], *, searched: bool) -> Callable[[Stage], str]:
    """What tells the stages of a scenario apart: their rate, their round, or their name."""
    if searched:
        return lambda stage: f"{stage.rate_rps or 0:,.4g}"
    if len({stage.round for stage in stages}) > 1:
        return lambda stage: f"round {stage.round + 1}"
    return lambda stage: stage.name if len({s.name for s in stages}) > 1 else ""


def over_time(pieces: list[Piece], bands: list[Band]) -> list[Chart]:
    """Latency, throughput, backlog."""
    closed = any(piece.run.arrivals == "closed" for piece in pieces)
    latency = {name: _worst(pieces, f"{name}_s", 1000) for name in ("max", "p95", "p50")}
    if not closed:
        latency["sent-p99"] = _worst(pieces, "sent_p99_s", 1000)
    rates = {
        "good": _rate(pieces, "good"),
        "answered": _rate(pieces, "ok"),
        "failed": _rate(pieces, "failed"),
    }
    if not any(rates["failed"]):
        del rates["failed"]
    if not closed:
        rates = {"offered": _rate(pieces, "offered")} | rates
    counted = "ms" if closed else "ms, from scheduled"
    backlog = {"backlog": _worst(pieces, "backlog")}
    where = (pieces, bands)
    drawn = [
        _chart(FIRST, counted, latency, where, WIDE._replace(log=True)),
        _chart("Throughput over time", "requests/s", rates, where, WIDE),
    ]
    if closed:  # its backlog is always its users
        return drawn
    return [*drawn, _chart("Backlog", "requests sent and not answered", backlog, where, LOW)]


def server(pieces: list[Piece], bands: list[Band]) -> list[Chart]:
    """What was seen of the server and the machine; no chart of what was not."""
    ticks = _Ticks(pieces)
    found = []
    for title, unit, factor, frame, fields in SERVER:
        lines = {name: ticks.mean(field, factor) for name, field in fields.items()}
        if any(value is not None for values in lines.values() for value in values):
            found.append(_chart(title, unit, lines, (pieces, bands), frame))
    return found


class _Ticks:
    """The candidate's ticks, laid on the pieces in whose time they ended."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._of_pieces: list[list[Tick]] = []
        of_runs = {id(piece.run): piece.run for piece in pieces}
        mine = {key: [t for t in run.ticks if t.target == 0] for key, run in of_runs.items()}
        for piece in pieces:
            ticks, start_s = mine[id(piece.run)], piece.seconds[0].at_s
            ends = (start_s + HALF_TICK_S, start_s + piece.width_s + HALF_TICK_S)
            first, last = (bisect_left(ticks, end, key=lambda t: t.at_s) for end in ends)
            self._of_pieces.append(ticks[first:last])

    def mean(self, field: str, factor: float) -> list[float | None]:
        """Of a field, per piece; None where nothing was seen."""
        known = (_known(ticks, field) for ticks in self._of_pieces)
        return [factor * fmean(values) if values else None for values in known]


def _chart(
    title: str, unit: str, lines: Lines, where: tuple[list[Piece], list[Band]], frame: Frame
) -> Chart:
    pieces, bands = where
    slices = []
    for number, piece in enumerate(pieces):
        values = {WORDS.get(name, name): line[number] for name, line in lines.items()}
        said = ", ".join(f"{n} {_number(value)}" for n, value in values.items())
        silent = any(second.offered and not second.ok for second in piece.seconds)
        note = f"{piece.start_s:,.0f} s: {said}"
        slices.append(Slice(piece.start_s, piece.start_s + piece.width_s, note, alarm=silent))
    drawn = charts.time_chart(f"{title} in {unit}", lines, Timeline(slices, bands), frame)
    legend = {name: WORDS.get(name, name) for name in lines} if len(lines) > 1 else {}
    if title == FIRST:  # once is enough
        shaded = dict.fromkeys(band.label for band in bands if band.shaded)
        legend |= {"shade": " and ".join(shaded)} if shaded else {}
        legend |= {"alarm": "nothing answered"} if any(s.alarm for s in slices) else {}
    return Chart(title, unit, legend, drawn)


def _worst(pieces: list[Piece], field: str, factor: float = 1) -> list[float | None]:
    known = (_known(piece.seconds, field) for piece in pieces)
    return [factor * max(values) if values else None for values in known]


def _known(rows: Sequence[Second | Tick], field: str) -> list[float]:
    return [value for row in rows if (value := getattr(row, field)) is not None]


def _rate(pieces: list[Piece], field: str) -> list[float | None]:
    return [sum(_known(piece.seconds, field)) / (piece.width_s or 1.0) for piece in pieces]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
