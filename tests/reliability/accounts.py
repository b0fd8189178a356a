"""Whether the service's own counts add up, and equal those of its clients."""

import time
from collections import Counter
from collections.abc import Mapping

from tests.reliability.measured import Figure, Measured
from tests.reliability.server import Server

SETTLE_S = 5.0
_OUTCOMES = {"ok": "ok", "status 503": "shed", "status 504": "expired"}


def balance(metrics: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """Requests received, and those that have each outcome."""
    prefix = 'heed_requests_total{outcome="'
    outcomes = {
        name.removeprefix(prefix).removesuffix('"}'): value
        for name, value in metrics.items()
        if name.startswith(prefix) and value
    }
    return metrics["heed_requests_received_total"], outcomes


def settled(server: Server) -> dict[str, float]:
    """The metrics once nothing is in flight, or after a few seconds."""
    until = time.monotonic() + SETTLE_S
    while True:
        metrics = server.metrics()
        received, outcomes = balance(metrics)
        if received == sum(outcomes.values()) or time.monotonic() > until:
            return metrics
        time.sleep(0.05)


def grown(metrics: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """How much each has grown since a moment at which nobody sent."""
    return {name: value - before.get(name, 0.0) for name, value in metrics.items()}


def check(server: Server, clients: Counter[str] | None = None) -> Measured:
    """`compare` of a service that nobody else has sent anything to since it started."""
    return compare(settled(server), clients)


def compare(metrics: Mapping[str, float], clients: Counter[str] | None = None) -> Measured:
    """Received = sum of outcomes; nothing in flight or waiting; equal to what clients counted.

    Args:
        metrics: of the service when nobody sends; or how much they grew since such a moment.
        clients: the generator's outcomes meanwhile; None if the clients do not count.
    """
    received, outcomes = balance(metrics)
    problems = []
    if received != sum(outcomes.values()):
        problems.append(f"{received:.0f} received, {sum(outcomes.values()):.0f} with an outcome")
    for gauge in ("heed_queue_depth", "heed_in_flight_requests"):
        if metrics[gauge]:
            problems.append(f"{gauge} is {metrics[gauge]:.0f}")
    if clients is not None:
        problems += _differences(clients, received, outcomes)
    figure = Figure(received, "", "requests, each with one outcome")
    return Measured(not problems, (figure,), "; ".join(problems))


def together(parts: Mapping[str, Measured]) -> Measured:
    """One answer for the accounts of all measurements, by their names."""
    requests = sum(figure.value for part in parts.values() for figure in part.figures)
    broken = [f"{name}: {part.note}" for name, part in parts.items() if not part.held]
    figure = Figure(requests, "", f"requests in {len(parts)} measurements")
    return Measured(not broken, (figure,), "; ".join(broken))


def _differences(
    clients: Counter[str], received: float, outcomes: Mapping[str, float]
) -> list[str]:
    """Where the clients counted something else. What they gave up on may have any outcome."""
    unknown = clients.total() - sum(clients[theirs] for theirs in _OUTCOMES)
    problems = []
    if clients.total() != received:
        problems.append(f"clients sent {clients.total()}, {received:.0f} received")
    problems += [
        f"clients saw {clients[theirs]} {theirs}, the service counted {outcomes.get(ours, 0):.0f}"
        for theirs, ours in _OUTCOMES.items()
        if not 0 <= outcomes.get(ours, 0) - clients[theirs] <= unknown
    ]
    return problems
