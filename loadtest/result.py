"""The one result of a load test, a gate or a capacity search: the schema of its JSON file.

Durations are seconds, rates are per second, ratios are 0 to 1. Pure data: `recording.py` and
`monitor.py` measure it, `judge.py` and its neighbours judge it, `report.py` and its neighbours
show it. A latency is counted *from scheduled* (when the request was due) unless it says *from
sent*; in a closed workload, where nothing is scheduled, both are the same.
"""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from loadtest.fetch import read_file
from loadtest.histogram import Distribution

MAX_RESULT = 256_000_000  # bytes: ten times that of an hour at many rates
OK = "ok"
TIMEOUT = "timeout"
DROPPED = "dropped"

Kind = Literal["single", "batch", "explain"]
Role = Literal["candidate", "baseline", "calibration"]
Outcome = Literal["pass", "warn", "fail", "regression", "inconclusive", "invalid"]


class ResultError(ValueError):
    """A file is not a result of this version; the message says what is wrong, and where."""


class Frozen(BaseModel):
    """Immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(Frozen):
    """One entry of the service's /v1/models."""

    name: str
    version: str
    manifest_sha256: str | None


class Target(Frozen):
    """A service that was loaded.

    Attributes:
        models: what it listed before the load.
        local: on this machine.
        changed: after the load it listed something else.
    """

    url: str
    models: list[Model]
    local: bool
    changed: bool = False


class Host(Frozen):
    """The machine of the generator. `fingerprint`: equal on machines that may be compared."""

    fingerprint: str
    cpu: str
    cores: int
    memory_bytes: int
    system: str


class Generator(Frozen):
    """Where the load came from.

    Attributes:
        processes: Locust processes that sent requests.
        cpu_ratio: CPU time of the busiest of them over the measured time; 1 is a whole core.
        cpu_warning: Locust itself warned of its CPU.
        realtime: it ran before ordinary processes, see `generator.take_precedence`.
    """

    locust_version: str
    processes: int
    cpu_ratio: float
    cpu_warning: bool
    realtime: bool = False


class Group(Frozen):
    """The requests of one kind that were due in one stage.

    Attributes:
        offered: due by the schedule; each has exactly one outcome.
        outcomes: `ok`, `timeout` (no whole answer in time), `dropped` (due and never sent: no free
            slot, or a generator that was too late), or a failure by its short name.
        details: by failure, the first few different things that the service said of it.
        good: answered properly within the deadline of the stage, counted from scheduled.
        texts: texts in proper answers.
        from_scheduled, from_sent: histograms of the proper answers, see `histogram.encode`.
    """

    kind: Kind
    offered: int
    outcomes: dict[str, int]
    details: dict[str, list[str]] = {}
    good: int
    texts: int
    from_scheduled: str
    from_sent: str

    @property
    def unanswered(self) -> int:
        """Without a proper answer, for whatever reason: infinitely late."""
        return self.offered - self.outcomes.get(OK, 0)


class Second(Frozen):
    """The requests due in one second of a stage, which may end before the second does.

    Attributes:
        at_s: when the second began, since the start of the run.
        width_s: its length, 1 but for a stage's last.
        good: ok within the deadline.
        p50_s, p95_s, p99_s, max_s: of its proper answers, from scheduled; None without one.
        sent_p99_s: the same from sent.
        backlog: requests of this stage sent and unanswered when the second ended.
    """

    at_s: float
    width_s: float
    offered: int
    ok: int
    good: int
    failed: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    sent_p99_s: float | None
    backlog: int


class Stage(Frozen):
    """One stretch of the schedule.

    Attributes:
        name: of the workload's stage.
        scenario: of the SLO file; `loadtest` for a plain load test.
        role: candidate, baseline, or calibration: the baseline against itself.
        round: 0, 1, ... Every round repeats the whole workload.
        measured: False for a warm-up.
        start_s, duration_s: since the start of the run.
        rate_rps, end_rate_rps: at its begin and end; both None in a closed workload.
        users: of a closed workload, else None.
        deadline_s: what `good` was counted against.
        lag: histogram of sent minus scheduled: the generator's own delay.
        lost: due, and without any outcome: a fault of the generator.
    """

    name: str
    scenario: str
    role: Role
    round: int
    measured: bool
    start_s: float
    duration_s: float
    rate_rps: float | None
    end_rate_rps: float | None
    users: int | None
    deadline_s: float
    groups: list[Group]
    lag: str
    seconds: list[Second]
    lost: int = 0


