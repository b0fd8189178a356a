"""How much one instance carries: a search for the largest rate that holds, then overload."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.bench import Bench, new_result, workload_of
from loadtest.histogram import Distribution
from loadtest.holding import holds
from loadtest.judge import EXIT_CODES
from loadtest.plan import CANDIDATE, open_plan
from loadtest.result import (
    DROPPED,
    Capacity,
    Check,
    Outcome,
    Overload,
    Result,
    Run,
    Stage,
    Step,
    Verdict,
)
from loadtest.search import Found, GeneratorLimitError, search
from loadtest.slo import Latency, Slo, describe
from loadtest.validity import checks
from loadtest.workload import WorkloadStage

WARM_UP_S = 1.0  # of a step: the service is warm from the steps before
ATTEMPTS = 3  # at a step that was not valid: the machine may have been busy with something else
OVERLOADS = (2.0, 5.0, 10.0)
RECOVERY = 0.8  # of the capacity: with nothing to spare a backlog never goes away
RECOVERED = 0.95  # of what is offered, answered in time

Phase = Literal["bracket", "bisect", "confirm"]


@dataclass(frozen=True)
class SearchSettings:
    """How to search.

    Attributes:
        start_rps: requests per second tried first.
        step_s: measured seconds at each rate.
        overload_s: seconds of each stage of overload; 0 leaves them out.
        peak_texts_per_s: to plan instances for.
    """

    start_rps: float
    step_s: float
    overload_s: float
    peak_texts_per_s: float | None = None


def run_capacity(bench: Bench, slo: Slo, scenario: str, settings: SearchSettings) -> Result:
    """Search, confirm, overload.

    Raises:
        WorkloadError: that of the scenario cannot be used.
        RunError: Locust failed.
    """
    steps = _Steps(bench, slo, scenario, settings.step_s)
    found = search(steps.measure, settings.start_rps)
    overload = []
    if found.rate_rps and settings.overload_s:
        overload = steps.overload(found.rate_rps, settings.overload_s)
    return steps.result(found, overload, settings.peak_texts_per_s)


class _Steps:
    """Runs of one scenario's workload at rates of our choice; `runs` keeps them all."""

    def __init__(self, bench: Bench, slo: Slo, scenario: str, step_s: float) -> None:
        self.bench, self.scenario, self.step_s = bench, scenario, step_s
        self.slo = slo.model_copy(update={"scenarios": {scenario: slo.scenarios[scenario]}})
        self.runs: list[Run] = []
        self._workload = workload_of(slo.scenarios[scenario])
        self._before = bench.facts()

    def measure(self, phase: Phase, rate_rps: float) -> Step:
        """One step; GeneratorLimitError when no attempt at it was valid."""
        stage = WorkloadStage(name="step", rate=rate_rps, end_rate=rate_rps, duration_s=self.step_s)
        reason = ""
        for _ in range(ATTEMPTS):
            run = self._run([stage], f"{phase} at {rate_rps:,.0f} requests/s")
            bad = [check for check in self._checks(run) if not check.ok]
            if not bad:
                held, reason = holds(self.slo, self.scenario, run.measured)
                return Step(phase=phase, rate_rps=rate_rps, held=held, reason=reason)
            reason = "; ".join(f"{check.name} {check.measured}" for check in bad)
        raise GeneratorLimitError(reason)

    def overload(self, rate_rps: float, stage_s: float) -> list[Overload]:
        """What becomes of two, five and ten times a rate, and how soon it is over."""
        factors = (*OVERLOADS, RECOVERY)
        stages = [
            WorkloadStage(
                name=f"{factor:g} x",
                rate=factor * rate_rps,
                end_rate=factor * rate_rps,
                duration_s=stage_s,
            )
            for factor in factors
        ]
        run = self._run(stages, f"overload: {', '.join(stage.name for stage in stages)}")
        return [to_overload(*pair) for pair in zip(factors, run.measured, strict=True)]

    def result(self, found: Found, overload: list[Overload], peak: float | None) -> Result:
        """All of it, with the verdict."""
        texts = self._workload.texts_per_request
        limits = [each for each in self.slo.objectives_of(self.scenario) if each.limit is not None]
        # The slowest percentile that is limited says most in one line.
        limits.sort(
            key=lambda each: each.fraction if isinstance(each, Latency) else 0, reverse=True
        )
        capacity = Capacity(
            rate_rps=found.rate_rps,
            texts_per_s=found.rate_rps * texts if found.rate_rps else None,
            confirmations=found.confirmations,
            limited_by=found.limited_by,
            objectives=[describe(each, self.scenario, relative=False) for each in limits],
            within=describe(limits[0], "", relative=False).removeprefix(": "),
            steps=found.steps,
            overload=overload,
            peak_texts_per_s=peak,
            instances=math.ceil(peak / (found.rate_rps * texts))
            if peak and found.rate_rps
            else None,
        )
        result = new_result("capacity", self.bench, self._before, self.runs)
        return result.model_copy(update={"capacity": capacity, "verdict": to_verdict(capacity)})

    def _run(self, stages: Sequence[WorkloadStage], label: str) -> Run:
        update = {"stages": tuple(stages), "warm_up_s": WARM_UP_S}
        plan = open_plan(
            self.bench.urls,
            self._workload.model_copy(update=update),
            [CANDIDATE],
            scenario=self.scenario,
            deadline_s=self._deadline_s(),
        )
        self.runs.append(self.bench.run(plan, label))
        return self.runs[-1]

    def _deadline_s(self) -> float | None:
        """Of a good answer: the objectives' own, else the highest percentile that they limit."""
        own = self.slo.objectives_of(self.scenario)
        limits = [each.limit for each in own if isinstance(each, Latency) and each.limit]
        return self.slo.deadline_of(self.scenario) or max(limits, default=None)

    def _checks(self, run: Run) -> list[Check]:
        return checks(new_result("capacity", self.bench, self._before, [run]), self.slo)


