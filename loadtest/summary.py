"""Stages in plain numbers, for programs that read the JSON without an HDR library."""

import math

from loadtest.result import OK, Role, Stage, Summary, latencies


def summarise(stages: list[Stage]) -> list[Summary]:
    """The stages by scenario and role, in the order of their first."""
    parts: dict[tuple[str, Role], list[Stage]] = {}
    for stage in stages:
        parts.setdefault((stage.scenario, stage.role), []).append(stage)
    return [_summary(*key, part) for key, part in parts.items()]


def _summary(scenario: str, role: Role, stages: list[Stage]) -> Summary:
    groups = [group for stage in stages for group in stage.groups]
    seconds = sum(stage.duration_s for stage in stages)
    offered = sum(group.offered for group in groups)
    ok = sum(group.outcomes.get(OK, 0) for group in groups)
    due, sent = latencies(stages), latencies(stages, sent=True)
    quantiles = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return Summary(
        scenario=scenario,
        role=role,
        users=stages[0].users,
        requests=offered,
        failed=offered - ok,
        offered_rps=offered / seconds if seconds else 0.0,
        ok_rps=ok / seconds if seconds else 0.0,
        good_ratio=sum(group.good for group in groups) / offered if offered else 0.0,
        **{f"{name}_s": _finite(due.quantile(q)) for name, q in quantiles.items()},
        **{f"sent_{n}_s": _finite(sent.quantile(quantiles[n])) for n in ("p50", "p95", "p99")},
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
