"""Whether a rate is carried, for a search that measures many: no intervals, it repeats itself."""

from collections.abc import Sequence

from loadtest.quantity import show
from loadtest.result import Stage
from loadtest.rounds import Round, value_of
from loadtest.slo import Goodput, MemoryGrowth, Slo, describe
from loadtest.statistics import slope

BACKLOG_GROWTH = 0.01  # of the rate, see `backlog_grows`


def holds(slo: Slo, scenario: str, stages: Sequence[Stage]) -> tuple[bool, str]:
    """Whether a rate is carried: objectives met by the figures themselves, backlog not growing.

    Only absolute objectives that fail a gate count, and not memory, which says nothing of a rate.

    Returns:
        False with the reason, or True and an empty string.
    """
    names = {stage.name for stage in stages}
    judged = False
    for each in slo.objectives_of(scenario):
        if each.limit is None or each.severity == "warn" or isinstance(each, MemoryGrowth):
            continue
        if each.stage is not None and each.stage not in names:
            continue
        mine = [stage for stage in stages if each.stage in (None, stage.name)]
        value, judged = value_of(each, Round(mine, [])), True
        if not (value >= each.limit if isinstance(each, Goodput) else value <= each.limit):
            return False, f"{describe(each, scenario, relative=False)}: {show(value, each.unit)}"
    if not judged:
        return False, "no absolute objective to hold"
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
