"""When requests are due: seeded arrival times of one stage. Pure."""

import math
import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Literal

Arrivals = Literal["poisson", "constant"]


def arrival_times(
    arrivals: Arrivals, rate_rps: float, end_rate_rps: float, duration_s: float, seed: int
) -> Iterator[float]:
    """Seconds from the start of a stage at which its requests are due, ascending.

    The rate runs from `rate_rps` to `end_rate_rps` in a straight line. An arrival is where the
    expected count, the integral of the rate, reaches the next point of a unit process: 0.5, 1.5,
    ... for constant arrivals, sums of Exp(1) for Poisson ones (time rescaling; Cinlar,
    Introduction to Stochastic Processes, 1975, ch. 4.7).

    Args:
        arrivals: constant gaps (of a rate that may change), or a Poisson process.
        rate_rps: at the begin, requests per second, at least 0.
        end_rate_rps: at the end.
        duration_s: length of the stage.
        seed: equal seeds give equal times.
    """
    expected = duration_s * (rate_rps + end_rate_rps) / 2
    slope = (end_rate_rps - rate_rps) / duration_s
    for point in _unit_process(arrivals, seed):
        if point >= expected:
            return
        yield 2 * point / (rate_rps + math.sqrt(max(0.0, rate_rps**2 + 2 * slope * point)))


def thinned(times: Iterator[float], worker: int, workers: int) -> Iterator[tuple[int, float]]:
    """Every `workers`-th arrival from the `worker`-th on, with its index in the whole schedule.

    Together the workers send exactly the schedule that one alone would.
    """
    return islice(enumerate(times), worker, None, workers)


def _unit_process(arrivals: Arrivals, seed: int) -> Iterator[float]:
    if arrivals == "constant":
        yield from count(0.5)
    draw = random.Random(seed).expovariate  # noqa: S311 - a schedule, not a secret
    point = 0.0
    while True:
        point += draw(1.0)
        yield point
