"""A result as one self-contained HTML page. Pure."""

import math
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest import charts, figures
from loadtest.charts import Bar
from loadtest.facts import facts, notes
from loadtest.figures import PERCENTILES
from loadtest.histogram import Distribution
from loadtest.quantity import show_rate
from loadtest.result import Judgement, Result, Stage, latencies
from loadtest.row import is_upper, row, was_seen
from loadtest.timeline import WORDS, Chart, laid_out, over_time, server

NUM_BARS = 64
CURVE_POINTS = 160
MARKS = ("p50", "p95", "p99")


class Part(NamedTuple):
    """The charts of one scenario."""

    name: str
    over_time: list[Chart]
    spread: list[Chart]
    server: list[Chart]
    outcomes: tuple[list[str], list[list[str]]] | None
    details: dict[str, str]
    hint: str


def to_html(result: Result) -> str:
    """One HTML page that loads nothing from anywhere; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scenarios = dict.fromkeys(s.scenario for s in result.stages if s.role == "candidate")
    return environment.get_template("report.html.j2").render(
        result=result,
        figures=figures,
        show_rate=show_rate,
        title=figures.TITLES[result.command],
        facts=facts(result),
        notes=notes(result),
        interval_name=figures.interval_name(result),
        headlines={name: figures.headline(s) for name, s in figures.sections(result).items()},
        rows=[(row(j), _interval(j)) for j in figures.judgements(result)],
        comparisons=[(row(j), _dots(j)) for j in figures.judgements(result) if j.relative],
        capacity=_capacity(result),
        parts=[_part(result, scenario) for scenario in scenarios],
    )


def _interval(judgement: Judgement) -> Markup | None:
    value, low, high = judgement.value, judgement.low, judgement.high
    if not was_seen(judgement):
        return None
    if low is None and high is None:
        low = high = value
    ends = tuple(math.inf if end is None else end for end in (low, value, high))
    said = row(judgement)
    title = f"{said.measured}, limit {said.limit}"
    upper, outcome = is_upper(judgement), judgement.outcome
    return charts.interval(title, ends, judgement.limit, outcome, upper)  # type: ignore[arg-type]


def _dots(judgement: Judgement) -> Markup | None:
    values = figures.round_values(judgement)
    unit = figures.round_unit(judgement)
    title = f"{judgement.metric} of each round in {unit}"
    return charts.dots(title, values, unit) if values else None


def _capacity(result: Result) -> list[Chart]:
    capacity = result.capacity
    if capacity is None:
        return []
    drawn = charts.steps("Rates that were tried", capacity.steps, capacity.rate_rps)
    legend = {"block good": "held", "block failed": "did not hold", "dashed": "the capacity"}
    found = [Chart("Search", "requests/s, in the order they were tried", legend, drawn)]
    if capacity.overload:
        rows = [
            Bar(figures.overload_name(o), o.offered_rps, o.goodput_rps, figures.overload_words(o))
            for o in capacity.overload
        ]
        legend = {
            "block offered": "offered",
            "block good": "good answers",
            "dashed": "the capacity",
        }
        drawn = charts.bars("Goodput under overload", rows, capacity.rate_rps)
        found.append(Chart("Overload", "requests/s", legend, drawn))
    return found


def _part(result: Result, scenario: str) -> Part:
    """Charts over time of all stages; percentiles only of stages that may be merged."""
    merged = {
        name: [stage for stage in stages if stage.scenario == scenario]
        for name, stages in figures.sections(result).items()
    }
    stages = [stage for some in merged.values() for stage in some]
    pieces, bands = laid_out(result, scenario)
    per_point = max((len(piece.seconds) for piece in pieces), default=1)
    return Part(
        scenario,
        over_time=over_time(pieces, bands),
        spread=_spread(result, scenario, stages),
        server=server(pieces, bands),
        outcomes=figures.outcome_table(stages) if stages else None,
        details=figures.details(stages),
        hint=f"Each point is the worst second of {per_point}; rates are means." * (per_point > 1),
    )


def _spread(result: Result, scenario: str, stages: list[Stage]) -> list[Chart]:
    """Percentile curves and histogram of stages that may be merged."""
    closed = any(stage.users is not None for stage in stages)
    at = f", at {show_rate(stages[0].rate_rps)}" if result.capacity and stages else ""
    found = {"scheduled": latencies(stages)}
    if not closed:
        found["sent"] = latencies(stages, sent=True)
    if not found["scheduled"].answered:
        return []
    legend = {} if closed else {name: WORDS[name] for name in found}
    marks = {name: 1000 * found["scheduled"].quantile(PERCENTILES[name]) for name in MARKS}
    edges, series = _binned(found)
    never = found["scheduled"].unanswered
    bars = charts.histogram("Latency histogram", edges, series, marks, never)
    lines = charts.percentile_chart(
        "Latency by percentile",
        {name: _curve(distribution) for name, distribution in found.items()},
        _limits(result, scenario),
        (found["scheduled"].total, never),
    )
    return [
        Chart("Latency by percentile", f"ms{at}", legend, lines),
        Chart("Latency histogram", f"answers by ms, logarithmic{at}", legend, bars),
    ]


def _binned(found: dict[str, Distribution]) -> tuple[list[float], dict[str, list[int]]]:
    """Edges in ms, each the same factor above the last, and the answers between them."""
    values = [value for distribution in found.values() for value in distribution.values_s]
    low, high = min(values) * 999, max(values) * 1001
    high = max(high, low * 1.2)
    edges = [low * (high / low) ** (i / NUM_BARS) for i in range(NUM_BARS + 1)]
    counts = {}
    for name, distribution in found.items():
        below = [distribution.within(edge / 1000) for edge in edges]
        counts[name] = [b - a for a, b in pairwise(below)]
    return edges, counts


def _curve(distribution: Distribution) -> list[tuple[float, float]]:
    """(fraction, ms), evenly over the nines, up to the last answered request."""
    total, never = distribution.total, distribution.unanswered
    nines = math.log10(total / max(never, 1))
    fractions = (1 - 10 ** (-nines * i / CURVE_POINTS) for i in range(CURVE_POINTS + 1))
    points = ((f, 1000 * distribution.quantile(max(f, 1 / total))) for f in fractions)
    return [(min(f, 1 - 1 / (total + 1)), ms) for f, ms in points if math.isfinite(ms)]


def _limits(result: Result, scenario: str) -> list[tuple[float, float, str]]:
    return [
        (PERCENTILES[j.metric], j.limit * 1000, row(j).limit)
        for j in figures.judgements(result)
        if j.metric in PERCENTILES and not j.relative and j.scenario == scenario
    ]
