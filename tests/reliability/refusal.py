"""What a refusal costs the service, with the engine standing still and the queue full."""

import asyncio
import json
from collections.abc import Mapping

from tests.reliability import accounts
from tests.reliability.clients import Client, classify, exchange, request
from tests.reliability.engine import Curve
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, Loaded, open_load, workload
from tests.reliability.measured import Figure, Measured, of_rounds
from tests.reliability.server import Server, running

CURVE = Curve()
FACTOR = 10.0  # offered, in capacities
CPU_S = 120e-6
EARLY_S = 0.5  # far below the time that the body would be waited for
QUEUE = 64


class _Rounds:
    """CPU seconds of the process at the begin and end of each round."""

    def __init__(self, server: Server, warm_up_s: float, length_s: float, rounds: int) -> None:
        self._server, self._moments = server, (warm_up_s, length_s, rounds)
        self.cpu_s: list[float] = []

    def __call__(self, clock: Clock) -> None:
        """Look at the end of each round; blocks."""
        warm_up_s, length_s, rounds = self._moments
        for number in range(rounds + 1):
            clock.sleep_until(warm_up_s + number * length_s)
            self.cpu_s.append(self._server.usage().cpu_s)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """CPU of a refusal by an open loop at 10x, and whether it comes before the body."""
    length_s, rounds = lab.seconds(6.0, 2.0), lab.times(5)
    stages = {f"round {n}": (FACTOR * CURVE.capacity_rps, length_s) for n in range(rounds)}
    server = lab.fake(
        CURVE,
        max_queue_size=QUEUE,
        request_timeout_s=600,
        shutdown_grace_s=600,
        engine_stall_s=600,
    )
    with running(server):
        server.tell("block")
        with asyncio.Runner() as runner:
            waiting = runner.run(_fill(server.port))
            early = _refused_before_body(server.port)
            watch = _Rounds(server, 3.0, length_s, rounds)
            loaded = open_load(
                server, workload(stages), lab.folder / "refusal.csv", lab.cores.clients, (watch,)
            )
            metrics = server.metrics()
            server.tell("unblock")
            runner.run(_finish(waiting))
        account = accounts.check(server)
    return {
        "refusal cost": _cost(loaded, watch, list(stages), length_s),
        "refusal before body": early,
        "queue gauge": Measured(
            metrics["heed_queue_depth"] == metrics["heed_queue_limit"] == QUEUE,
            (
                Figure(metrics["heed_queue_depth"], "texts", "heed_queue_depth"),
                Figure(metrics["heed_queue_limit"], "texts", "heed_queue_limit"),
            ),
        ),
        "accounts": account,
    }


def _cost(loaded: Loaded, watch: _Rounds, stages: list[str], length_s: float) -> Measured:
    counts = [sum(each.outcome == "status 503" for each in loaded.of(name)) for name in stages]
    spent_s = [b - a for a, b in zip(watch.cpu_s, watch.cpu_s[1:], strict=False)]
    each_s = [cpu_s / max(1, count) for cpu_s, count in zip(spent_s, counts, strict=True)]
    cost = of_rounds(each_s, "s", "server CPU each", at_most=CPU_S)
    return Measured(
        True,
        (cost, Figure(sum(counts) / len(counts) / length_s, "refusals/s")),
        noise=loaded.noise,
        unmeasured=loaded.unmeasured(*stages),
    )


async def _fill(port: int) -> list[asyncio.Task[object]]:
    """Requests that wait until the engine goes on: as many as are taken."""
    client = Client(port)
    tasks: list[asyncio.Task[object]] = []
    while True:
        task = asyncio.create_task(client.send(classify(), 600.0))
        done, _ = await asyncio.wait([task], timeout=0.1)
        if done:
            assert task.result().status == 503, task.result()
            return tasks
        tasks.append(task)


async def _finish(tasks: list[asyncio.Task[object]]) -> None:
    await asyncio.gather(*tasks)


def _refused_before_body(port: int) -> Measured:
    """Headers that announce a body which never comes, and how soon they are answered."""
    answer = exchange(port, request(b"", {"Content-Length": 100_000}))
    retry = b"\r\nretry-after: " in answer.head
    held = answer.status == 503 and retry and answer.seconds <= EARLY_S
    kind = json.loads(answer.body or b"{}").get("type", "no problem+json")
    figure = Figure(answer.seconds, "s", "answered, without a byte of the body, after")
    return Measured(held, (figure,), f"{answer.status}, {kind}")
