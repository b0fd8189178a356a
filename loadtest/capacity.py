"""How much one instance carries: a search for the largest rate that holds, then overload."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.bench import Bench, new_result, workload_of
from loadtest.gate import GateError
from loadtest.histogram import Distribution
from loadtest.holding import holds, objectives_to_hold
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
from loadtest.search import Found, GeneratorLimitError, Phase, search
from loadtest.slo import Latency, Slo, describe
from loadtest.validity import checks
from loadtest.workload import WorkloadStage

WARM_UP_S = 1.0  # of a step: the service is warm from the steps before
ATTEMPTS = 3  # at a step that was not valid: the machine may have been busy with something else
OVERLOADS = (2.0, 5.0, 10.0)
RECOVERY = 0.8  # of the capacity: with nothing to spare a backlog never goes away
RECOVERED = 0.95  # of what is offered, answered in time

OF_THE_GENERATOR = {  # checks that fail when it cannot offer a rate
    *("achieved of offered", "schedule lag p99"),
    *("dropped requests", "generator CPU"),
}


class VoidError(Exception):
    """Nothing can be measured here now, and not for want of a faster generator."""


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
        GateError: the scenario has no objective that a rate could hold.
        WorkloadError, TextsError: its workload cannot be used.
        RunError: Locust failed.
    """
    if not objectives_to_hold(slo, scenario):
        raise GateError(f"scenario {scenario!r} has no absolute objective that a rate could hold")
    steps = _Steps(bench, slo, scenario, settings.step_s)
    void = None
    try:
        found = search(steps.measure, settings.start_rps)
    except VoidError as error:
        found, void = Found(None, 0, "generator", []), str(error)
    overload = []
    if found.rate_rps and settings.overload_s:
        overload = steps.overload(found.rate_rps, settings.overload_s)
    return steps.result(found, overload, settings.peak_texts_per_s, void)


class _Steps:
    """Runs of one scenario's workload at rates of our choice; `runs` keeps them all."""

    def __init__(self, bench: Bench, slo: Slo, scenario: str, step_s: float) -> None:
        self.bench, self.scenario, self.step_s = bench, scenario, step_s
        self.slo = slo.model_copy(update={"scenarios": {scenario: slo.scenarios[scenario]}})
        self.runs: list[Run] = []
        self._workload = workload_of(slo.scenarios[scenario])
        self._before = bench.facts()

    def measure(self, phase: Phase, rate_rps: float) -> Step:
        """One step.

        Raises:
            GeneratorLimitError: in no attempt was the generator on time.
            VoidError: something else kept each attempt from being valid.
        """
        stage = WorkloadStage(name="step", rate=rate_rps, end_rate=rate_rps, duration_s=self.step_s)
        reason, bad = "", []
        for _ in range(ATTEMPTS):
            run = self._run([stage], f"{phase} at {rate_rps:,.0f} requests/s")
            bad = [check for check in self._checks(run) if not check.ok]
            if not bad:
                held, reason = holds(self.slo, self.scenario, run.measured)
                return Step(phase=phase, rate_rps=rate_rps, held=held, reason=reason)
            reason = "; ".join(f"{check.name} {check.measured}" for check in bad)
        if {check.name for check in bad} <= OF_THE_GENERATOR:
            raise GeneratorLimitError(reason)
        raise VoidError(reason)

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

    def result(
        self, found: Found, overload: list[Overload], peak: float | None, void: str | None
    ) -> Result:
        """All of it, with the verdict; `void` says why nothing could be measured."""
        objectives = objectives_to_hold(self.slo, self.scenario)
        texts = found.rate_rps * self._workload.texts_per_request if found.rate_rps else None
        capacity = Capacity(
            rate_rps=found.rate_rps,
            texts_per_s=texts,
            confirmations=found.confirmations,
            limited_by=found.limited_by,
            objectives=[describe(each, self.scenario, relative=False) for each in objectives],
            within=describe(objectives[0], "", relative=False),
            steps=found.steps,
            overload=overload,
            peak_texts_per_s=peak,
            instances=math.ceil(peak / texts) if peak and texts else None,
        )
        last = self._checks(self.runs[-1])
        result = new_result("capacity", self.bench, self._before, self.runs)
        verdict = to_verdict(capacity, void, last)
        return result.model_copy(update={"capacity": capacity, "verdict": verdict})

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


def to_verdict(capacity: Capacity, void: str | None, checks: list[Check]) -> Verdict:
    """Passed when a rate was confirmed that the objectives, not the generator, limit.

    Args:
        capacity: what was found.
        void: why nothing could be measured, if so.
        checks: of the last run; those of an overload may well fail, which is no fault of it.
    """
    missed = [step.reason for step in capacity.steps if not step.held]
    carries = f"{capacity.texts_per_s or 0:,.0f} texts/s"
    outcome: Outcome = "pass"
    summary = f"one instance carries {carries}"
    if void:
        outcome, summary = "invalid", f"nothing could be measured: {void}"
    elif capacity.limited_by == "generator":
        outcome = "invalid"
        found = f"at least {carries}" if capacity.rate_rps else "no rate could be confirmed"
        summary = f"the generator reached its own limit ({missed[-1]}): {found}"
    elif not capacity.rate_rps:
        outcome, summary = "fail", f"no rate holds all objectives: {missed[-1]}"
    return Verdict(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        summary=summary,
        checks=checks if outcome == "invalid" else [],
        judgements=[],
    )
