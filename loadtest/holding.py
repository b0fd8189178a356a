"""Whether a rate is carried, for a search that measures many: no intervals, it repeats itself."""

from collections.abc import Sequence

from loadtest.quantity import show
from loadtest.result import Stage
from loadtest.rounds import Round, value_of
from loadtest.slo import Goodput, Latency, MemoryGrowth, Objective, Slo, describe
from loadtest.statistics import slope

BACKLOG_GROWTH = 0.01  # of the rate, see `backlog_grows`


def objectives_to_hold(slo: Slo, scenario: str) -> list[Objective]:
    """What a rate is held to: absolute, able to fail a gate, of the whole workload.

    Not memory, which says nothing of a rate. The highest limited percentile comes first: it is
    what people ask for.
    """
    found = [
        each
        for each in slo.objectives_of(scenario)
        if each.limit is not None
        and each.severity == "fail"
        and each.stage is None
        and not isinstance(each, MemoryGrowth)
    ]
    return sorted(found, key=lambda each: -each.fraction if isinstance(each, Latency) else 0.0)


def holds(slo: Slo, scenario: str, stages: Sequence[Stage]) -> tuple[bool, str]:
    """Whether a rate is carried: objectives met by the figures themselves, backlog not growing.

    Returns:
        False with the reason, or True and an empty string.
    """
    for each in objectives_to_hold(slo, scenario):
        value, limit = value_of(each, Round(list(stages), [])), each.limit or 0.0
        if not (value >= limit if isinstance(each, Goodput) else value <= limit):
            return False, f"{describe(each, scenario, relative=False)}: {show(value, each.unit)}"
    if any(backlog_grows(stage) for stage in stages):
        return False, "the backlog grows"
    return True, ""


def backlog_grows(stage: Stage) -> bool:
    """Whether requests pile up, by the trend of the backlog over a stage of constant rate.

    A server that is x % too slow leaves x % of the rate behind every second, so a slope above 1 %
    of the rate is looked for, a fifth of what a search resolves. It must also be three times its
    standard error, or the ups and downs of a short queue would count. Simulated with one server of
    constant service time, 100 to 400 requests/s, 10 to 20 s: called growing in 0 to 1 % at 90 % of
    the capacity, 0 to 7 % at 95 %, 70 to 100 % at 105 %, 95 to 100 % at 110 %. Under five seconds
    nothing is called a trend, nor where the rate itself changes.
    """
    if stage.rate_rps is None or stage.rate_rps != stage.end_rate_rps or len(stage.seconds) < 5:
        return False
    ends = [second.at_s + second.width_s for second in stage.seconds]
    rise, error = slope(ends, [second.backlog for second in stage.seconds])
    return rise > max(BACKLOG_GROWTH * stage.rate_rps, 3 * error)
