"""A process that stands still for two seconds under load, as a machine that is moved does."""

import signal
from collections.abc import Mapping, Sequence

from loadtest.result import OK
from tests.reliability import accounts
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, Loaded, on_time, open_load, workload
from tests.reliability.measured import Figure, Measured
from tests.reliability.server import running

CURVE = Curve()
DEADLINE_S = 0.25
RUNNING_S = 5.0
STOPPED_S = 2.0
NORMAL_S = 2.0
AT_ONCE_S = 0.25
EDGE_S = 0.03


def measure(lab: Lab) -> Mapping[str, Measured]:
    """SIGSTOP and SIGCONT two seconds later, some times, at 0.7 of the capacity."""
    times = lab.times(3)
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    moments: list[tuple[float, float]] = []

    def stop(clock: Clock) -> None:
        for number in range(times):
            clock.sleep_until(RUNNING_S + number * (RUNNING_S + STOPPED_S))
            server.signal(signal.SIGSTOP)
            stopped_s = clock.now_s()
            clock.sleep_until((number + 1) * (RUNNING_S + STOPPED_S))
            server.signal(signal.SIGCONT)
            moments.append((stopped_s, clock.now_s()))

    length_s = times * (RUNNING_S + STOPPED_S) + RUNNING_S
    load = workload({"all": (0.7 * CURVE.capacity_rps, length_s)}, warm_up_s=0.0)
    with running(server):
        loaded = open_load(server, load, lab.folder / "pause.csv", lab.cores.clients, (stop,))
        metrics = accounts.settled(server)
        account = accounts.check(server, loaded.outcomes)
    return {"pause": _judge(loaded, metrics, moments), "accounts": account}


def _judge(
    loaded: Loaded, metrics: Mapping[str, float], moments: Sequence[tuple[float, float]]
) -> Measured:
    held_up, normal, last_s = [], [], 0.0
    for stopped_s, going_s in moments:
        # Our clock and the generator's differ by some milliseconds: the edges are left out.
        before, after = stopped_s - EDGE_S, going_s - EDGE_S
        own = [each for each in loaded.of("all") if each.sent_s < before and each.end_s > after]
        last_s = max([last_s, *(each.end_s - going_s for each in own)])
        held_up += own
        calm_s = (going_s + NORMAL_S, going_s + RUNNING_S - DEADLINE_S)
        normal += [each for each in loaded.of("all") if calm_s[0] <= each.due_s < calm_s[1]]
    expired = sum(each.outcome == "status 504" for each in held_up)
    answered = sum(each.outcome == OK for each in held_up)
    share = on_time(normal, DEADLINE_S) / max(1, len(normal))
    late = metrics["heed_late_responses_total"]
    return Measured(
        last_s <= AT_ONCE_S and not late and not answered and share >= 0.95,
        (
            Figure(expired, "", "in flight when stopped, answered 504", n=len(held_up)),
            Figure(answered, "", "answered 200"),
            Figure(last_s, "s", "the last of them after SIGCONT"),
            Figure(late, "", "late 200s"),
            Figure(share, "share", f"on time from {NORMAL_S:g} s after", n=len(normal)),
        ),
        noise=loaded.noise,
        unmeasured=() if held_up else ("nothing was in flight",),
    )
