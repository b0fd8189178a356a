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
from loadtest.workload import Texts
from tests.reliability import accounts
from tests.reliability.lab import Lab
from tests.reliability.load import Clock, Loaded, closed_rate, open_load, workload
from tests.reliability.measured import Figure, Measured, of_rounds, quantile
from tests.reliability.server import Server, free_port, running

SHARE = 0.5  # of the capacity
USERS = 24  # in a closed loop, to know the capacity
SLOWER = 1.5
PERIOD_S = 4.0
EDGE_S = 0.1  # in front of a swap, as our clock and the generator's differ
AFTER_S = 0.5  # from the end of a swap, in which its traces still count
TEXTS = Texts(built_in=True)
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
    """Answers and their p99 while versions change, against as long a time before each change."""
    folder = lab.fresh("versions") / "model"
    folder.mkdir()
    add_version(lab.real, folder, "1")
    port, count = free_port(), lab.times(10, 2)
    server = lab.service(model=folder, admin_port=port)
    server.cores = frozenset(os.sched_getaffinity(0)) | lab.cores.server | lab.cores.clients
    swaps = Swaps(server, port, lab.real, folder)
    swaps.count = count
    with running(server):
        capacity_rps = closed_rate(server, USERS, lab.seconds(8.0, 3.0), lab.cores.clients, TEXTS)
        before = accounts.settled(server)
        stages = {STAGE: (SHARE * capacity_rps, PERIOD_S * (count + 2))}
        load = workload(stages, warm_up_s=3.0, texts=TEXTS)
        loaded = open_load(server, load, lab.folder / "swap.csv", lab.cores.clients, (swaps,))
        account = accounts.compare(
            accounts.grown(accounts.settled(server), before), loaded.outcomes
        )
    return {**_judge(loaded, swaps, capacity_rps), "accounts": account}


def _judge(loaded: Loaded, swaps: Swaps, capacity_rps: float) -> dict[str, Measured]:
    length_s = max(end - begin for begin, end in swaps.windows) + AFTER_S
    pairs = [
        (_due(loaded, begin - EDGE_S - length_s, length_s), _due(loaded, begin - EDGE_S, length_s))
        for begin, _ in swaps.windows
    ]
    before, during = ([s for pair in pairs for s in pair[side]] for side in (0, 1))
    ratio = quantile(during, 0.99) / quantile(before, 0.99)
    failed = sum(each.outcome != OK for each in loaded.sent)
    figures = (
        Figure(ratio, "times", "p99 of all swaps together, over before", n=len(during)),
        of_rounds([quantile(b, 0.99) / quantile(a, 0.99) for a, b in pairs], "times", "of each"),
        Figure(quantile(during, 0.99), "s", "p99 during"),
        Figure(quantile(before, 0.99), "s", "before", n=len(before)),
        Figure(length_s, "s", "length of a window"),
        of_rounds([end - begin for begin, end in swaps.windows], "s", "a swap took"),
        Figure(capacity_rps, "requests/s", f"capacity, {USERS} clients in a closed loop"),
        Figure(failed, "", "failed requests", n=len(loaded.sent)),
    )
    note = f"versions {', '.join(swaps.missed)} did not take over" if swaps.missed else ""
    held = not failed and not swaps.missed and ratio <= SLOWER
    return {
        "swap": Measured(held, figures, note, loaded.noise, loaded.unmeasured(STAGE)),
        "bad version": Measured(
            swaps.refused and not failed,
            (Figure(failed, "", "failed requests", n=len(loaded.sent)),),
            "the truncated version was " + ("refused" if swaps.refused else "not refused"),
        ),
    }


def _due(loaded: Loaded, start_s: float, length_s: float) -> list[float]:
    """Latencies of what was due in a window."""
    return [
        each.latency_s for each in loaded.of(STAGE) if start_s <= each.due_s < start_s + length_s
    ]
