"""The bound of the queue follows the service time."""

import math
import time
from collections.abc import Mapping

from tests.reliability import accounts
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, open_load, workload
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import Server, running

CURVE = Curve()
DEADLINE_S = 2.0
SLOWER = 10.0
TOLERANCE = 0.2
WITHIN_S = 5.0


def expected_limit(scale: float) -> int:
    """ceil(C (D - s)) of the curve at some scale."""
    full_s = scale * CURVE.full_s
    return math.ceil(CURVE.max_batch_size / full_s * (DEADLINE_S - full_s))


class Changes:
    """Makes the engine slower, then as fast as before, and watches `heed_queue_limit`.

    Attributes:
        seen: seconds since the start of the load, and the limit then.
    """

    def __init__(self, server: Server, at_s: Mapping[float, float]) -> None:
        self.seen: list[tuple[float, float]] = []
        self._server, self._at_s = server, dict(at_s)

    def __call__(self, clock: Clock) -> None:
        """Change and look until the load is over; blocks."""
        clock.started.wait()
        while not clock.over.is_set():
            for at_s in [at_s for at_s in self._at_s if at_s <= clock.now_s()]:
                self._server.tell("scale", factor=self._at_s.pop(at_s))
            limit = self._server.metrics()["heed_queue_limit"]
            self.seen.append((clock.now_s(), limit))
            time.sleep(0.05)

    def settled_s(self, start_s: float, end_s: float, limit: int) -> float:
        """From `start_s` until the limit stays near `limit`; infinite if it does not."""
        near = [
            (at_s, abs(seen / limit - 1) <= TOLERANCE)
            for at_s, seen in self.seen
            if start_s <= at_s < end_s
        ]
        last_far = max((at_s for at_s, is_near in near if not is_near), default=start_s)
        return last_far - start_s if near and near[-1][1] else math.inf

    def at(self, moment_s: float) -> float:
        """The limit just before."""
        return [limit for at_s, limit in self.seen if at_s < moment_s][-1]


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Seconds until the bound is right after the service time has changed, both ways."""
    length_s = lab.seconds(10.0, 7.0)
    slow_s, fast_s, end_s = length_s, 2 * length_s, 3 * length_s
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    with running(server):
        changes = Changes(server, {slow_s: SLOWER, fast_s: 1.0})
        load = workload({"steady": (0.8 * CURVE.capacity_rps, end_s)}, warm_up_s=0.0)
        loaded = open_load(server, load, lab.folder / "bound.csv", lab.cores.clients, (changes,))
        account = accounts.check(server, loaded.outcomes)
    right, slow = expected_limit(1.0), expected_limit(SLOWER)
    slower_s = changes.settled_s(slow_s, fast_s, slow)
    faster_s = changes.settled_s(fast_s, end_s, right)
    before = changes.at(slow_s)
    held = abs(before / right - 1) <= TOLERANCE and max(slower_s, faster_s) <= WITHIN_S
    figures = (
        Figure(before, "texts", f"bound, {right} expected"),
        Figure(slower_s, "s", f"ten times slower: within 20 % of {slow} after"),
        Figure(faster_s, "s", f"as fast as before: within 20 % of {right} after"),
    )
    return {"derived bound": Measured(held, figures, noise=loaded.noise), "accounts": account}
