"""Realistic results of every sort, for tests of what shows them. Simulated, seeded, no network."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from loadtest.capacity import to_overload
from loadtest.judge import judge
from loadtest.result import (
    DROPPED,
    OK,
    TIMEOUT,
    Capacity,
    Check,
    Generator,
    Group,
    Host,
    Kind,
    Model,
    Result,
    Role,
    Run,
    Second,
    Stage,
    Step,
    Target,
    Tick,
    Verdict,
)
from tests.loadtest.made import histogram, slo

GIB = 2**30
HOST = Host(
    fingerprint="5f1c09aa",
    cpu="AMD EPYC 7B13",
    cores=2,
    memory_bytes=8 * GIB,
    system="Linux 6.1, Python 3.11.9",
)
NEW = Model(name="topics", version="4", manifest_sha256="c4" * 32)
OLD = Model(name="topics", version="3", manifest_sha256="ab" * 32)
CANDIDATE = Target(url="http://127.0.0.1:8000", models=[NEW], local=True)
BASELINE = Target(url="http://127.0.0.1:8001", models=[OLD], local=True)
TIMEOUT_S = 2.0
SHARED = ("metric: error_ratio, max: 0.2%", "metric: goodput, deadline: 100ms, min: 99%")


@dataclass(frozen=True)
class Service:
    """A queue in front of one worker.

    Attributes:
        median_s: of its lognormal time for one text.
        stall: when it does nothing, from and until, in seconds of the stage.
        error_ratio: of its answers that are a 500.
        refuse_after_s: it answers 503 at once when the queue is longer than this.
    """

    median_s: float = 0.0032
    stall: tuple[float, float] = (0.0, 0.0)
    error_ratio: float = 0.0
    refuse_after_s: float = math.inf


@dataclass(frozen=True)
class Sent:
    """One request, in seconds of its stage; `end_s` infinite without an answer."""

    kind: Kind
    texts: int
    due_s: float
    sent_s: float
    end_s: float
    outcome: str


@dataclass
class Site:
    """Where stages are recorded, one after another."""

    seed: int
    now_s: float = 0.0

    def stage(  # one per thing that an example varies
        self,
        service: Service,
        rate: float,
        duration_s: float,
        *,
        name: str = "steady",
        scenario: str = "steady",
        role: Role = "candidate",
        number: int = 0,
        deadline_s: float = 0.1,
        end_rate: float | None = None,
        lag_s: float = 0.00015,
        drop: float = 0.0,
        measured: bool = True,
    ) -> Stage:
        """The next stage of an open loop."""
        rng = random.Random(self.seed + round(self.now_s))
        arrivals = _arrivals(rng, rate, end_rate or rate, duration_s)
        stage = _to_stage(
            _serve(rng, service, arrivals, lag_s, drop),
            name=name,
            scenario=scenario,
            role=role,
            round=number,
            measured=measured,
            start_s=self.now_s,
            duration_s=duration_s,
            rate_rps=rate,
            end_rate_rps=end_rate or rate,
            users=None,
            deadline_s=deadline_s,
        )
        self.now_s += duration_s
        return stage


def _arrivals(rng: random.Random, first: float, last: float, duration_s: float) -> list[float]:
    at, due = 0.0, []
    while True:
        at += rng.expovariate(first + (last - first) * min(1.0, at / duration_s))
        if at >= duration_s:
            return due
        due.append(at)


def _serve(
    rng: random.Random, service: Service, arrivals: list[float], lag_s: float, drop: float
) -> list[Sent]:
    free, sent = 0.0, []
    for due in arrivals:
        at = due + rng.lognormvariate(math.log(lag_s), 0.6)
        request, free = _one(rng, service, due, at, free)
        if rng.random() < drop:
            request = Sent(request.kind, request.texts, due, due, math.inf, DROPPED)
        sent.append(request)
    return sent


def _one(
    rng: random.Random, service: Service, due: float, at: float, free: float
) -> tuple[Sent, float]:
    kind, texts, factor = rng.choices(
        [("single", 1, 1.0), ("batch", 8, 2.5), ("explain", 1, 3.0)], [90, 8, 2]
    )[0]
    begin = max(at, free)
    if service.stall[0] <= begin < service.stall[1]:
        begin = service.stall[1]
    if begin - at > service.refuse_after_s:
        return Sent(kind, texts, due, at, at + 0.0008, "status 503"), free
    end = begin + factor * rng.lognormvariate(math.log(service.median_s), 0.25)
    outcome = "status 500" if rng.random() < service.error_ratio else OK
    if end - due > TIMEOUT_S:
        return Sent(kind, texts, due, at, math.inf, TIMEOUT), end
    return Sent(kind, texts, due, at, end + 0.0012, outcome), end


def _closed(rng: random.Random, service: Service, users: int, duration_s: float) -> list[Sent]:
    ready, sent, free = [0.0] * users, [], 0.0
    while (due := min(ready)) < duration_s:
        request, free = _one(rng, service, due, due, free)
        ready[ready.index(due)] = min(request.end_s, due + TIMEOUT_S)
        sent.append(request)
    return sent


def _to_stage(sent: list[Sent], **fields: object) -> Stage:
    kinds = sorted({request.kind for request in sent}, reverse=True)
    deadline_s, start_s = float(fields["deadline_s"]), float(fields["start_s"])  # type: ignore[arg-type]
    duration_s = float(fields["duration_s"])  # type: ignore[arg-type]
    due = [[r for r in sent if int(r.due_s) == i] for i in range(math.ceil(duration_s))]
    return Stage(
        **fields,
        groups=[_group(kind, [r for r in sent if r.kind == kind], deadline_s) for kind in kinds],
        lag=histogram([r.sent_s - r.due_s for r in sent if r.outcome != DROPPED]),
        seconds=[
            _second(start_s + i, min(1.0, duration_s - i), here, deadline_s, _backlog(sent, i + 1))
            for i, here in enumerate(due)
        ],
    )


def _backlog(sent: list[Sent], at_s: float) -> int:
    answered = (min(r.end_s, r.due_s + TIMEOUT_S) for r in sent if r.sent_s <= at_s)
    return sum(end_s > at_s for end_s in answered)


def _group(kind: Kind, sent: list[Sent], deadline_s: float) -> Group:
    answered = [request for request in sent if request.outcome == OK]
    outcomes = [request.outcome for request in sent]
    return Group(
        kind=kind,
        offered=len(sent),
        outcomes={name: outcomes.count(name) for name in sorted(set(outcomes))},
        good=sum(request.end_s - request.due_s <= deadline_s for request in answered),
        texts=sum(request.texts for request in answered),
        from_scheduled=histogram([request.end_s - request.due_s for request in answered]),
        from_sent=histogram([request.end_s - request.sent_s for request in answered]),
    )


def _second(
    at_s: float, width_s: float, sent: list[Sent], deadline_s: float, backlog: int
) -> Second:
    answered = [r for r in sent if r.outcome == OK]
    scheduled = sorted(r.end_s - r.due_s for r in answered)
    return Second(
        at_s=at_s,
        width_s=width_s,
        offered=len(sent),
        ok=len(answered),
        good=sum(latency_s <= deadline_s for latency_s in scheduled),
        failed=len(sent) - len(answered),
        p50_s=_nearest(scheduled, 0.5),
        p95_s=_nearest(scheduled, 0.95),
        p99_s=_nearest(scheduled, 0.99),
        max_s=_nearest(scheduled, 1.0),
        sent_p99_s=_nearest(sorted(r.end_s - r.sent_s for r in answered), 0.99),
        backlog=backlog,
    )


def _nearest(ordered: list[float], fraction: float) -> float | None:
    return ordered[math.ceil(fraction * len(ordered)) - 1] if ordered else None


def ticks(stages: list[Stage], seed: int = 0, *, local: bool = True) -> list[Tick]:
    """One a second: a server that works as hard as it is asked to, and grows a little."""
    rng = random.Random(seed)
    return [_tick(rng, stage, second, local) for stage in stages for second in stage.seconds]


def _tick(rng: random.Random, stage: Stage, second: Second, local: bool) -> Tick:
    busy = min(1.0, second.offered * 0.0038 + rng.uniform(0, 0.05))
    stalled = second.ok == 0 or (second.p50_s or 0) > 0.5
    return Tick(
        at_s=second.at_s + second.width_s,
        target=int(stage.role != "candidate"),
        host_cpu_ratio=0.1 if stalled else min(1.0, busy * 0.62 + 0.05),
        steal_ratio=rng.choice([0.0, 0.0, 0.0, 0.004]),
        generator_cpu_ratio=0.09 + second.offered * 0.0006 + rng.uniform(0, 0.02),
        server_cpu_ratio=(0.03 if stalled else busy * 1.1) if local else None,
        server_rss_bytes=int((222 + 0.08 * second.at_s + rng.uniform(0, 2)) * 1e6)
        if local
        else None,
        queue_s=None if stalled else max(0.0002, (second.p50_s or 0.0) - 0.004),
        engine_s=None if stalled else 0.0031 + rng.uniform(0, 0.0006),
        batch_size=None if stalled else 1 + busy * 2.2 + rng.uniform(0, 0.3),
        queue_depth=float(second.backlog),
    )


def run(stages: list[Stage], **changes: object) -> Run:
    """A run of the generator with these stages."""
    fields: dict[str, object] = {
        "started_at": "2026-01-02T03:04:05+00:00",
        "workload": "9b1d7c52e0f4a6b8",
        "arrivals": "poisson",
        "seed": 20260102,
        "texts": "built-in, 51 different",
        "timeout_s": TIMEOUT_S,
        "generator": Generator(
            locust_version="2.47.0", processes=1, cpu_ratio=0.21, cpu_warning=False
        ),
        "stages": stages,
        "ticks": ticks(stages),
        "clock_step_s": 0.0002,
        "interrupted": False,
    }
    return Run(**(fields | changes))


def result(command: str, runs: list[Run], **changes: object) -> Result:
    """A result with these runs."""
    fields: dict[str, object] = {
        "command": command,
        "heed_version": "0.2.0",
        "started_at": "2026-01-02T03:04:05+00:00",
        "host": HOST,
        "targets": [CANDIDATE],
        "runs": runs,
    }
    return Result(**(fields | changes))


def gate(*objectives: str, runs: list[Run], **changes: object) -> Result:
    """A gate that judged these runs by objectives in YAML."""
    made = result("gate", runs, **changes)
    scenarios = list(dict.fromkeys(stage.scenario for stage in made.stages))
    verdict = judge(slo(*objectives, *SHARED, scenarios=scenarios), made)
    return made.model_copy(update={"verdict": verdict})


@cache
def closed() -> Result:
    """`heed loadtest URL --users 8`, 20 s, one slow second, a few errors, a remote server."""
    service = Service(stall=(12.0, 12.7), error_ratio=0.002)
    stage = _to_stage(
        _closed(random.Random(4), service, 8, 20.0),
        name="closed",
        scenario="loadtest",
        role="candidate",
        round=0,
        measured=True,
        start_s=2.0,
        duration_s=20.0,
        rate_rps=None,
        end_rate_rps=None,
        users=8,
        deadline_s=TIMEOUT_S,
    )
    measured = run([stage], arrivals="closed", ticks=ticks([stage], local=False))
    return result("loadtest", [measured])


@cache
def open_loop() -> Result:
    """A plain load test with three stages: steady, ramp, spike."""
    site, service = Site(seed=7), Service()
    stages = [
        site.stage(service, 60, 3, name="warm-up", scenario="loadtest", measured=False),
        site.stage(service, 60, 20, name="steady", scenario="loadtest"),
        site.stage(service, 60, 15, name="ramp", scenario="loadtest", end_rate=180),
        site.stage(service, 320, 4, name="spike", scenario="loadtest"),
        site.stage(service, 60, 12, name="after", scenario="loadtest"),
    ]
    return result("loadtest", [run(stages)])


@cache
def passing() -> Result:
    """A gate of two scenarios that holds everything but a warning."""
    runs = []
    for scenario, rate in (("steady", 100), ("busy", 170)):
        site, service = Site(seed=rate), Service()
        stages = [site.stage(service, rate, 3, name="warm-up", scenario=scenario, measured=False)]
        stages += [site.stage(service, rate, 8, scenario=scenario, number=n) for n in range(5)]
        runs.append(run(stages, seed=rate))
    return gate(
        "metric: p50, max: 20ms",
        "metric: p99, max: 50ms, scenario: steady",
        "metric: p99, max: 120ms, scenario: busy",
        "metric: memory_growth, max: 1MB, scenario: busy, severity: warn",
        runs=runs,
    )


@cache
def stalled() -> Result:
    """A gate that fails: the server does nothing for 3 s of 40, some are never answered."""
    site, service = Site(seed=3), Service(stall=(18.0, 21.0))
    stages = [
        site.stage(service, 100, 3, name="warm-up", measured=False),
        site.stage(service, 100, 40),
    ]
    limits = ("metric: p50, max: 20ms", "metric: p95, max: 50ms", "metric: p99, max: 100ms")
    return gate(*limits, runs=[run(stages)])


@cache
def regression() -> Result:
    """Five pairs against an interleaved baseline, the candidate 20 % slower."""
    site = Site(seed=12)
    old, new = Service(), Service(median_s=0.0040)
    same = [site.stage(old, 90, 4, role="calibration", number=n) for n in range(6)]
    site, stages = Site(seed=11), []
    for scenario_round in range(5):
        sides = [("candidate", new), ("baseline", old)]
        for role, service in sides if scenario_round % 2 == 0 else reversed(sides):
            site.now_s += 0.5
            stages.append(
                site.stage(service, 90, 8, role=role, number=scenario_round)  # type: ignore[arg-type]
            )
    return gate(
        "metric: p50, max_increase: 10%",
        "metric: p95, max_increase: 10%",
        "metric: p99, max: 100ms, max_increase: 40%",
        runs=[run(same), run(stages)],
        targets=[CANDIDATE, BASELINE],
    )


@cache
def invalid() -> Result:
    """A gate that measured its own generator: late, dropped, short of CPU."""
    site = Site(seed=5)
    stages = [site.stage(Service(), 150, 20, lag_s=0.02, drop=0.03)]
    generator = Generator(locust_version="2.47.0", processes=1, cpu_ratio=0.93, cpu_warning=True)
    unseen = ticks(stages, local=False)
    limits = ("metric: p99, max: 100ms", "metric: memory_growth, max: 24MB")
    return gate(*limits, runs=[run(stages, generator=generator, ticks=unseen)])


@cache
def inconclusive() -> Result:
    """A gate whose p99 straddles its limit."""
    site = Site(seed=8)
    stages = [site.stage(Service(), 120, 20)]
    return gate("metric: p99, max: 22ms", runs=[run(stages)])


TRIED = [
    ("bracket", 50.0, True, ""),
    ("bracket", 100.0, True, ""),
    ("bracket", 200.0, True, ""),
    ("bracket", 400.0, False, "p99 1,160 ms, at most 100 ms; the backlog grew by 41/s"),
    ("bisect", 283.0, False, "p99 402 ms, at most 100 ms; the backlog grew by 12/s"),
    ("bisect", 238.0, False, "p99 118 ms, at most 100 ms"),
    ("bisect", 218.0, True, ""),
    ("bisect", 228.0, True, ""),
    ("confirm", 228.0, False, "p99 104 ms, at most 100 ms"),
    *[("confirm", 223.0, True, "")] * 5,
]


@cache
def capacity() -> Result:
    """A search with its confirmations, three overloads and the recovery."""
    site, service = Site(seed=21), Service(median_s=0.0030, refuse_after_s=0.09)
    runs = []
    for phase, rate, _, _ in TRIED:
        site.now_s = 0.0
        runs.append(run([site.stage(service, rate, 6, name=phase, scenario="steady")]))
    site.now_s, stages = 0.0, []
    for factor in (2, 5, 10, 0.8):
        name = f"{factor:g} x"
        stages.append(site.stage(service, 223.0 * factor, 5, name=name, scenario="steady"))
    runs.append(run(stages))
    verdict = Verdict(
        outcome="pass",
        exit_code=0,
        summary="pass: one instance carries 348 texts/s",
        checks=[],
        judgements=[],
    )
    found = Capacity(
        rate_rps=223.0,
        texts_per_s=348.0,
        confirmations=5,
        limited_by="objectives",
        objectives=["steady: p99 at most 100 ms", "steady: error ratio at most 0.1 %"],
        steps=[Step(phase=p, rate_rps=r, held=h, reason=w) for p, r, h, w in TRIED],
        overload=[to_overload(*pair) for pair in zip((2, 5, 10, 0.8), stages, strict=True)],
        peak_texts_per_s=2000.0,
        instances=6,
        within="p99 at most 100 ms",
    )
    return result("capacity", runs, verdict=verdict, capacity=found)


@cache
def long() -> Result:
    """An hour; its histograms hold one minute, its seconds repeat."""
    stage = Site(seed=2).stage(Service(), 40, 60, scenario="loadtest")
    seconds = [
        second.model_copy(update={"at_s": float(60 * minute + i)})
        for minute in range(60)
        for i, second in enumerate(stage.seconds)
    ]
    hour = stage.model_copy(update={"duration_s": 3600.0, "seconds": seconds})
    return result("loadtest", [run([hour])])


@cache
def hostile() -> Result:
    """Every text that others chose is markup."""
    bad = '<script>alert("x")</script>|`*[a](javascript:b)\n# \x1b[31m'
    base = regression().model_copy(deep=True)
    assert base.verdict
    stages = [s.model_copy(update={"name": bad, "scenario": bad}) for s in base.runs[1].stages]
    stages[0].groups[0].outcomes[bad] = 3
    judgements = [
        j.model_copy(update={"objective": bad, "scenario": bad, "detail": bad})
        for j in base.verdict.judgements
    ]
    check = Check(name=bad, measured=bad, limit=bad, ok=False, advice=bad)
    target = Target(
        url=f"http://h/{bad}",
        models=[Model(name=bad, version=bad, manifest_sha256=bad)],
        local=True,
    )
    search = capacity().capacity
    assert search
    steps = [step.model_copy(update={"reason": bad}) for step in search.steps]
    return result(
        "gate",
        [base.runs[1].model_copy(update={"stages": stages, "texts": bad, "workload": bad})],
        targets=[target, target],
        verdict=base.verdict.model_copy(
            update={"summary": bad, "judgements": judgements, "checks": [check]}
        ),
        capacity=search.model_copy(update={"rate_rps": 90.0, "objectives": [bad], "steps": steps}),
    )


@cache
def empty() -> Result:
    """Stopped by hand during the warm-up: nothing was measured."""
    stage = Site(seed=1).stage(Service(), 50, 2, name="warm-up", measured=False)
    return result("loadtest", [run([stage], interrupted=True)])


@cache
def unanswered() -> Result:
    """A server that never answers; it is on another machine, and nothing is known of it."""
    stages = [Site(seed=1).stage(Service(stall=(0.0, 1e6)), 50, 4)]
    return result(
        "loadtest",
        [run(stages, ticks=ticks(stages, local=False))],
        targets=[Target(url="http://far:8000", models=[], local=False)],
    )


EXAMPLES: dict[str, Callable[[], Result]] = {
    example.__name__: example
    for example in (
        closed,
        open_loop,
        passing,
        stalled,
        regression,
        invalid,
        inconclusive,
        capacity,
        long,
        hostile,
        empty,
        unanswered,
    )
}
