"""A process that runs out of file descriptors: by its own bound of connections, and in spite of it.

Its bound of connections follows from the limit of files that it finds when it starts. So that they
run out all the same, as when a library opens more than anybody knows, the limit is lowered from
outside once it serves, below what it counted on and for good: soft and hard.
"""

import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import NamedTuple

import psutil

from tests.reliability import accounts
from tests.reliability.clients import HOST, classify, exchange, talk
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, all_held
from tests.reliability.server import Server, running

CURVE = Curve(fixed_s=0.001, per_text_s=0.0001)
FILES = 64
CONNECTIONS = 200
BUSY = 0.2  # of a core, that a service out of files may use while nothing happens
AGAIN_S = 2.0
DEADLINE_S = 5.0
COMPUTING_S = 0.5  # that a request goes on after SIGTERM
STOP_S = 2.0  # from its answer to the end of the process
SILENCE_S = 0.5  # a connection that says nothing for so long is neither served nor closed


class Seen(NamedTuple):
    """What a crowd of connections found.

    Attributes:
        outcomes: of the first request on each: its status, `closed` or `silent`.
        files: that the process had open meanwhile.
        kept: those served at first that were served again when all others had come.
        busy: share of a core used while nothing happened.
        again_s: from when all have left until a new connection is served.
    """

    outcomes: Counter[str]
    files: int
    kept: int
    busy: float
    again_s: float


def measure(lab: Lab) -> Mapping[str, Measured]:
    """More connections than files, with and without a bound that knows; SIGTERM without files."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients))
    with watched() as watch:
        server = lab.fake(CURVE, nofile=FILES)
        with running(server):
            bounded = _judge("bounded", _crowd(server, lab), {"200", "503"}, 0, watch.noise)
        server = lab.fake(CURVE, request_timeout_s=DEADLINE_S, shutdown_grace_s=DEADLINE_S)
        with running(server):
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
            seen = _crowd(server, lab)
            account = accounts.check(server)
            stopped = _stop(server)
    # All but the one that lets the event loop accept and close what it has no room for.
    exhausted = _judge("exhausted", seen, {"200", "closed"}, FILES - 1, watch.noise)
    return {
        "open files": all_held([bounded, exhausted]),
        "SIGTERM without files": stopped,
        "accounts": account,
    }


def _crowd(server: Server, lab: Lab) -> Seen:
    """Connections that come one after the other and stay; then all leave."""
    with ExitStack() as stack:
        served, outcomes = _fill(server, stack)
        kept = sum(talk(each, classify()).status == 200 for each in served)
        before, began = server.usage().cpu_s, time.monotonic()
        time.sleep(lab.seconds(5.0, 1.0))
        usage = server.usage()
        busy = (usage.cpu_s - before) / (time.monotonic() - began)
    return Seen(outcomes, usage.files, kept, busy, _again_s(server))


def _fill(server: Server, stack: ExitStack) -> tuple[list[socket.socket], Counter[str]]:
    """The connections that were served, and what became of all."""
    served, outcomes = [], Counter[str]()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((HOST, server.port), SILENCE_S)
        answer = talk(stack.enter_context(connection), classify())
        said = str(answer.status) if answer.status else "closed" if answer.closed else "silent"
        outcomes[said] += 1
        if answer.status == 200:
            served.append(connection)
    return served, outcomes


def _again_s(server: Server) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 10.0:
        with suppress(OSError):
            if exchange(server.port, classify(), 1.0).status == 200:
                return time.monotonic() - began
        time.sleep(0.01)
    return float("inf")


def _judge(
    name: str, seen: Seen, expected: set[str], files: int, noise: tuple[str, ...]
) -> Measured:
    """Whether it is as expected, and at least so many files were open."""
    first = seen.outcomes["200"]
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in seen.outcomes.items())
    return Measured(
        set(seen.outcomes) == expected
        and seen.kept == first
        and seen.busy <= BUSY
        and seen.again_s <= AGAIN_S,
        (
            Figure(seen.files, "", f"{name}: files open of {FILES}", n=CONNECTIONS),
            Figure(seen.kept, "", f"{name}: of {first} served, served again"),
            Figure(seen.busy, "share", f"{name}: of a core used meanwhile"),
            Figure(seen.again_s, "s", f"{name}: answers again after"),
        ),
        f"{name}: {outcomes}",
        noise=noise,
        unmeasured=() if seen.files >= files else (f"only {seen.files} files were open",),
    )


def _stop(server: Server) -> Measured:
    """SIGTERM while no file is free and a request is under way."""
    assert server.process is not None
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        served, _ = _fill(server, stack)
        served[0].settimeout(DEADLINE_S)
        server.tell("block")
        answer = pool.submit(talk, served[0], classify())
        time.sleep(COMPUTING_S)
        files = server.usage().files
        server.signal(signal.SIGTERM)
        time.sleep(COMPUTING_S)
        server.tell("unblock")
        status, began = answer.result().status, time.monotonic()
        code = server.process.wait(DEADLINE_S + 5.0)
        seconds = time.monotonic() - began
    return Measured(
        status == 200 and code == 0 and seconds <= STOP_S,
        (
            Figure(files, "", f"files open of {FILES} at the signal"),
            Figure(seconds, "s", "ended after the last answer within"),
            Figure(code, "", "exit code"),
        ),
        f"the request under way: {status or 'no answer'}",
        unmeasured=() if files >= FILES - 1 else ("files were free",),
    )
