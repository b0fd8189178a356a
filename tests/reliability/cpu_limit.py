"""A service that may use one core only: as many threads, and the rate of one."""

import re
from collections.abc import Mapping

from tests.reliability.lab import Lab
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.pairs import alternate
from tests.reliability.wrk import WRK

RATIO = 0.9
DEFAULT, ONE = "default", "one thread"


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Its rate by default against that with one worker of one thread, in turn."""
    if WRK is None:
        return {"CPU limit": skip("wrk is not installed")}
    servers = {
        DEFAULT: lab.service(),
        ONE: lab.service(engine_workers=1, intra_op_num_threads=1),
    }
    found = alternate(lab, servers, lab.times(5))
    said = re.search(r"(\d+) workers x (\d+) threads", servers[DEFAULT].log.read_text())
    threads = int(said[1]) * int(said[2]) if said else 0
    rates = found.rate_rps
    ratios = [own / one for own, one in zip(rates[DEFAULT], rates[ONE], strict=True)]
    ratio = of_rounds(ratios, "share", "of the rate with one thread", at_least=RATIO)
    return {
        "CPU limit": Measured(
            threads == 1,
            (Figure(threads, "", "threads that compute"), ratio),
            noise=found.noise,
        )
    }
