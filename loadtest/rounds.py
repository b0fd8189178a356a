"""Rounds, the repetitions of a workload, and what an objective finds in one."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from loadtest.result import OK, Role, Run, Stage, latencies
from loadtest.slo import ErrorRatio, Goodput, Latency, MemoryGrowth, Objective


class Round(NamedTuple):
    """The measured stages of one role in one repetition of a workload, and the memory meanwhile."""

    stages: list[Stage]
    rss_bytes: list[int]


def rounds_of(
    runs: Sequence[Run], scenario: str, role: Role, stage: str | None = None
) -> list[Round]:
    """The rounds of a scenario in which a role was loaded, in their order; of one stage if named.

    Repetitions are told apart by their run and by `Stage.round`.
    """
    found: dict[tuple[int, int], tuple[Run, list[Stage]]] = {}
    for number, run in enumerate(runs):
        for each in run.measured:
            if (each.scenario, each.role) == (scenario, role) and stage in (None, each.name):
                found.setdefault((number, each.round), (run, []))[1].append(each)
    target = 0 if role == "candidate" else 1
    return [Round(stages, _rss_bytes(run, stages, target)) for run, stages in found.values()]


def _rss_bytes(run: Run, stages: Sequence[Stage], target: int) -> list[int]:
    return [
        tick.server_rss_bytes
        for tick in run.ticks
        if tick.target == target
        and tick.server_rss_bytes is not None
        and any(0 < tick.at_s - each.start_s <= each.duration_s for each in stages)
    ]


def value_of(objective: Objective, of: Round) -> float:
    """The metric of one round, for memory the largest; infinite or NaN where there is none."""
    if isinstance(objective, MemoryGrowth):
        return float(max(of.rss_bytes, default=math.nan))
    if isinstance(objective, Latency):
        return latencies(of.stages, objective.requests).quantile(objective.fraction)
    bad, total = bad_of(objective, of.stages)
    counted = total - bad if isinstance(objective, Goodput) else bad
    return counted / total if total else math.nan


def bad_of(objective: ErrorRatio | Goodput, stages: Sequence[Stage]) -> tuple[int, int]:
    """Requests without a proper answer, for a goodput without one in time; and all."""
    kind = objective.requests
    groups = [each for stage in stages for each in stage.groups if kind in (None, each.kind)]
    offered = sum(group.offered for group in groups)
    if isinstance(objective, Goodput):
        return offered - latencies(list(stages), kind).within(objective.deadline_s), offered
    return offered - sum(group.outcomes.get(OK, 0) for group in groups), offered
