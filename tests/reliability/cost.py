"""What the service costs beside its model: CPU, rate and latency against the model alone.

Service and comparison run on the same core, one after the other, round by round; wrk has another.
"""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.texts import read_texts
from tests.reliability import accounts
from tests.reliability.inprocess import alone
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds, skip
from tests.reliability.server import ROOT, Server, running
from tests.reliability.wrk import WRK, Script

CONNECTIONS = 64
BATCH = 32  # texts in a request
BATCH_CONNECTIONS = 8
OVERHEAD_S = 300e-6
LATENCY_S = 0.6e-3
LARGE_RATIO, BATCH_RATIO = 0.90, 0.95

Rounds = Mapping[str, Sequence[float]]


def measure(lab: Lab) -> Mapping[str, Measured]:
    """The demo's model, and a larger one from random weights."""
    if WRK is None:
        return dict.fromkeys(
            ("CPU of a request", "rate of batches", "latency alone", "rate of a large model"),
            skip("wrk is not installed"),
        )
    small = _small(lab)
    return small | {"rate of a large model": _large(lab)}


def _small(lab: Lab) -> dict[str, Measured]:
    singles = Script(lab.folder, "singles", read_texts())
    batches = Script(lab.folder, "batches", read_texts(), BATCH)
    rounds: dict[str, list[float]] = defaultdict(list)
    seconds = lab.seconds(5.0, 1.0)
    server = lab.service()
    with running(server), watched() as watch:
        singles.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
        for _ in range(lab.times(5)):
            by_itself = alone(lab.real, seconds, lab.cores.server)
            rounds["alone"].append(by_itself.rate_rps)
            rounds["alone_cpu"].append(by_itself.cpu_s)
            _drive(server, singles, seconds, lab, rounds)
            batched = batches.run(server.url, BATCH_CONNECTIONS, seconds, lab.cores.clients)
            rounds["batched"].append(batched.rate_rps * BATCH)
            single = singles.run(server.url, 1, seconds / 2, lab.cores.clients)
            rounds["above"].append(single.p50_s - by_itself.p50_s)
            rounds["one"].append(single.p50_s)
        account = accounts.check(server)
    return {
        "CPU of a request": _cpu(rounds, watch.noise),
        "rate of batches": _rate(rounds, "batched", BATCH_RATIO, watch.noise),
        "latency alone": _latency(rounds, watch.noise),
        "accounts": account,
    }


def _drive(
    server: Server, script: Script, seconds: float, lab: Lab, rounds: dict[str, list[float]]
) -> None:
    before = server.usage().cpu_s
    driven = script.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
    rounds["cpu"].append((server.usage().cpu_s - before) / driven.requests)
    rounds["rate"].append(driven.rate_rps)


def _large(lab: Lab) -> Measured:
    """One text in each request, against the same model alone."""
    large = lab.fresh("large") / "artifact"
    command = [sys.executable, "-m", "tests.reliability.large", str(lab.real), str(large)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return _large_rate(lab, large)


def _large_rate(lab: Lab, large: Path) -> Measured:
    singles = Script(lab.folder, "singles", read_texts())
    rounds: dict[str, list[float]] = defaultdict(list)
    seconds = lab.seconds(6.0, 2.0)
    server = lab.service(model=large)
    with running(server), watched() as watch:
        singles.run(server.url, CONNECTIONS, seconds, lab.cores.clients)
        for _ in range(lab.times(5)):
            rounds["alone"].append(alone(large, seconds, lab.cores.server).rate_rps)
            _drive(server, singles, seconds, lab, rounds)
    return _rate(rounds, "rate", LARGE_RATIO, watch.noise)


def _cpu(rounds: Rounds, noise: tuple[str, ...]) -> Measured:
    more = [own - bare for own, bare in zip(rounds["cpu"], rounds["alone_cpu"], strict=True)]
    name = "CPU of a request above that of its text alone"
    overhead = of_rounds(more, "s", name, at_most=OVERHEAD_S)
    figures = (
        overhead,
        of_rounds(rounds["cpu"], "s", "of a request"),
        of_rounds(rounds["alone_cpu"], "s", "of a text alone"),
        *_ratio(rounds, "rate"),
    )
    return Measured(True, figures, noise=noise)


def _rate(rounds: Rounds, name: str, least: float, noise: tuple[str, ...]) -> Measured:
    return Measured(True, _ratio(rounds, name, at_least=least), noise=noise)


def _ratio(rounds: Rounds, name: str, **target: float) -> tuple[Figure, ...]:
    shares = [own / bare for own, bare in zip(rounds[name], rounds["alone"], strict=True)]
    return (
        of_rounds(shares, "share", "texts a second, of the model's alone", **target),
        of_rounds(rounds[name], "texts/s", "service"),
        of_rounds(rounds["alone"], "texts/s", "alone"),
    )


def _latency(rounds: Rounds, noise: tuple[str, ...]) -> Measured:
    above = of_rounds(rounds["above"], "s", "p50 above the model's alone", at_most=LATENCY_S)
    return Measured(True, (above, of_rounds(rounds["one"], "s", "p50")), noise=noise)
