"""What one run measured, request by request. Standard library only, as Locust imports it too."""

import csv
import json
from array import array
from dataclasses import dataclass, field
from pathlib import Path

OK = "ok"


@dataclass
class Samples:
    """Every request of a run, in three columns of equal length.

    Attributes:
        started_at: when the load began, ISO 8601 with its offset from UTC.
        stopped_s: when users stopped sending, seconds after the load began.
        cpu_warning: the load generator itself ran short of CPU.
        start_s: when each request was sent, seconds after the load began, monotonic clock.
        latency_s: from sending a request to its whole answer.
        outcome: `ok`, or a short name of the failure.
    """

    started_at: str
    stopped_s: float = 0.0
    cpu_warning: bool = False
    start_s: "array[float]" = field(default_factory=lambda: array("d"))
    latency_s: "array[float]" = field(default_factory=lambda: array("d"))
    outcome: list[str] = field(default_factory=list)

    def add(self, start_s: float, latency_s: float, outcome: str) -> None:
        """Keep one finished request."""
        self.start_s.append(start_s)
        self.latency_s.append(latency_s)
        self.outcome.append(outcome)

    def write(self, path: Path) -> None:
        """Save as one JSON line of run facts, then a CSV row for each request."""
        with path.open("w", encoding="utf-8", newline="") as file:
            facts = (self.started_at, self.stopped_s, self.cpu_warning)
            file.write(json.dumps(facts) + "\n")
            csv.writer(file).writerows(zip(self.start_s, self.latency_s, self.outcome, strict=True))

    @classmethod
    def read(cls, path: Path) -> "Samples":
        """The samples that `write` saved."""
        with path.open(encoding="utf-8", newline="") as file:
            samples = cls(*json.loads(next(file)))
            for start_s, latency_s, outcome in csv.reader(file):
                samples.add(float(start_s), float(latency_s), outcome)
        return samples
