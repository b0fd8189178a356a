"""Whether a measurement means anything, asked before what it means.

Every check is written so that a figure that is missing or NaN fails it: a gate that could not
measure must not pass.
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from loadtest.histogram import Distribution
from loadtest.quantity import show
from loadtest.result import DROPPED, Check, Result, Run, Stage, Target
from loadtest.slo import Slo, Validity

CLOCK_STEP_S = 0.05
_COVERED = 0.5  # of the measured time must lie within ticks, or steal was not seen

_STRONGER = "give the generator more cores or processes, or another machine, or lower the rate"


def checks(
    result: Result,
    slo: Slo,
    expected_model: str | None = None,
    baseline: Result | None = None,
) -> list[Check]:
    """The conditions that a measurement must meet.

    Args:
        result: measured; its stages that count and the runs that hold them.
        slo: its limits.
        expected_model: manifest sha256 of the candidate, or its first 8 digits or more.
        baseline: an earlier result that the new one is compared with.
    """
    found = [_requests(result, slo), *_measurement(result, slo)]
    if expected_model is not None:
        found.append(_model(result, expected_model))
    if baseline is not None:
        found += _comparable(result, slo, baseline)
    return found


def _measurement(result: Result, slo: Slo) -> list[Check]:
    """What every run must meet, that of a baseline too."""
    runs = [run for run in result.runs if run.measured]
    return [
        *_schedule(runs, slo),
        _dropped(runs),
        _generator(runs, slo.validity),
        _steal(runs, slo.validity),
        _clock(runs),
        _interrupted(result.runs),
        _unchanged(result.targets),
    ]


def _requests(result: Result, slo: Slo) -> Check:
    """Every scenario was measured."""
    counts = dict.fromkeys(slo.scenarios, 0)
    for stage in result.stages:
        if stage.role == "candidate" and stage.scenario in counts:
            counts[stage.scenario] += sum(group.offered for group in stage.groups)
    least = min(counts.values(), default=0)
    empty = [name for name, count in counts.items() if not count]
    return Check(
        name="measured requests",
        measured=f"none in {', '.join(empty)}" if empty else f"{least:,}",
        limit="1 or more in every scenario",
        ok=least > 0,
        advice="look at the warm-up and the length of the stages: nothing was due after it",
    )


def _schedule(runs: Sequence[Run], slo: Slo) -> Iterable[Check]:
    """What was due was sent, and on time; the worst scenario and role counts.

    A closed workload has no schedule to be late for.
    """
    parts: dict[tuple[str, str], list[Stage]] = {}
    for run in runs:
        for stage in run.measured if run.arrivals != "closed" else []:
            parts.setdefault((stage.scenario, stage.role), []).append(stage)
    if not parts:
        return
    achieved = min(_achieved(stages) for stages in parts.values())
    lags = [
        (Distribution([stage.lag for stage in stages]).quantile(0.99), slo.lag_limit_s(scenario))
        for (scenario, _), stages in parts.items()
    ]
    lag_s, limit_s = max(lags, key=lambda lag: math.inf if math.isnan(lag[0]) else lag[0] - lag[1])
    yield Check(
        name="achieved of offered",
        measured=show(achieved, "ratio"),
        limit=f"at least {show(slo.validity.achieved, 'ratio', exact=True)}",
        ok=achieved >= slo.validity.achieved,
        advice=f"the generator did not send what was due: {_STRONGER}",
    )
    yield Check(
        name="schedule lag p99",
        measured="nothing was sent" if math.isnan(lag_s) else show(lag_s, "s"),
        limit=f"at most {show(limit_s, 's', exact=True)}",
        ok=lag_s <= limit_s,
        advice=f"requests left later than they were due: {_STRONGER}",
    )


def _achieved(stages: Sequence[Stage]) -> float:
    groups = [group for stage in stages for group in stage.groups]
    offered = sum(group.offered for group in groups)
    dropped = sum(group.outcomes.get(DROPPED, 0) for group in groups)
    lost = sum(stage.lost for stage in stages)
    return 1 - (dropped + lost) / (offered + lost) if offered else 0.0


def _dropped(runs: Sequence[Run]) -> Check:
    groups = [group for run in runs for stage in run.measured for group in stage.groups]
    dropped = sum(group.outcomes.get(DROPPED, 0) for group in groups)
    return Check(
        name="dropped requests",
        measured=f"{dropped:,}",
        limit="0",
        ok=dropped == 0,
        advice=f"no slot was free, or the generator too late: {_STRONGER}, or a shorter timeout",
    )


def _generator(runs: Sequence[Run], validity: Validity) -> Check:
    busiest = max((run.generator.cpu_ratio for run in runs), default=math.nan)
    warned = any(run.generator.cpu_warning for run in runs)
    warning = ", and Locust warned of it" if warned else ""
    return Check(
        name="generator CPU",
        measured=f"{show(busiest, 'ratio')} of a core{warning}" if runs else "not measured",
        limit=f"below {show(validity.generator_cpu, 'ratio', exact=True)}",
        ok=bool(runs)
        and all(run.generator.cpu_ratio < validity.generator_cpu for run in runs)
        and not warned,
        advice=f"a busy generator delays what it measures: {_STRONGER}",
    )


def _steal(runs: Sequence[Run], validity: Validity) -> Check:
    """CPU time that the hypervisor gave to others while it counted, in the worst run."""
    ratios = [_steal_ratio(run) for run in runs] or [math.nan]
    unseen = any(math.isnan(ratio) for ratio in ratios)
    return Check(
        name="CPU steal",
        measured="not measured" if unseen else show(max(ratios), "ratio"),
        limit=f"below {show(validity.steal, 'ratio', exact=True)}",
        ok=not unseen and max(ratios) < validity.steal,
        advice="the machine was not watched for half of the time or more: run again"
        if unseen
        else "other machines on this host took the CPU: run again, at a quieter time or place",
    )


def _steal_ratio(run: Run) -> float:
    """Mean over the ticks within measured stages, by their time; NaN if they cover under half."""
    ends = sorted({tick.at_s: tick for tick in run.ticks}.items())
    starts = [max(0.0, ends[0][0] - 1), *(at_s for at_s, _ in ends)] if ends else []
    seen = stolen = 0.0
    for (start_s, end_s), (_, tick) in zip(pairwise(starts), ends, strict=True):
        for stage in run.measured:
            within_s = min(end_s, stage.start_s + stage.duration_s) - max(start_s, stage.start_s)
            seen += max(0.0, within_s)
            stolen += max(0.0, within_s) * tick.steal_ratio
    measured_s = sum(stage.duration_s for stage in run.measured)
    return stolen / seen if seen > _COVERED * measured_s else math.nan


def _clock(runs: Sequence[Run]) -> Check:
    """Latencies are of the monotonic clock; the wall clock must have run with it.

    When it did not, the machine was suspended, moved or set right meanwhile: a suspension stops
    the monotonic clock too, and then stalls are missing from the latencies.
    """
    step_s = max((abs(run.clock_step_s) for run in runs), default=math.nan)
    return Check(
        name="clock step",
        measured=show(step_s, "s") if runs else "not measured",
        limit=f"below {show(CLOCK_STEP_S, 's', exact=True)} in a run",
        ok=bool(runs) and all(abs(run.clock_step_s) < CLOCK_STEP_S for run in runs),
        advice="the machine was suspended, moved or had its clock set during a run: run again",
    )


def _interrupted(runs: Sequence[Run]) -> Check:
    count = sum(run.interrupted for run in runs)
    return Check(
        name="complete runs",
        measured=f"{len(runs) - count} of {len(runs)}",
        limit="all",
        ok=count == 0 and len(runs) > 0,
        advice="a run was stopped by hand: run again to the end",
    )


def _unchanged(targets: Sequence[Target]) -> Check:
    """Every service listed the same models after the load as before."""
    changed = [target.url for target in targets if target.changed]
    return Check(
        name="model unchanged",
        measured=f"another one at {', '.join(changed)}" if changed else "the same",
        limit="the same before and after",
        ok=not changed and len(targets) > 0,
        advice="a model was replaced during the load: run again, without deploying meanwhile",
    )


def _model(result: Result, expected: str) -> Check:
    """Everything that the candidate serves is the model that is meant."""
    served = [model.manifest_sha256 or "unknown" for model in result.targets[0].models]
    usable = re.fullmatch("[0-9a-fA-F]{8,64}", expected) is not None
    return Check(
        name="model",
        measured=", ".join(sha256[:12] for sha256 in served) or "unknown",
        limit=expected[:12] if usable else f"{expected!r} is no hash of 8 hex digits or more",
        ok=usable and bool(served) and all(each.startswith(expected.lower()) for each in served),
        advice="the address serves another model: deploy the one that is to be released, or fix it",
    )


def _comparable(result: Result, slo: Slo, baseline: Result) -> Iterable[Check]:
    """The stored baseline was valid itself, and is of the same machine and the same requests."""
    here, there = _place(result), _place(baseline)
    yield Check(
        name="host of the baseline",
        measured=here,
        limit=there,
        ok=here == there,
        advice="only runs of one machine can be compared: measure the baseline again, here",
    )
    own, theirs = _workloads(result), _workloads(baseline)
    different = [name for name in own if name in theirs and own[name] != theirs[name]]
    yield Check(
        name="workload of the baseline",
        measured=f"different in {', '.join(different)}" if different else "the same",
        limit="the same",
        ok=not different,
        advice="the requests or their schedule changed: measure the baseline again",
    )
    broken = [check.name for check in _measurement(baseline, slo) if not check.ok]
    yield Check(
        name="validity of the baseline",
        measured=", ".join(broken) or "valid",
        limit="valid",
        ok=not broken,
        advice="the baseline could not be measured properly: measure it again",
    )


def _place(result: Result) -> str:
    """The machine, and whether the generator came before the service there."""
    realtime = any(run.generator.realtime for run in result.runs)
    return result.host.fingerprint + (" in real time" if realtime else "")


def _workloads(result: Result) -> dict[str, set[str]]:
    """The fingerprints of what the candidate was sent, by scenario."""
    found: dict[str, set[str]] = {}
    for run in result.runs:
        for stage in run.measured:
            if stage.role == "candidate":
                found.setdefault(stage.scenario, set()).add(run.workload)
    return found