def to_overload(factor: float, stage: Stage) -> Overload:
    """The figures of one stage of overload; those below 1 are the recovery."""
    offered = sum(group.offered for group in stage.groups)
    dropped = sum(group.outcomes.get(DROPPED, 0) for group in stage.groups)
    answered = Distribution([group.from_scheduled for group in stage.groups])
    return Overload(
        factor=factor,
        offered_rps=offered / stage.duration_s,
        sent_rps=(offered - dropped) / stage.duration_s,
        goodput_rps=sum(group.good for group in stage.groups) / stage.duration_s,
        p99_s=answered.quantile(0.99) if answered.total else None,
        recovery_s=_recovery_s(stage) if factor < 1 else None,
    )


def _recovery_s(stage: Stage) -> float | None:
    """Seconds after which no later second answers fewer in time than `RECOVERED`."""
    slow = [i for i, s in enumerate(stage.seconds) if s.good < RECOVERED * s.offered]
    since = slow[-1] + 1 if slow else 0
    return float(since) if since < len(stage.seconds) else None


def to_verdict(capacity: Capacity) -> Verdict:
    """Passed when a rate was confirmed that the objectives, not the generator, limit."""
    missed = [step.reason for step in capacity.steps if not step.held]
    carries = f"{capacity.texts_per_s or 0:,.0f} texts/s"
    outcome: Outcome = "pass"
    summary = f"one instance carries {carries}"
    if capacity.limited_by == "generator":
        outcome = "invalid"
        found = f"at least {carries}" if capacity.rate_rps else "no rate could be confirmed"
        summary = f"the generator reached its own limit ({missed[-1]}): {found}"
    elif not capacity.rate_rps:
        outcome, summary = "fail", f"no rate holds all objectives: {missed[-1]}"
    code = EXIT_CODES[outcome]
    return Verdict(outcome=outcome, exit_code=code, summary=summary, checks=[], judgements=[])
