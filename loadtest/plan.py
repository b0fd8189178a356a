"""What one run of the generator shall do: targets, and stages laid out on one time axis. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from loadtest.result import Frozen, Role
from loadtest.workload import Workload

SWITCH_GAP_S = 0.5  # without load before a round that is compared
LEAD_IN_S = 0.5  # of load on its target, not measured: caches and clocks wake up


class PlannedStage(Frozen):
    """One stretch of the schedule; see `result.Stage`, which it becomes.

    Attributes:
        target: index into `Plan.targets`.
        seed: of its arrival times. Two sides of a comparison get the same.
    """

    name: str
    scenario: str
    role: Role
    round: int
    measured: bool
    target: int
    start_s: float
    duration_s: float
    rate_rps: float | None
    end_rate_rps: float | None
    users: int | None
    deadline_s: float
    seed: int

    @property
    def end_s(self) -> float:
        """When its last request is due at the latest, since the start of the run."""
        return self.start_s + self.duration_s


class Plan(Frozen):
    """All that the generator is told, as one JSON file.

    Attributes:
        targets: base URLs.
        workload: what is sent, with its texts resolved.
        arrivals: of the workload, or `closed`.
        stages: in the order of their start, not overlapping.
    """

    targets: list[str]
    workload: Workload
    arrivals: Literal["poisson", "constant", "closed"]
    stages: list[PlannedStage]

    def to_json(self) -> str:
        """What `model_validate_json` reads back."""
        return self.model_dump_json(exclude_defaults=True)

    @property
    def duration_s(self) -> float:
        """Until the last request is due."""
        return self.stages[-1].end_s

    @property
    def peak_rps(self) -> float:
        """The highest rate of the schedule."""
        return max(max(s.rate_rps or 0.0, s.end_rate_rps or 0.0) for s in self.stages)


class Side(Frozen):
    """Who is loaded in a round."""

    role: Role
    target: int


CANDIDATE = Side(role="candidate", target=0)
BASELINE = Side(role="baseline", target=1)
CALIBRATION = Side(role="calibration", target=1)


def closed_plan(
    url: str, workload: Workload, users: int, duration_s: float, warm_up_s: float
) -> Plan:
    """Users who each wait for their answer: a warm-up, then one measured stage."""
    timeline = _Timeline("loadtest", workload, workload.timeout_s)
    rates = (None, None)
    timeline.add("warm-up", CANDIDATE, warm_up_s, rates, users=users, measured=False)
    timeline.add("closed", CANDIDATE, duration_s, rates, users=users)
    return Plan(targets=[url], workload=workload, arrivals="closed", stages=timeline.stages)


def open_plan(
    targets: list[str],
    workload: Workload,
    sides: Sequence[Side] = (CANDIDATE,),
    *,
    scenario: str = "loadtest",
    deadline_s: float | None = None,
) -> Plan:
    """A warm-up of each target, then the workload once per side, in the order of `sides`.

    Rounds of one candidate alone follow each other without a gap: no stall can hide between
    them. Rounds that will be compared are kept apart, each after a gap and a short lead-in, so
    that what one side left behind does not count for the next.
    """
    timeline = _Timeline(scenario, workload, deadline_s or workload.timeout_s)
    for side in dict.fromkeys(sides):
        timeline.warm_up(side)
    apart = len(set(sides)) > 1 or CALIBRATION in sides
    numbers: Counter[Role] = Counter()
    for side in sides:
        timeline.round(side, numbers[side.role], apart=apart)
        numbers[side.role] += 1
    return Plan(
        targets=targets, workload=workload, arrivals=workload.arrivals, stages=timeline.stages
    )


def alternating(first: Side, second: Side, pairs: int) -> list[Side]:
    """ABBA ABBA ...: a drift of the machine that is linear in time falls on both alike."""
    order = ((first, second), (second, first))
    return [side for pair in range(pairs) for side in order[pair % 2]]


class _Timeline:
    def __init__(self, scenario: str, workload: Workload, deadline_s: float) -> None:
        self.stages: list[PlannedStage] = []
        self._scenario, self._workload, self._deadline_s = scenario, workload, deadline_s
        self._now_s = 0.0

    def warm_up(self, side: Side) -> None:
        rate = self._workload.stages[0].rate
        self.add("warm-up", side, self._workload.warm_up_s, (rate, rate), measured=False)

    def round(self, side: Side, number: int, *, apart: bool) -> None:
        rate = self._workload.stages[0].rate
        if apart:
            self._now_s += SWITCH_GAP_S
            self.add("lead-in", side, LEAD_IN_S, (rate, rate), number, measured=False)
        for index, stage in enumerate(self._workload.stages):
            rates = (stage.rate, stage.end_rate)
            self.add(stage.name, side, stage.duration_s, rates, number, index=index)

    def add(  # noqa: PLR0913 - the fields of a stage
        self,
        name: str,
        side: Side,
        duration_s: float,
        rates: tuple[float, float] | tuple[None, None],
        number: int = 0,
        *,
        index: int = 0,
        users: int | None = None,
        measured: bool = True,
    ) -> None:
        if duration_s <= 0:
            return
        self.stages.append(
            PlannedStage(
                name=name,
                scenario=self._scenario,
                role=side.role,
                round=number,
                measured=measured,
                target=side.target,
                start_s=self._now_s,
                duration_s=duration_s,
                rate_rps=rates[0],
                end_rate_rps=rates[1],
                users=users,
                deadline_s=self._deadline_s,
                seed=self._workload.seed + 1000 * number + index,
            )
        )
        self._now_s += duration_s
