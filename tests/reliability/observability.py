"""What metrics and logs cost: the same service with both, and with neither."""

from collections.abc import Mapping

from loadtest.statistics import compare
from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.pairs import alternate
from tests.reliability.serve import Options
from tests.reliability.wrk import WRK

COST_S = 30e-6
ON, OFF = "on", "off"


def measure(lab: Lab) -> Mapping[str, Measured]:
    """CPU a request with and without, in pairs that alternate."""
    if WRK is None:
        return {"observability": skip("wrk is not installed")}
    servers = {
        ON: lab.service(),
        OFF: lab.service(Options(control=-1, metrics=False), log_level="error"),
    }
    pairs = alternate(lab, servers, lab.times(7, 5))
    cpu_s = pairs.cpu_s
    found = compare(cpu_s[ON], cpu_s[OFF], ratio=False)
    cost = Figure(
        found.effect,
        "s",
        "CPU a request",
        found.low,
        found.high,
        "95 % CI",
        len(cpu_s[ON]),
        at_most=COST_S,
    )
    return {
        "observability": Measured(
            True,
            (cost, *(of_rounds(cpu_s[name], "s", name) for name in servers)),
            noise=pairs.noise,
        )
    }
