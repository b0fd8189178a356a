"""A judgement is said alike by the verdict, the terminal and every report."""

from loadtest.result import Judgement, Outcome
from loadtest.row import row, sentence


def made(
    metric: str,
    outcome: Outcome,
    found: tuple[float | None, float | None, float | None],
    limit: float,
    **changes: object,
) -> Judgement:
    """An objective, with value, low and high as found."""
    fields: dict[str, object] = {
        "objective": f"steady: {metric} limit {limit:g}",
        "scenario": "steady",
        "metric": metric,
        "relative": False,
        "severity": "fail",
        "outcome": outcome,
        "value": found[0],
        "low": found[1],
        "high": found[2],
        "limit": limit,
        "unit": "s" if metric.startswith("p") else "ratio",
        "samples": 6000,
    }
    return Judgement(**(fields | changes))  # type: ignore[arg-type]


def test_a_comparison_is_shown_as_a_change() -> None:
    """1.052 is 5.2 % more; a ratio of requests changes by points."""
    ratio = made("p95", "pass", (1.052, 1.04, 1.061), 1.1, relative=True, unit="x", samples=5)
    assert row(ratio)[1:5] == ("+5.2 %", "+4.0 to +6.1 %", "≤ +10 %", "5 pairs")
    points = row(made("goodput", "pass", (-0.002, -0.004, 0.0), -0.01, relative=True))
    assert (points.measured, points.limit) == ("-0.20 points", "≥ -1 points")


def test_what_was_never_answered_is_infinite() -> None:
    """The whole interval, or its upper end."""
    late = row(made("p99", "fail", (None, None, None), 0.05))
    assert (late.measured, late.interval, late.limit) == ("∞", "∞", "≤ 50 ms")
    half = made("p99", "fail", (0.9, 0.7, None), 0.05)
    assert row(half).interval == "700 ms to ∞"
    assert sentence(half) == "steady: p99 limit 0.05: 900 ms (700 ms to ∞)"


def test_what_was_not_seen_is_a_dash() -> None:
    """Memory, whatever its unit; a round without an answer in a comparison."""
    nothing = (None, None, None)
    memory = made("memory_growth", "inconclusive", nothing, 24e6, unit="bytes", samples=0)
    assert row(memory)[1:4] == ("-", "-", "≤ 24 MB")
    ratio = memory.model_copy(update={"unit": "ratio", "limit": 0.1})
    assert row(ratio)[1:4] == ("-", "-", "≤ 10 %")
    compared = made("p99", "inconclusive", nothing, 1.05, relative=True, unit="x", samples=5)
    assert row(compared)[1:4] == ("-", "-", "≤ +5 %")
    endless = compared.model_copy(update={"p_value": 0.004})
    assert row(endless).measured == "∞"


def test_p_value_comes_before_the_detail() -> None:
    """A very small one is not 0."""
    small = made("p50", "regression", (1.2, 1.1, 1.3), 1.1, p_value=0.0002, detail="Slower.")
    assert row(small).detail == "p < 0.001. Slower."
