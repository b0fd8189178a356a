"""What a gate and a capacity search run on: the services, and how a plan becomes a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from loadtest.host import this_host
from loadtest.plan import Plan
from loadtest.result import Host, Result, Run
from loadtest.result import Target as Facts
from loadtest.runner import run_plan
from loadtest.slo import Scenario
from loadtest.summary import summarise
from loadtest.target import Target
from loadtest.workload import Workload, load_workload

OnPlan = Callable[[str, float], None]


def _ignore(*_: object) -> None: ...


@dataclass
class Bench:
    """Services under test.

    Attributes:
        targets: the candidate, then the baseline where there is one.
        api_key: bearer token for both.
        processes: that generate the load.
        on_plan: told what will run now, and for how many seconds.
        on_progress: told about ten times a second how many seconds of it have passed.
    """

    targets: Sequence[Target]
    api_key: str | None = None
    processes: int = 1
    on_plan: OnPlan = _ignore
    on_progress: Callable[[float], None] = _ignore
    host: Host = field(default_factory=this_host)

    @property
    def urls(self) -> list[str]:
        """Of the targets."""
        return [target.url for target in self.targets]

    def require_ready(self) -> None:
        """Return when all targets are ready; TargetError otherwise."""
        for target in self.targets:
            target.require_ready()

    def run(self, plan: Plan, label: str, *, may_end_early: bool = False) -> Run:
        """Run a plan; RunError when Locust fails.

        KeyboardInterrupt on Ctrl-C, unless the run `may_end_early`: then what there is is kept.
        """
        self.on_plan(label, plan.duration_s)
        run = run_plan(
            plan,
            self.targets,
            api_key=self.api_key,
            processes=self.processes,
            on_progress=self.on_progress,
        )
        if run.interrupted and not may_end_early:
            raise KeyboardInterrupt
        return run

    def facts(self) -> list[Facts]:
        """The targets as a result shows them."""
        return [target.facts() for target in self.targets]


def new_result(
    command: Literal["loadtest", "gate", "capacity"],
    bench: Bench,
    before: list[Facts],
    runs: list[Run],
) -> Result:
    """The result of some runs; a target that no longer serves what it did `before` is marked."""
    try:
        heed_version = version("heed")
    except PackageNotFoundError:
        heed_version = "unknown"
    targets = [
        facts.model_copy(update={"changed": target.serves_other_than(facts.models)})
        for facts, target in zip(before, bench.targets, strict=True)
    ]
    return Result(
        command=command,
        heed_version=heed_version,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=bench.host,
        targets=targets,
        summary=summarise([stage for run in runs for stage in run.measured]),
        runs=runs,
    )


def workload_of(scenario: Scenario) -> Workload:
    """The workload of a scenario, with what the scenario sets in its place.

    Raises:
        WorkloadError: there is none, or it has several stages and the scenario sets their rate.
    """
    workload = load_workload(scenario.workload)
    if scenario.rate or scenario.duration_s:
        first = workload.stages[0]
        rate, duration_s = scenario.rate or first.rate, scenario.duration_s or first.duration_s
        workload = workload.with_rate(rate, duration_s)
    if scenario.warm_up_s is not None:
        workload = workload.model_copy(update={"warm_up_s": scenario.warm_up_s})
    return workload
