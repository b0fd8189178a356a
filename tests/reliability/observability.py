"""What metrics and logs cost: the same service with both, and with neither."""

from collections import defaultdict
from collections.abc import Mapping

from loadtest.statistics import compare
from loadtest.texts import read_texts
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.serve import Options
from tests.reliability.server import running
from tests.reliability.wrk import WRK, Script

CONNECTIONS = 64
COST_S = 30e-6
ON, OFF = "on", "off"
ABBA = ((ON, OFF), (OFF, ON))


def measure(lab: Lab) -> Mapping[str, Measured]:
    """CPU a request with and without, in pairs that alternate."""
    if WRK is None:
        return {"observability": skip("wrk is not installed")}
    script = Script(lab.folder, "observed", read_texts())
    seconds = lab.seconds(4.0, 1.0)
    servers = {
        ON: lab.service(),
        OFF: lab.service(Options(control=-1, metrics=False), log_level="error"),
    }
    cpu_s: dict[str, list[float]] = defaultdict(list)
    with running(servers[ON]), running(servers[OFF]), watched() as watch:
        for server in servers.values():
            script.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
        for pair in range(lab.times(7, 5)):
            for name in ABBA[pair % 2]:
                before = servers[name].usage().cpu_s
                driven = script.run(servers[name].url, CONNECTIONS, seconds, lab.cores.clients)
                spent_s = servers[name].usage().cpu_s - before
                cpu_s[name].append(spent_s / driven.requests)
    found = compare(cpu_s[ON], cpu_s[OFF], ratio=False)
    straddles = ("the interval holds the limit",) if found.low <= COST_S < found.high else ()
    cost = Figure(
        found.effect, "s", "CPU a request", found.low, found.high, "95 % CI", len(cpu_s[ON])
    )
    return {
        "observability": Measured(
            found.effect <= COST_S,
            (cost, *(of_rounds(cpu_s[name], "s", name) for name in (ON, OFF))),
            noise=watch.noise + straddles,
        )
    }
