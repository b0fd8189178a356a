"""Two instances behind HAProxy: restarts and a crash."""

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psutil

from loadtest.result import OK
from tests.e2e.proxy import HAPROXY, Proxy, haproxy
from tests.e2e.rolling import DRAIN_DELAY_S, roll
from tests.reliability.clients import HOST, Client, classify
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, open_load, workload
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, skip
from tests.reliability.server import Server, free_port, running

CURVE = Curve()
DEADLINE_S = 2.0
ROLLING_SHARE = 0.7
EXIT_S = 2.0  # beyond drain delay and deadline
NOW_S = 0.5  # until a second SIGTERM has ended the process
CRASH_SHARE = 0.5  # of one instance: the other one has to carry all of it
WHOLE_S = 10.0
EDGE_S = 0.05


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Rolling restarts, kill -9, and a second SIGTERM."""
    psutil.Process().cpu_affinity(sorted(lab.cores.clients | lab.cores.server))
    second = {"second SIGTERM": _second_signal(lab)}
    if HAPROXY is None:
        missing = skip("haproxy is not installed")
        return second | dict.fromkeys(("rolling restarts", "crash"), missing)
    return second | {
        "rolling restarts": _rolling(lab),
        "crash": _crash(lab),
    }


def _rolling(lab: Lab) -> Measured:
    with watched() as watch:
        rolled = roll(
            lab.tiny,
            lab.fresh("rolling"),
            curve=CURVE,
            share=ROLLING_SHARE,
            restarts=lab.times(20, 2),
            settings={"request_timeout_s": DEADLINE_S},
        )
    longest_s, codes = max(rolled.stop_s), sorted(set(rolled.exit_codes))
    return Measured(
        not rolled.tally.failed
        and codes == [0]
        and longest_s <= DRAIN_DELAY_S + DEADLINE_S + EXIT_S,
        (
            Figure(rolled.tally.failed, "", "failed requests", n=rolled.tally.sent),
            Figure(len(rolled.stop_s), "restarts"),
            Figure(longest_s, "s", "longest from SIGTERM to the end"),
        ),
        f"exit codes {codes}, outcomes {dict(rolled.tally.outcomes)}",
        noise=watch.noise,
    )


def _second_signal(lab: Lab) -> Measured:
    """SIGTERM twice, with a request that the engine does not finish."""
    server = lab.fake(CURVE, request_timeout_s=60, shutdown_grace_s=60, engine_stall_s=60)
    with running(server):
        server.tell("block")
        seconds, code = asyncio.run(_twice(server))
    figures = (Figure(seconds, "s", "ended after"), Figure(code, "", "exit code"))
    return Measured(seconds <= NOW_S, figures)


async def _twice(server: Server) -> tuple[float, int]:
    client = Client(server.port)
    waiting = asyncio.create_task(client.send(classify(), 10.0))
    await asyncio.sleep(0.2)
    server.signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    assert server.process is not None
    assert server.process.poll() is None, "the first one ended it"
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    code = await asyncio.to_thread(server.process.wait, 20)
    seconds = time.monotonic() - began
    await waiting
    return seconds, code


@contextmanager
def pair(lab: Lab, curve: Curve, **settings: object) -> Iterator[tuple[list[Server], Proxy]]:
    """Two instances on engines of known speed, and HAProxy in front of them."""
    servers = [
        lab.fake(curve, trusted_proxies=HOST, port=free_port(), **settings) for _ in range(2)
    ]
    with running(servers[0]), running(servers[1]):
        ports = free_port(), free_port()
        with haproxy(servers[0].port, servers[1].port, ports) as proxy:
            proxy.wait_until_up(2)
            yield servers, proxy


class Kill:
    """SIGKILL in the middle of the load; the supervisor, that is we, starts it again at once.

    Attributes:
        at_s: on the clock of the load.
        whole_s: from then until the proxy uses both again.
    """

    def __init__(self, server: Server, proxy: Proxy) -> None:
        self.at_s = self.whole_s = 0.0
        self._server, self._proxy = server, proxy

    def __call__(self, clock: Clock) -> None:
        """Kill, start, wait; blocks."""
        clock.sleep_until(3.0)
        process = self._server.process
        assert process is not None
        self.at_s = clock.now_s()
        process.kill()
        process.wait()
        self._server.start()
        with suppress(AssertionError):
            self._proxy.wait_until_up(2)
        self.whole_s = clock.now_s() - self.at_s


def _crash(lab: Lab) -> Measured:
    failed, in_flight, whole_s, requests = [], [], [], 0
    noise: tuple[str, ...] = ()
    with pair(lab, CURVE) as (servers, proxy):
        for number in range(lab.times(5, 1)):
            kill = Kill(servers[number % 2], proxy)
            rate = CRASH_SHARE * CURVE.capacity_rps
            loaded = open_load(
                servers[1 - number % 2],
                workload({"all": (rate, 12.0)}, warm_up_s=0.0),
                lab.folder / "crash.csv",
                lab.cores.clients,
                (kill,),
                url=f"http://{HOST}:{proxy.port}",
            )
            failed.append(sum(each.outcome != OK for each in loaded.sent))
            in_flight.append(
                sum(
                    each.sent_s < kill.at_s + EDGE_S and each.end_s > kill.at_s - EDGE_S
                    for each in loaded.sent
                )
            )
            whole_s.append(kill.whole_s)
            requests += len(loaded.sent)
            noise += loaded.noise
    kept = all(bad <= open_ for bad, open_ in zip(failed, in_flight, strict=True))
    return Measured(
        kept and max(whole_s) <= WHOLE_S,
        (
            Figure(sum(failed), "", f"failed requests of {len(failed)} kills", n=requests),
            Figure(sum(in_flight), "", "in flight at the kills"),
            Figure(max(whole_s), "s", "longest until both serve"),
        ),
        noise=tuple(dict.fromkeys(noise)),
    )
