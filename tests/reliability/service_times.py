"""Whether batches take as long as the service expects them to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from loadtest.workload import Mix, Texts
from tests.reliability import accounts
from tests.reliability.lab import Lab
from tests.reliability.load import open_load, workload
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.serve import Options
from tests.reliability.server import running

LEAST = 1000  # batches
LEARNING = 100  # batches, from which the first expectations come
OFTEN = 10  # batches of a size that have a median worth its name
ERROR = 0.15
COVERAGE = (0.93, 0.97)
MIX = Mix(single=0.9, batch=0.08, explain=0.02, batch_size=16)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Expected and upper seconds of each batch, noted before it was learned from."""
    seconds = lab.seconds(12.0, 2.0)
    rates = {"low": (50.0, seconds), "middle": (200.0, seconds), "high": (400.0, seconds)}
    server = lab.service(Options(control=-1, trace=True), engine_workers=1)
    with running(server):
        load = workload(rates, texts=Texts(built_in=True), mix=MIX)
        loaded = open_load(server, load, lab.folder / "batches.csv", lab.cores.clients)
        batches = server.tell("traced")[LEARNING:]
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
                Figure(quantile(_hindsight(batches), 0.9), "share", "of one who knew each median"),
                Figure(covered, "share", "batches below the bound of 95 %"),
            ),
            noise=loaded.noise,
        ),
        "accounts": account,
    }


def _hindsight(batches: Sequence[tuple[int, float, float, float]]) -> list[float]:
    """Relative errors if the median of all batches of the same size had been expected.

    What is left is not for a function of the size to know: the machine, and that a small batch
    takes longer after a large one, which has taken the caches.
    """
    by_tokens: dict[int, list[float]] = defaultdict(list)
    for tokens, _, _, measured in batches:
        by_tokens[tokens].append(measured)
    return [
        abs(measured / quantile(same, 0.5) - 1)
        for same in by_tokens.values()
        if len(same) >= OFTEN
        for measured in same
    ]
