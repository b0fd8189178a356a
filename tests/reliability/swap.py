"""A new version of the model takes over under load, and a bad one does not."""

import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError

from loadtest.result import OK
from tests.reliability import accounts
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, Loaded, open_load, workload
from tests.reliability.measured import Figure, Measured, of_rounds, quantile
from tests.reliability.server import Server, free_port, running

RATE_RPS = 200.0
SLOWER = 1.5
PERIOD_S = 4.0
EDGE_S = 0.1  # around a swap, as our clock and the generator's differ
STAGE = "all"


class Swaps:
    """Puts new versions into the folder and has them loaded: by the admin route, then by SIGHUP.

    Attributes:
        windows: begin and end of each swap on the clock of the load.
        refused: whether the version that is damaged was.
        missed: versions that did not become active.
    """

    def __init__(self, server: Server, admin_port: int, source: Path, folder: Path) -> None:
        self.windows: list[tuple[float, float]] = []
        self.refused = False
        self.missed: list[str] = []
        self._server, self._admin = server, f"http://127.0.0.1:{admin_port}/admin"
        self._source, self._folder = source, folder
        self.count = 0

    def __call__(self, clock: Clock) -> None:
        """Swap `count` times; blocks."""
        for number in range(self.count):
            version = str(number + 2)
            add_version(self._source, self._folder, version)
            clock.sleep_until(3.0 + PERIOD_S * (number + 1))
            began = clock.now_s()
            if not self._swap(version, by_signal=bool(number % 2)):
                self.missed.append(version)
            self.windows.append((began, clock.now_s()))
        self._offer_damaged(str(self.count + 2))

    def _swap(self, version: str, *, by_signal: bool) -> bool:
        if not by_signal:
            return self._ask("POST", f"/versions/{version}")[0] == 200
        self._server.signal(signal.SIGHUP)
        until = time.monotonic() + PERIOD_S
        while time.monotonic() < until:
            if self.active() == version:
                return True
            time.sleep(0.02)
        return False

    def _offer_damaged(self, version: str) -> None:
        before = self.active()
        add_version(self._source, self._folder, version, damaged=True)
        status, _ = self._ask("POST", f"/versions/{version}")
        self.refused = 400 <= status < 600 and self.active() == before

    def active(self) -> str:
        """The version that answers."""
        active: str = json.loads(self._ask("GET", "/versions")[1])["active"]
        return active

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        asked = urllib.request.Request(self._admin + path, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()


def add_version(source: Path, folder: Path, version: str, *, damaged: bool = False) -> None:
    """A copy of an artifact under another version; it appears as a whole."""
    building = folder.parent / f".{version}"
    shutil.copytree(source, building)
    manifest = json.loads((building / "manifest.json").read_text("utf-8"))
    (building / "manifest.json").write_text(json.dumps(manifest | {"version": version}), "utf-8")
    if damaged:
        with (building / "model.onnx").open("r+b") as file:
            file.truncate(1000)
    building.rename(folder / version)


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Answers and their p99 while versions change, against all other times."""
    folder = lab.fresh("versions") / "model"
    folder.mkdir()
    add_version(lab.real, folder, "1")
    port, count = free_port(), lab.times(10, 2)
    server = lab.service(model=folder, admin_port=port)
    server.cores = frozenset(os.sched_getaffinity(0)) | lab.cores.server | lab.cores.clients
    swaps = Swaps(server, port, lab.real, folder)
    swaps.count = count
    load = workload({STAGE: (RATE_RPS, PERIOD_S * (count + 2))}, warm_up_s=3.0, built_in=True)
    with running(server):
        loaded = open_load(server, load, lab.folder / "swap.csv", lab.cores.clients, (swaps,))
        account = accounts.check(server, loaded.outcomes)
    return {**_judge(loaded, swaps), "accounts": account}


def _judge(loaded: Loaded, swaps: Swaps) -> dict[str, Measured]:
    inside, outside = [], []
    for each in loaded.of(STAGE):
        near = any(a - EDGE_S <= each.due_s <= b + EDGE_S for a, b in swaps.windows)
        (inside if near else outside).append(each.latency_s)
    failed = sum(each.outcome != OK for each in loaded.sent)
    during_s, before_s = quantile(inside, 0.99), quantile(outside, 0.99)
    took = of_rounds([b - a for a, b in swaps.windows], "s", "a swap took")
    held = not failed and not swaps.missed and during_s <= SLOWER * before_s
    figures = (
        Figure(during_s, "s", "p99 during a swap", n=len(inside)),
        Figure(before_s, "s", "otherwise", n=len(outside)),
        Figure(failed, "", "failed requests", n=len(loaded.sent)),
        took,
    )
    note = f"versions {', '.join(swaps.missed)} did not take over" if swaps.missed else ""
    unmeasured = loaded.unmeasured(STAGE)
    return {
        "swap": Measured(held, figures, note, loaded.noise, unmeasured),
        "bad version": Measured(swaps.refused and not failed),
    }
