"""Whose work a thread does next: what is cheap passes what is dear, for a bounded time. Pure.

A job is done in units, and after each the next one may be of another job. The order is that of
`arrival + PATIENCE * expected seconds`: a small job waits for a unit of a large one, not for all of
it, and what comes later than that after a job never passes it.
"""

from bisect import bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.quantile import RollingQuantiles

PayloadT = TypeVar("PayloadT")

PATIENCE = 10.0  # seconds for each of its own that a job lets others pass
_WINDOW = 256  # jobs
_QUANTILE = 0.9


class Cost:
    """Seconds that a unit of work takes: an upper quantile of the last jobs."""

    def __init__(self, seconds: float) -> None:
        """A guess until there is a job."""
        self._guess = seconds
        self._seen = RollingQuantiles(_WINDOW)

    @property
    def seconds(self) -> float:
        """For one unit of work."""
        return self._seen.at(_QUANTILE) or self._guess

    def observe(self, work: float, seconds: float) -> None:
        """So much was done in so long."""
        if work > 0.0:
            self._seen.add(seconds / work)


@dataclass(slots=True, eq=False)
class Job(Generic[PayloadT]):
    """What is to be done: `left_s` is what it is still expected to take, `turn` its place."""

    payload: PayloadT
    left_s: float
    turn: float


def _turn(job: Job[PayloadT]) -> float:
    return job.turn


class Turns(Generic[PayloadT]):
    """Jobs that wait or are under way, in the order of their turns."""

    def __init__(self) -> None:
        """None."""
        self._jobs: list[Job[PayloadT]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def left_s(self) -> float:
        """What all are expected to take."""
        return sum(job.left_s for job in self._jobs)

    def before_s(self, expected_s: float, now: float) -> float | None:
        """What goes before a job of `expected_s` that comes now; None if nothing is there."""
        if not self._jobs:
            return None
        place = bisect_right(self._jobs, now + PATIENCE * expected_s, key=_turn)
        return sum(job.left_s for job in self._jobs[:place])

    def submit(self, payload: PayloadT, expected_s: float, now: float) -> Job[PayloadT]:
        """Give a job its place; it stays until `remove`."""
        job = Job(payload, expected_s, now + PATIENCE * expected_s)
        key: Callable[[Job[PayloadT]], float] = _turn
        insort(self._jobs, job, key=key)
        return job

    def next(self) -> Job[PayloadT] | None:
        """Whose unit is to be done now."""
        return self._jobs[0] if self._jobs else None

    def remove(self, job: Job[PayloadT]) -> None:
        """It is done, or nobody waits for it. One that is gone is no error."""
        if job in self._jobs:
            self._jobs.remove(job)