class Tick(Frozen):
    """What was seen of the machine and the server in about one second; None where it was not.

    Attributes:
        at_s: end of the tick, since the start of the run.
        host_cpu_ratio, steal_ratio: of all cores; steal is time a hypervisor gave to others.
        generator_cpu_ratio: of one core, the busiest generator process.
        server_cpu_ratio: of one core; above 1 with several threads.
        queue_s, engine_s: mean wait of a text and mean computing time of a batch, from /metrics.
        batch_size: mean texts in a batch.
        queue_depth: texts waiting at that moment.
    """

    at_s: float
    target: int
    host_cpu_ratio: float
    steal_ratio: float
    generator_cpu_ratio: float
    server_cpu_ratio: float | None
    server_rss_bytes: int | None
    queue_s: float | None
    engine_s: float | None
    batch_size: float | None
    queue_depth: float | None


class Run(Frozen):
    """One run of the generator.

    Attributes:
        workload: fingerprint of what was sent: texts, mix, arrival process, stages, timeout.
        arrivals: poisson, constant, or closed (each user waits for its answer).
        texts: where they came from, and how many different ones.
        timeout_s: after this much, counted from scheduled, a request is a timeout.
        stages: in the order of their start.
        clock_step_s: how far the wall clock moved against the monotonic one.
        interrupted: stopped by hand before its end.
    """

    started_at: str
    workload: str
    arrivals: Literal["poisson", "constant", "closed"]
    seed: int
    texts: str
    timeout_s: float
    generator: Generator
    stages: list[Stage]
    ticks: list[Tick]
    clock_step_s: float
    interrupted: bool

    @property
    def measured(self) -> list[Stage]:
        """The stages that count."""
        return [stage for stage in self.stages if stage.measured]


class Check(Frozen):
    """One condition for a measurement to mean anything, e.g. `schedule lag p99`, 2.1 of 2 ms."""

    name: str
    measured: str
    limit: str
    ok: bool
    advice: str


class Judgement(Frozen):
    """One objective and what was found.

    Attributes:
        objective: as a person would say it: `steady: p99 at most 50 ms`.
        metric: p50, p90, p95, p99, error_ratio, goodput or memory_growth.
        relative: against the baseline: ratios to it, 1.05 is 5 % more, or for error ratio and
            goodput differences, 0.01 is one percentage point more.
        value: measured; None is infinite, or not seen: without samples, or compared without p.
        low, high: the ends of its confidence interval; None is infinite.
        limit: what it is held against.
        unit: s, ratio, bytes; `x` for a relative one.
        samples: requests, or pairs of runs in a comparison.
        p_value: of the one-sided Mann-Whitney test; only in a comparison.
        detail: one sentence for people, when there is more to say.
        values, baseline_values: that were compared, one per round; None is infinite.
    """

    objective: str
    scenario: str
    metric: str
    relative: bool
    severity: Literal["fail", "warn"]
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    limit: float
    unit: Literal["s", "ratio", "bytes", "x"]
    samples: int
    p_value: float | None = None
    detail: str = ""
    values: list[float | None] = []
    baseline_values: list[float | None] = []


class Verdict(Frozen):
    """What a gate decided; `exit_code` 0 pass, 1 failed, 2 regression, 3 invalid/inconclusive.

    `confidence` is that of every interval.
    """

    outcome: Outcome
    exit_code: int
    summary: str
    checks: list[Check]
    judgements: list[Judgement]
    confidence: float = 0.95


class Step(Frozen):
    """One rate tried in a capacity search. `held`: it met all objectives; `reason` if not."""

    phase: Literal["bracket", "bisect", "confirm"]
    rate_rps: float
    held: bool
    reason: str


