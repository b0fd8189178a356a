"""One run of load from 1x to 10x of the capacity and back to 0.8x: it answers for many promises."""

import itertools
import time
from collections.abc import Mapping

from tests.reliability import accounts
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import (
    Clock,
    Loaded,
    answered_p99_s,
    closed_rate,
    on_time,
    open_load,
    workload,
)
from tests.reliability.measured import Figure, Measured, quantile
from tests.reliability.probes import Probes
from tests.reliability.server import Server, Usage, running

DEADLINE_S = 0.25
ON_THE_WAY_S = 0.020  # that an answer may be late for its client: loopback, a busy generator
CURVE = Curve()
STEPS = {"1x": 1.0, "2x": 2.0, "5x": 5.0, "10x": 10.0, "0.8x": 0.8}
OVERLOADS = {"2x": 0.95, "5x": 0.95, "10x": 0.90}  # the least goodput, in capacities
PROBE_S = 0.1
REFUSAL_S = 0.020
RECOVERY_S = 5.0
REFUSED = "status 503"


class Gauges:
    """The process and its queue, ten times a second beside the load."""

    def __init__(self, server: Server) -> None:
        self.seen: list[tuple[float, Usage]] = []
        self._server = server

    def __call__(self, clock: Clock) -> None:
        """Look until the load is over; blocks."""
        clock.started.wait()
        while not clock.over.wait(0.1):
            self.seen.append((clock.now_s(), self._server.usage()))

    def between(self, start_s: float, end_s: float) -> list[Usage]:
        """What was seen in this time."""
        return [usage for at_s, usage in self.seen if start_s <= at_s < end_s]


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Goodput, latencies, refusals, recovery, control plane and accounts under overload."""
    seconds = lab.seconds(20.0, 4.0)
    rates = {name: (factor * CURVE.capacity_rps, seconds) for name, factor in STEPS.items()}
    load = workload(rates, warm_up_s=5.0)
    server = lab.fake(CURVE, request_timeout_s=DEADLINE_S)
    with running(server):
        closed_rps = closed_rate(server, 24, lab.seconds(8.0, 2.0), lab.cores.clients)
        before = accounts.settled(server)
        probes, gauges = Probes(server, period_s=PROBE_S), Gauges(server)
        idle = server.usage()
        loaded = open_load(
            server, load, lab.folder / "ladder.csv", lab.cores.clients, (probes, gauges)
        )
        metrics = accounts.settled(server)
        time.sleep(1.0)
        after = server.usage()
    durations = server.durations_s("ok", "shed")
    return {
        "goodput": _goodput(loaded, closed_rps),
        "accepted latency": _accepted(loaded, durations["ok"]),
        "no late answer": _late(metrics, durations["ok"]),
        "refusal latency": _refusals(loaded, durations["shed"]),
        "recovery": _recovery(loaded, metrics, idle, after),
        "control plane": _control_plane(loaded, probes),
        "accounts": accounts.compare(accounts.grown(metrics, before), loaded.outcomes),
    }


def _goodput(loaded: Loaded, closed_rps: float) -> Measured:
    figures = []
    held = True
    for name in ("1x", *OVERLOADS):
        full = loaded.seconds(name) * CURVE.capacity_rps
        share, nearly = (
            on_time(loaded.of(name), limit_s) / full
            for limit_s in (DEADLINE_S, DEADLINE_S + ON_THE_WAY_S)
        )
        held &= share >= OVERLOADS.get(name, 0.0)
        figures.append(Figure(share, "share", f"{name}: on time", n=len(loaded.of(name))))
        figures.append(Figure(nearly - share, "share", f"{name}: up to 20 ms late"))
    lateness_s = quantile([each.sent_s - each.due_s for each in loaded.of("10x")], 0.99)
    figures.append(Figure(lateness_s, "s", "of it lateness of the generator, p99 at 10x"))
    capacity = Figure(CURVE.capacity_rps, "texts/s", "capacity by the curve")
    closed = Figure(closed_rps, "texts/s", "24 clients in a closed loop")
    return Measured(
        held,
        (*figures, capacity, closed),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured(*OVERLOADS),
    )


def _accepted(loaded: Loaded, durations_s: list[float]) -> Measured:
    client_s = {name: answered_p99_s(loaded.of(name)) for name in OVERLOADS}
    server_s = quantile(durations_s, 0.99)
    return Measured(
        server_s <= DEADLINE_S + CURVE.full_s
        and all(each <= DEADLINE_S + ON_THE_WAY_S for each in client_s.values()),
        (
            *(
                Figure(value, "s", f"p99 at the client, {name}", n=len(loaded.of(name)))
                for name, value in client_s.items()
            ),
            Figure(server_s, "s", "p99 in the service, all stages", n=len(durations_s)),
        ),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured(*OVERLOADS),
    )


def _late(metrics: Mapping[str, float], durations_s: list[float]) -> Measured:
    late = metrics["heed_late_responses_total"]
    # The log counts from when the request was whole in its headers, as the deadline does; what
    # lies between the two clocks is under a millisecond.
    logged = sum(each > DEADLINE_S + 0.001 for each in durations_s)
    return Measured(
        late == logged == 0,
        (
            Figure(late, "", "heed_late_responses_total", n=len(durations_s)),
            Figure(logged, "", "by the log"),
        ),
    )


def _refusals(loaded: Loaded, durations_s: list[float]) -> Measured:
    refused = [each for each in loaded.of("10x") if each.outcome == REFUSED]
    client_s = quantile([each.end_s - each.sent_s for each in refused], 0.99)
    return Measured(
        client_s <= REFUSAL_S,
        (
            Figure(client_s, "s", "p99 at the client, 10x", n=len(refused)),
            Figure(quantile(durations_s, 0.99), "s", "p99 in the service", n=len(durations_s)),
        ),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured("10x"),
    )


def _recovery(loaded: Loaded, metrics: Mapping[str, float], idle: Usage, after: Usage) -> Measured:
    start_s, length = loaded.starts_s["0.8x"], int(loaded.seconds("0.8x"))
    seconds = [
        [each for each in loaded.of("0.8x") if int(each.due_s - start_s) == second]
        for second in range(length)
    ]
    good = [on_time(each, DEADLINE_S) >= 0.95 * len(each) for each in seconds]
    recovery_s = float(len(good) - len(list(itertools.takewhile(bool, reversed(good)))))
    growth = after.rss_bytes / idle.rss_bytes - 1
    return Measured(
        recovery_s <= RECOVERY_S and metrics["heed_queue_depth"] == 0 and growth <= 0.05,
        (
            Figure(recovery_s, "s", "until every second has 95 % on time", n=len(good)),
            Figure(growth, "share", "resident memory against before"),
        ),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured("0.8x"),
    )


def _control_plane(loaded: Loaded, probes: Probes) -> Measured:
    start_s = loaded.starts_s["10x"]
    seen = probes.during(start_s, start_s + loaded.seconds("10x"))
    refused = sum(each.status != 200 for each in seen)
    p99_s = quantile([each.seconds for each in seen], 0.99)
    return Measured(
        p99_s <= PROBE_S and not refused and bool(seen),
        (Figure(p99_s, "s", "p99", n=len(seen)), Figure(refused, "", "refused or failed")),
        noise=loaded.noise,
    )
