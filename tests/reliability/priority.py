"""Half the capacity of interactive requests beside five times of those that can wait."""

from collections.abc import Mapping

from loadtest.result import OK
from loadtest.workload import Mix
from tests.reliability import accounts
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import Loaded, longest_gap_s, on_time, open_load, workload
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import running

CURVE = Curve()
DEADLINE_S = 0.25
INTERACTIVE, BATCH = 0.5, 5.0  # offered, in capacities
STAGE = "both"


def measure(lab: Lab) -> Mapping[str, Measured]:
    """On-time shares and the longest time without an answer, of each priority."""
    offered = INTERACTIVE + BATCH
    load = workload(
        {STAGE: (offered * CURVE.capacity_rps, lab.seconds(20.0, 4.0))},
        # Kinds tell the priorities apart in the records: a batch of one text is one text.
        mix=Mix(single=INTERACTIVE / offered, batch=BATCH / offered, batch_size=1),
        headers={
            "single": {"X-Request-Priority": "interactive"},
            "batch": {"X-Request-Priority": "batch"},
        },
    )
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    with running(server):
        loaded = open_load(server, load, lab.folder / "priority.csv", lab.cores.clients)
        account = accounts.check(server, loaded.outcomes)
    return {"priority": _judge(loaded), "accounts": account}


def _judge(loaded: Loaded) -> Measured:
    interactive, batch = loaded.of(STAGE, "single"), loaded.of(STAGE, "batch")
    share = on_time(interactive, DEADLINE_S) / max(1, len(interactive))
    together = on_time([*interactive, *batch], DEADLINE_S)
    total = together / loaded.seconds(STAGE) / CURVE.capacity_rps
    gaps = {
        name: longest_gap_s([each.end_s for each in requests if each.outcome == OK])
        for name, requests in (("interactive", interactive), ("batch", batch))
    }
    return Measured(
        share >= 0.99 and total >= 0.95 and all(gap <= 5.0 for gap in gaps.values()),
        (
            Figure(share, "share", "interactive on time", n=len(interactive)),
            Figure(total, "share", "both, of the capacity", n=len(interactive) + len(batch)),
            *(Figure(gap, "s", f"longest without an answer, {n}") for n, gap in gaps.items()),
        ),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured(STAGE),
    )
