"""What the generator counts while it runs, stage by stage; mergeable over processes."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtest.histogram import Distribution, encode, new_histogram, record
from loadtest.plan import Plan, PlannedStage
from loadtest.result import DROPPED, OK, Group, Second, Stage

MAX_DETAILS = 3  # of an outcome
SECOND_DIGITS = 2  # of the histograms of single seconds: 1 %, a seventh of the memory


@dataclass(slots=True)
class Request:
    """One request, times in seconds since the start of its stage.

    Attributes:
        outcome: `ok`, `timeout`, `dropped`, or a failure by its short name.
        detail: what the service said of a failure; empty if nothing.
        texts: in the request.
        sent_s, first_byte_s, end_s: equal to `due_s` where there was none.
    """

    kind: str
    texts: int
    due_s: float
    sent_s: float
    first_byte_s: float
    end_s: float
    outcome: str = ""
    detail: str = ""


@dataclass(slots=True)
class _GroupTally:
    outcomes: Counter[str] = field(default_factory=Counter)
    details: dict[str, list[str]] = field(default_factory=dict)
    good: int = 0
    texts: int = 0
    from_scheduled: HdrHistogram = field(default_factory=new_histogram)
    from_sent: HdrHistogram = field(default_factory=new_histogram)

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcomes": dict(self.outcomes),
            "details": self.details,
            "good": self.good,
            "texts": self.texts,
            "from_scheduled": encode(self.from_scheduled),
            "from_sent": encode(self.from_sent),
        }

    def note(self, outcome: str, detail: str) -> None:
        """Keep the first few different ones."""
        kept = self.details.setdefault(outcome, [])
        if detail not in kept and len(kept) < MAX_DETAILS:
            kept.append(detail)

    def merge(self, other: dict[str, Any]) -> None:
        self.outcomes.update(other["outcomes"])
        for outcome, details in other["details"].items():
            for detail in details:
                self.note(outcome, detail)
        self.good += other["good"]
        self.texts += other["texts"]
        self.from_scheduled.decode_and_add(other["from_scheduled"])
        self.from_sent.decode_and_add(other["from_sent"])


@dataclass(slots=True)
class _SecondTally:
    counts: Counter[str] = field(default_factory=Counter)  # offered, ok, good, sent, ended
    from_scheduled: HdrHistogram = field(default_factory=lambda: new_histogram(SECOND_DIGITS))
    from_sent: HdrHistogram = field(default_factory=lambda: new_histogram(SECOND_DIGITS))

    def to_dict(self) -> dict[str, Any]:
        return {
            "counts": dict(self.counts),
            "from_scheduled": encode(self.from_scheduled),
            "from_sent": encode(self.from_sent),
        }

    def merge(self, other: dict[str, Any]) -> None:
        self.counts.update(other["counts"])
        self.from_scheduled.decode_and_add(other["from_scheduled"])
        self.from_sent.decode_and_add(other["from_sent"])


class StageTally:
    """The requests that were due in one stage."""

    def __init__(self, planned: PlannedStage) -> None:
        """Nothing counted yet."""
        self.planned = planned
        self._groups: defaultdict[str, _GroupTally] = defaultdict(_GroupTally)
        self._seconds = [_SecondTally() for _ in range(max(1, math.ceil(planned.duration_s)))]
        self._lag = new_histogram()
        self.due = 0  # drawn from the schedule, with or without an outcome by now

    def add(self, request: Request) -> None:
        """Count one request that has its outcome."""
        group = self._groups[request.kind]
        group.outcomes[request.outcome] += 1
        if request.detail:
            group.note(request.outcome, request.detail)
        second = self._second(request.due_s)
        second.counts["offered"] += 1
        if request.outcome == DROPPED:
            return
        record(self._lag, request.sent_s - request.due_s)
        for event, at_s in (("sent", request.sent_s), ("ended", request.end_s)):
            if at_s < self.planned.duration_s:
                self._second(at_s).counts[event] += 1
        if request.outcome == OK:
            self._add_answer(request, group, second)

    def _add_answer(self, request: Request, group: _GroupTally, second: _SecondTally) -> None:
        latency_s = request.end_s - request.due_s
        good = latency_s <= self.planned.deadline_s
        group.good += good
        group.texts += request.texts
        second.counts["ok"] += 1
        second.counts["good"] += good
        for tally in (group, second):
            record(tally.from_scheduled, latency_s)
            record(tally.from_sent, request.end_s - request.sent_s)

    def _second(self, at_s: float) -> _SecondTally:
        return self._seconds[min(int(at_s), len(self._seconds) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """All counts, for JSON and for Locust's messages."""
        return {
            "groups": {kind: group.to_dict() for kind, group in self._groups.items()},
            "seconds": [second.to_dict() for second in self._seconds],
            "lag": encode(self._lag),
            "due": self.due,
        }

    def merge(self, other: dict[str, Any]) -> None:
        """Add what another process counted in the same stage."""
        for kind, group in other["groups"].items():
            self._groups[kind].merge(group)
        for mine, theirs in zip(self._seconds, other["seconds"], strict=True):
            mine.merge(theirs)
        self._lag.decode_and_add(other["lag"])
        self.due += other["due"]

    def to_stage(self) -> Stage:
        """The stage as the result shows it."""
        planned = self.planned.model_dump(exclude={"target", "seed"})
        groups = [
            Group(kind=kind, offered=group.outcomes.total(), **group.to_dict())
            for kind, group in sorted(self._groups.items(), reverse=True)
        ]
        return Stage(
            **planned,
            groups=groups,
            lag=encode(self._lag),
            seconds=self._to_seconds(),
            lost=max(0, self.due - sum(group.offered for group in groups)),
        )

    def _to_seconds(self) -> list[Second]:
        in_flight = accumulate(s.counts["sent"] - s.counts["ended"] for s in self._seconds)
        start_s, duration_s = self.planned.start_s, self.planned.duration_s
        return [
            _to_second(tally, start_s + i, min(1.0, duration_s - i), backlog)
            for i, (tally, backlog) in enumerate(zip(self._seconds, in_flight, strict=True))
        ]


class Recording:
    """A whole run, one tally per stage of its plan."""

    def __init__(self, plan: Plan) -> None:
        """Nothing counted yet."""
        self.stages = [StageTally(stage) for stage in plan.stages]

    def to_dict(self) -> list[dict[str, Any]]:
        """The counts of each stage."""
        return [stage.to_dict() for stage in self.stages]

    def merge(self, other: Iterable[dict[str, Any]]) -> None:
        """Add what another process counted for the same plan."""
        for mine, theirs in zip(self.stages, other, strict=True):
            mine.merge(theirs)


def _to_second(tally: _SecondTally, at_s: float, width_s: float, backlog: int) -> Second:
    counts = tally.counts
    latency = Distribution([encode(tally.from_scheduled)])
    sent = Distribution([encode(tally.from_sent)])
    figures = {q: latency.quantile(q) if latency.total else None for q in (0.5, 0.95, 0.99, 1.0)}
    return Second(
        at_s=at_s,
        width_s=width_s,
        offered=counts["offered"],
        ok=counts["ok"],
        good=counts["good"],
        failed=counts["offered"] - counts["ok"],
        p50_s=figures[0.5],
        p95_s=figures[0.95],
        p99_s=figures[0.99],
        max_s=figures[1.0],
        sent_p99_s=sent.quantile(0.99) if sent.total else None,
        backlog=backlog,
    )
