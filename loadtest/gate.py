"""The release gate: what to run, in which order; `judge.py` decides on what came out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.bench import Bench, new_result, workload_of
from loadtest.comparison import pairs_for
from loadtest.judge import judge
from loadtest.plan import (
    BASELINE,
    CALIBRATION,
    CANDIDATE,
    LEAD_IN_S,
    SWITCH_GAP_S,
    Side,
    alternating,
    open_plan,
)
from loadtest.result import Result, Run
from loadtest.slo import Objective, Slo, describe, requests_for
from loadtest.workload import Workload, WorkloadStage

LEAST_ROUNDS = 5  # the values of one side of a later comparison
CALIBRATION_ROUNDS = 6  # A/A: a standard deviation from fewer is hardly one
START_S = 2.0  # of a generator process, about


class GateError(ValueError):
    """The gate refuses to start, or to go on; the message says why and what to change."""


@dataclass(frozen=True)
class Rehearsal:
    """What one scenario will take, known before it starts.

    Attributes:
        needs: requests by objective.
        rounds: of the workload, at least; in a comparison, of each side.
        loads_baseline: A/A rounds and the baseline's own come on top.
    """

    name: str
    workload: Workload
    needs: dict[str, int]
    rounds: int
    loads_baseline: bool

    @property
    def apart_s(self) -> float:
        """Of one round that is compared, with what keeps it apart."""
        return self.workload.duration_s + SWITCH_GAP_S + LEAD_IN_S

    @property
    def calibration_s(self) -> float:
        """Of the A/A run."""
        return START_S + self.workload.warm_up_s + CALIBRATION_ROUNDS * self.apart_s

    @property
    def seconds(self) -> float:
        """Of the whole scenario, at the least."""
        start_s = START_S + self.workload.warm_up_s
        if not self.loads_baseline:
            return start_s + self.rounds * self.workload.duration_s
        compared_s = start_s + self.workload.warm_up_s + 2 * self.rounds * self.apart_s
        return self.calibration_s + compared_s

    def __str__(self) -> str:
        """For people: what is run, how long, and what each objective asks for."""
        return (
            f"{self.name}: {self.rounds} rounds of {self.workload.duration_s:g} s, "
            f"{self.seconds:.0f} s in all"
            + "".join(f"\n  {n:,} requests for {what}" for what, n in self.needs.items() if n > 1)
        )


def rehearse(slo: Slo, loads_baseline: bool) -> list[Rehearsal]:
    """What each scenario will take.

    Raises:
        GateError: together they take longer than the SLO file allows.
        WorkloadError, TextsError: a workload cannot be used.
    """
    scenarios = [_rehearse(slo, name, loads_baseline) for name in slo.scenarios]
    seconds = sum(scenario.seconds for scenario in scenarios)
    if seconds > slo.max_duration_s:
        name, most = max(
            (need for each in scenarios for need in each.needs.items()), key=lambda need: need[1]
        )
        raise GateError(
            f"the objectives need {seconds:.0f} s, max_duration allows {slo.max_duration_s:.0f} s "
            f"({name} takes {most:,} requests): raise max_duration or a rate, or widen a margin"
        )
    return scenarios


def run_gate(
    bench: Bench,
    slo: Slo,
    scenarios: list[Rehearsal],
    *,
    baseline: tuple[str, Result] | None = None,
    expected_model: str | None = None,
) -> Result:
    """Measure all scenarios and judge them.

    Args:
        bench: the candidate, and a baseline that is loaded in turn with it.
        slo: objectives.
        scenarios: from `rehearse`.
        baseline: path and content of a stored result, instead of a loaded one.
        expected_model: the manifest's SHA-256 that the candidate must serve, or its begin.

    Raises:
        TargetError, RunError: a service is not ready, or Locust failed.
    """
    bench.require_ready()
    before = bench.facts()
    runs: list[Run] = []
    # What the limit leaves beyond the least that all take is shared, for pairs against noise.
    spare_s = (slo.max_duration_s - sum(each.seconds for each in scenarios)) / len(scenarios)
    for scenario in scenarios:
        runs += _run_scenario(bench, slo, scenario, spare_s)
    result = new_result("gate", bench, before, runs)
    path, stored = baseline or (None, None)
    verdict = judge(slo, result, stored, expected_model)
    return result.model_copy(update={"verdict": verdict, "baseline": path})


def _run_scenario(bench: Bench, slo: Slo, scenario: Rehearsal, spare_s: float) -> list[Run]:
    if len(bench.targets) == 1:
        sides = [CANDIDATE] * scenario.rounds
        return [_run_sides(bench, slo, scenario, sides, f"{scenario.rounds} rounds")]
    sides = [CALIBRATION] * CALIBRATION_ROUNDS
    calibration = _run_sides(bench, slo, scenario, sides, "A/A, the baseline against itself")
    pairs = max(scenario.rounds, pairs_for(slo, calibration, scenario.name))
    more = int(spare_s / (2 * scenario.apart_s))  # pairs that there is time for
    pairs = min(pairs, scenario.rounds + more)
    sides = alternating(CANDIDATE, BASELINE, pairs)
    return [calibration, _run_sides(bench, slo, scenario, sides, f"A/B, {pairs} pairs of rounds")]


def _run_sides(bench: Bench, slo: Slo, scenario: Rehearsal, sides: list[Side], label: str) -> Run:
    plan = open_plan(
        bench.urls,
        scenario.workload,
        sides,
        scenario=scenario.name,
        deadline_s=slo.deadline_of(scenario.name),
    )
    return bench.run(plan, f"{scenario.name}: {label}")


def _rehearse(slo: Slo, name: str, loads_baseline: bool) -> Rehearsal:
    workload = workload_of(slo.scenarios[name])
    assert workload.text_pool  # noqa: S101 - read now: a bad file is better known before a run
    needs = {
        describe(each, "", relative=False): math.ceil(
            requests_for(each, slo.confidence) / _share(workload, each)
        )
        for each in slo.objectives_of(name)
    }
    most = max(needs.values(), default=1)
    # A Poisson schedule holds fewer than its mean one time in two: a tenth is added.
    rounds = max(LEAST_ROUNDS, math.ceil(1.1 * most / _requests(workload.stages)))
    return Rehearsal(name, workload, needs, rounds, loads_baseline)


def _share(workload: Workload, objective: Objective) -> float:
    """Which part of a workload's requests counts for an objective."""
    stages = [each for each in workload.stages if objective.stage in (None, each.name)]
    if not stages:
        names = ", ".join(stage.name for stage in workload.stages)
        raise GateError(f"expected a stage of the workload ({names}), got {objective.stage!r}")
    kind = objective.requests
    part = float(getattr(workload.mix, kind)) if kind else 1.0
    if not part:
        raise GateError(f"an objective is on {kind} requests, and the workload sends none")
    return part * _requests(stages) / _requests(workload.stages)


def _requests(stages: Sequence[WorkloadStage]) -> float:
    """Expected in these stages."""
    return sum(stage.duration_s * (stage.rate + stage.end_rate) / 2 for stage in stages)
