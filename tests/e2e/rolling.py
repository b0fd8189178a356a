"""Rolling restarts of two instances behind HAProxy under constant load.

Run by test_haproxy.py (a short version) and by the harness of the promises (the long one).
"""

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.load import Load, Tally
from tests.e2e.proxy import Proxy, haproxy
from tests.reliability.engine import Curve
from tests.reliability.server import Server, curve_options, curve_settings, free_port

DRAIN_DELAY_S = 2.0  # the proxy needs 1 s to notice that an instance stops


@dataclass
class Rolled:
    """What came of it: requests, exit codes, and seconds from SIGTERM to the end of each."""

    tally: Tally
    exit_codes: list[int] = field(default_factory=list)
    stop_s: list[float] = field(default_factory=list)


def roll(
    model: Path,
    folder: Path,
    *,
    curve: Curve,
    share: float,
    restarts: int,
    settings: Mapping[str, object] | None = None,
) -> Rolled:
    """Restart two instances in turn.

    Args:
        model: an artifact.
        folder: for the logs.
        curve: how fast the engine of each instance is.
        share: of the capacity of one instance, as one has to carry all while the other restarts.
        restarts: how often an instance is restarted, each of them in turn.
        settings: other than the default ones.
    """
    ports = free_port(), free_port(), free_port(), free_port()
    fixed = {"drain_delay_s": DRAIN_DELAY_S, "trusted_proxies": "127.0.0.1"} | dict(settings or {})
    servers = [
        Server(
            model,
            folder / f"{port}.log",
            curve_settings(curve, port=port, **fixed),
            options=curve_options(curve),
        )
        for port in ports[:2]
    ]
    with ExitStack() as stack:
        for server in servers:
            server.start()
            stack.callback(server.stop, within_s=10.0)
        proxy = stack.enter_context(haproxy(ports[0], ports[1], ports[2:]))
        proxy.wait_until_up(2)
        return asyncio.run(_roll(servers, proxy, share * curve.capacity_rps, restarts))


async def _roll(servers: list[Server], proxy: Proxy, rate_rps: float, restarts: int) -> Rolled:
    load = Load(proxy.port, rate_rps)
    rolled = Rolled(load.tally)
    running = asyncio.create_task(load.run())
    for number in range(restarts):
        await asyncio.to_thread(_restart, servers[number % 2], proxy, rolled)
    await asyncio.sleep(0.5)
    load.stop()
    await running
    return rolled


def _restart(server: Server, proxy: Proxy, rolled: Rolled) -> None:
    assert server.process is not None
    time.sleep(0.3)  # some load in between
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    rolled.exit_codes.append(server.process.wait(60))
    rolled.stop_s.append(time.monotonic() - began)
    server.stop()  # closes what belongs to the process that ended
    server.start()
    proxy.wait_until_up(2)
