"""What an orchestrator and Prometheus see meanwhile: health and metrics, ten times a second."""

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tests.reliability.load import Clock
from tests.reliability.server import Server

PATHS = ("/health/live", "/health/ready", "/metrics")
PERIOD_S = 0.1


@dataclass(frozen=True)
class Probe:
    """One answer; `at_s` on the clock of the load; status 0 is none."""

    path: str
    at_s: float
    seconds: float
    status: int


class Probes:
    """Asks each path on a kept-alive connection of its own, whatever became of the last time.

    Attributes:
        seen: the answers so far.
    """

    def __init__(
        self, server: Server, paths: Sequence[str] = PATHS, period_s: float = PERIOD_S
    ) -> None:
        self.seen: list[Probe] = []
        self._server, self._paths, self._period_s = server, paths, period_s

    def __call__(self, clock: Clock) -> None:
        """Ask until the load is over; blocks."""
        clock.started.wait()
        threads = [
            threading.Thread(target=partial(self._ask, path, clock), daemon=True)
            for path in self._paths
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, path: str, clock: Clock) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=5)
        due = time.monotonic()
        while not clock.over.wait(max(0.0, due - time.monotonic())):
            began = time.monotonic()
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                status = response.status
            except (OSError, http.client.HTTPException):
                status = 0
                connection.close()
            ended = time.monotonic()
            self.seen.append(Probe(path, began - clock.began, ended - began, status))
            due = max(due + self._period_s, began)
        connection.close()

    def during(self, start_s: float, end_s: float, path: str | None = None) -> list[Probe]:
        """The answers to what was asked in this time."""
        return [
            each for each in self.seen if start_s <= each.at_s < end_s and path in (None, each.path)
        ]
