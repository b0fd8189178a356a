"""A service that may use one core only: as many threads, and the rate of one."""

import re
from collections import defaultdict
from collections.abc import Mapping

from loadtest.texts import read_texts
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.server import running
from tests.reliability.wrk import WRK, Script

CONNECTIONS = 64
RATIO = 0.9


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Its rate by default against that with one worker of one thread, in turn."""
    if WRK is None:
        return {"CPU limit": skip("wrk is not installed")}
    script = Script(lab.folder, "limited", read_texts())
    seconds = lab.seconds(4.0, 1.0)
    servers = {
        "default": lab.service(),
        "one thread": lab.service(engine_workers=1, intra_op_num_threads=1),
    }
    rates: dict[str, list[float]] = defaultdict(list)
    with running(servers["default"]), running(servers["one thread"]), watched() as watch:
        said = re.search(r"(\d+) workers x (\d+) threads", servers["default"].log.read_text())
        for server in servers.values():
            script.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
        for pair in range(lab.times(5)):
            for name in list(servers)[:: 1 if pair % 2 else -1]:
                driven = script.run(servers[name].url, CONNECTIONS, seconds, lab.cores.clients)
                rates[name].append(driven.rate_rps)
    threads = int(said[1]) * int(said[2]) if said else 0
    ratios = [a / b for a, b in zip(rates["default"], rates["one thread"], strict=True)]
    ratio = of_rounds(ratios, "share", "of the rate with one thread")
    return {
        "CPU limit": Measured(
            threads == 1 and ratio.value >= RATIO,
            (Figure(threads, "", "threads that compute"), ratio),
            noise=watch.noise,
        )
    }
