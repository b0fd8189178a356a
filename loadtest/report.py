"""A result for people: headline figures, run facts and one self-contained HTML page. Pure."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest import charts
from loadtest.result import Latency, Result, Second

CLOSED = (
    "Closed workload: each user waits for an answer before sending again. When the server stalls, "
    "the load stalls with it, so these latencies flatter a server that stalls."
)


def to_html(result: Result) -> str:
    """One HTML page that loads nothing from anywhere; every text in it is escaped."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        result=result,
        headline=headline(result),
        facts=facts(result),
        notes=notes(result),
        latency_chart=_latency_chart(result) if result.latency else None,
        histogram=_histogram(result.latency) if result.latency else None,
        throughput_chart=_throughput_chart(result) if result.series else None,
    )


def headline(result: Result) -> dict[str, str]:
    """The figures that matter, by name."""
    latency = result.latency
    seconds = (
        (latency.p50_s, latency.p95_s, latency.p99_s, latency.max_s) if latency else [None] * 4
    )
    return {
        **dict(zip(("p50", "p95", "p99", "max"), map(format_ms, seconds), strict=True)),
        "throughput": f"{result.throughput_rps:,.1f} requests/s",
        "failed": f"{result.failed:,} of {result.requests:,}",
    }


def facts(result: Result) -> dict[str, str]:
    """What was run, by name."""
    plan, generator = result.plan, result.generator
    served = [f"{m.name} version {m.version}" for m in result.models]
    hashes = [m.manifest_sha256 for m in result.models if m.manifest_sha256]
    return {
        "service": plan.url,
        "model": ", ".join(served) or "not listed by the service",
        "manifest sha256": ", ".join(hashes) or "not listed by the service",
        "users": f"{plan.users:,}",
        "duration": f"{result.measured_s:.1f} s, after {plan.warm_up_s} s of warm-up",
        "texts": f"{plan.num_texts:,}, {plan.texts}",
        "started": result.started_at.replace("T", " ").replace("+00:00", " UTC"),
        "generator": f"Locust {generator.locust_version}, {generator.cpu_count} CPUs",
    }


def notes(result: Result) -> list[str]:
    """How far the figures can be trusted, the workload first."""
    lines = [CLOSED]
    if result.generator.cpu_warning:
        lines.append("The load generator ran short of CPU: latencies include its own delay.")
    if result.interrupted:
        lines.append(f"Stopped by hand, before the {result.plan.duration_s} s had passed.")
    return lines


def format_ms(seconds: float | None) -> str:
    """Milliseconds with three significant digits or more; a dash for None."""
    if seconds is None:
        return "-"
    ms = seconds * 1000
    return f"{ms:,.{2 if ms < 10 else 1 if ms < 100 else 0}f} ms"


def _latency_chart(result: Result) -> Markup:
    lines = {
        "max": [_ms(second.max_s) for second in result.series],
        "p95": [_ms(second.p95_s) for second in result.series],
        "p50": [_ms(second.p50_s) for second in result.series],
    }
    said = [
        f"p50 {format_ms(s.p50_s)}, p95 {format_ms(s.p95_s)}, max {format_ms(s.max_s)}"
        for s in result.series
    ]
    return charts.line_chart("Latency over time", lines, _at(said), result.measured_s)


def _throughput_chart(result: Result) -> Markup:
    lines = {
        "rate": [second.throughput_rps for second in result.series],
        "errors": [_failed_rps(second) for second in result.series] if result.failed else [],
    }
    said = [f"{s.throughput_rps:,.0f} requests/s, {s.failed:,} failed" for s in result.series]
    return charts.line_chart("Throughput over time", lines, _at(said), result.measured_s)


def _histogram(latency: Latency) -> Markup:
    marks = {"p50": latency.p50_s, "p95": latency.p95_s, "p99": latency.p99_s}
    bins = latency.histogram
    edges_ms = [edge_s * 1000 for edge_s in bins.edges_s]
    marks_ms = {name: seconds * 1000 for name, seconds in marks.items()}
    return charts.histogram("Latency histogram", edges_ms, bins.counts, marks_ms, "ms")


def _failed_rps(second: Second) -> float:
    answered = second.requests - second.failed
    width_s = answered / second.throughput_rps if answered else 1.0
    return second.failed / width_s


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _at(said: list[str]) -> list[str]:
    return [f"second {number}: {text}" for number, text in enumerate(said)]
