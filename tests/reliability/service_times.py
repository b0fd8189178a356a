"""Whether batches take as long as the service expects them to."""

from collections.abc import Mapping

from loadtest.workload import Mix
from tests.reliability import accounts
from tests.reliability.lab import Lab
from tests.reliability.load import open_load, workload
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.serve import Options
from tests.reliability.server import running

LEAST = 1000  # batches
ERROR = 0.15
COVERAGE = (0.93, 0.97)
MIX = Mix(single=0.9, batch=0.08, explain=0.02, batch_size=16)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Expected and upper seconds of each batch, noted before it was learned from."""
    seconds = lab.seconds(12.0, 2.0)
    rates = {"low": (50.0, seconds), "middle": (200.0, seconds), "high": (400.0, seconds)}
    server = lab.service(Options(control=-1, trace=True))
    with running(server):
        load = workload(rates, built_in=True, mix=MIX)
        loaded = open_load(server, load, lab.folder / "batches.csv", lab.cores.clients)
        batches = server.tell("traced")
        account = accounts.check(server, loaded.outcomes)
    errors = [abs(measured / expected - 1) for _, expected, _, measured in batches]
    covered = sum(measured <= upper for _, _, upper, measured in batches) / max(1, len(batches))
    p90 = quantile(errors, 0.9)
    low, high = COVERAGE
    return {
        "service time": Measured(
            p90 <= ERROR and low <= covered <= high and len(batches) >= LEAST,
            (
                Figure(p90, "share", "p90 of the relative error", n=len(batches)),
                Figure(quantile(errors, 0.5), "share", "its median"),
                Figure(covered, "share", "batches below the bound of 95 %"),
            ),
            noise=loaded.noise,
        ),
        "accounts": account,
    }
