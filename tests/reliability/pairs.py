"""Two services that answer the same load in turn, so that what comes and goes meets both."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from loadtest.texts import read_texts
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.server import Server, running
from tests.reliability.wrk import Script

CONNECTIONS = 64


class Pairs(NamedTuple):
    """By the name of the service, a value for each pair of rounds; and what disturbed them."""

    rate_rps: Mapping[str, list[float]]
    cpu_s: Mapping[str, list[float]]  # a request
    noise: tuple[str, ...]


def alternate(lab: Lab, servers: Mapping[str, Server], pairs: int) -> Pairs:
    """Drive two services by wrk for some seconds each, after one round that does not count.

    Args:
        lab: what every measurement is given.
        servers: two, by name, not started.
        pairs: of rounds; every second one begins with the other service.
    """
    script = Script(lab.folder, "pairs", read_texts())
    seconds = lab.seconds(4.0, 1.0)
    found = Pairs(defaultdict(list), defaultdict(list), ())
    first, second = servers.values()
    with running(first), running(second), watched() as watch:
        for server in servers.values():
            script.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
        for pair in range(pairs):
            for name in list(servers)[:: -1 if pair % 2 else 1]:
                before = servers[name].usage().cpu_s
                driven = script.run(servers[name].url, CONNECTIONS, seconds, lab.cores.clients)
                spent_s = servers[name].usage().cpu_s - before
                found.cpu_s[name].append(spent_s / driven.requests)
                found.rate_rps[name].append(driven.rate_rps)
    return found._replace(noise=watch.noise)