class Overload(Frozen):
    """A stage at a multiple of the capacity, or the recovery after it.

    Attributes:
        factor: 2, 5 or 10; below 1 is the recovery.
        offered_rps: due by the schedule.
        sent_rps: really sent: less when the generator reached its own limit.
        goodput_rps: good answers per second.
        p99_s: of proper answers; None without one.
        recovery_s: recovery only: until goodput stays at 95 % of what is offered; None if never.
    """

    factor: float
    offered_rps: float
    sent_rps: float
    goodput_rps: float
    p99_s: float | None
    recovery_s: float | None = None


class Capacity(Frozen):
    """The largest rate that meets all objectives with a backlog that does not grow.

    Attributes:
        rate_rps: requests per second that were confirmed; None when none was.
        texts_per_s: the same in texts.
        confirmations: how many of the runs at that rate held.
        limited_by: `objectives`, or `generator`: then the capacity is at least this.
        peak_texts_per_s, instances: the answer to `--peak`.
        within: the objective that people ask for first: `p99 at most 150 ms`.
    """

    rate_rps: float | None
    texts_per_s: float | None
    confirmations: int
    limited_by: Literal["objectives", "generator"]
    objectives: list[str]
    steps: list[Step]
    overload: list[Overload]
    peak_texts_per_s: float | None = None
    instances: int | None = None
    within: str = ""


class Summary(Frozen):
    """The measured stages of one scenario and role in plain numbers, for other programs.

    Attributes:
        users: of a closed workload, else None.
        offered_rps, ok_rps: requests that were due, and properly answered, per second.
        good_ratio: properly answered within the deadline, of those that were due.
        p50_s: and so on, from scheduled; `sent_` from sent. None: not answered.
    """

    scenario: str
    role: Role
    users: int | None
    requests: int
    failed: int
    offered_rps: float
    ok_rps: float
    good_ratio: float
    p50_s: float | None
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    sent_p50_s: float | None
    sent_p95_s: float | None
    sent_p99_s: float | None


class Result(Frozen):
    """What a command of `loadtest` measured and found, as saved to JSON.

    Attributes:
        format_version: raised when a field changes its meaning.
        targets: the candidate, then the baseline where there is one.
        baseline: path of a stored baseline, else None.
        summary: by scenario and role; of a capacity search all rates together.
        runs: of the generator, in order.
        verdict: of a gate or a capacity search; None for a plain load test.
    """

    format_version: Literal[2] = 2
    command: Literal["loadtest", "gate", "capacity"]
    heed_version: str
    started_at: str
    host: Host
    targets: list[Target]
    baseline: str | None = None
    summary: list[Summary] = []
    runs: list[Run]
    verdict: Verdict | None = None
    capacity: Capacity | None = None

    def to_json(self) -> str:
        """The result as indented JSON."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Result":
        """A result that `to_json` wrote; ResultError names the file and the field."""
        try:
            result = cls.model_validate_json(read_file(path, MAX_RESULT))
        except OSError as error:
            raise ResultError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ResultError(f"{path}: no load test result: {where}: {first['msg']}") from None
        try:
            latencies(result.stages)  # better known before a run that is compared with it
        except Exception:  # of base64, zlib, struct and the library itself
            raise ResultError(f"{path}: no load test result: a histogram is broken") from None
        return result

    @cached_property
    def stages(self) -> list[Stage]:
        """The measured stages of all runs."""
        return [stage for run in self.runs for stage in run.measured]


def latencies(stages: list[Stage], kind: Kind | None = None, sent: bool = False) -> Distribution:
    """The merged latencies of some stages.

    Args:
        stages: any number, all counted alike.
        kind: only the requests of this kind; all when None.
        sent: count from sent instead of scheduled.
    """
    groups = [group for stage in stages for group in stage.groups if kind in (None, group.kind)]
    encoded = [group.from_sent if sent else group.from_scheduled for group in groups]
    return Distribution(encoded, sum(group.unanswered for group in groups))
