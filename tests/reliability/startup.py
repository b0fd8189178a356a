"""How soon a service is ready, and how it says that it cannot be."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tests.reliability.hostile import hostile
from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds
from tests.reliability.server import ROOT, free_port

READY_S = 3.0
FAILED_S = 2.0
TAKEN = -1  # stands for a port that another process listens on
SERVE = (sys.executable, "-P", "-m", "heed", "serve")


class Case(NamedTuple):
    """What must not be served, and the exit code that says so."""

    model: Path
    settings: Mapping[str, object] = MappingProxyType({})
    code: int = 2


class Ended(NamedTuple):
    """How a service that cannot start ended."""

    code: int
    seconds: float
    said: str
    stdout: str


def measure(lab: Lab) -> Mapping[str, Measured]:
    """Cold starts of the real model, and starts that must fail."""
    with watched() as watch:
        starts = [_ready_s(lab) for _ in range(lab.times(7, 2))]
    ready = of_rounds(starts, "s", "ready after", at_most=READY_S)
    return {
        "start": Measured(True, (ready,), noise=watch.noise),
        "failed start": _refused(lab, _unusable(lab)),
        "hostile artifact": _refused(
            lab, {name: Case(folder) for name, folder in hostile(lab.fresh("hostile")).items()}
        ),
    }


def _ready_s(lab: Lab) -> float:
    """From the start of the process until /health/ready answers 200."""
    server = lab.service()
    began = time.monotonic()
    server.start()
    seconds = time.monotonic() - began
    server.stop()
    return seconds


def _refused(lab: Lab, cases: Mapping[str, Case]) -> Measured:
    """Start each, and expect it to end soon, with its code and one line of reason."""
    problems, seconds = [], {}
    with watched() as watch:
        for name, case in cases.items():
            ended = _end(lab, case)
            seconds[name] = ended.seconds
            lines = ended.said.strip().splitlines()
            if ended.code != case.code or len(lines) != 1 or "Serving" in ended.stdout:
                said = lines[-1][-120:] if lines else "nothing"
                problems.append(f"{name}: {ended.code}, {len(lines)} lines, {said}")
    slowest = max(seconds, key=lambda name: seconds[name])
    figure = Figure(seconds[slowest], "s", f"slowest, {slowest}, ended after", n=len(seconds))
    held = not problems and seconds[slowest] <= FAILED_S
    # Only durations can be excused by a busy machine.
    noise = () if problems else watch.noise
    return Measured(held, (figure,), "; ".join(problems), noise=noise)


def _unusable(lab: Lab) -> Mapping[str, Case]:
    """Artifacts, settings and addresses that cannot be used."""
    copies = {name: lab.fresh(name) / "artifact" for name in ("flipped", "cut", "no-manifest")}
    for copy in copies.values():
        shutil.copytree(lab.real, copy)
    model = bytearray((copies["flipped"] / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copies["flipped"] / "model.onnx").write_bytes(model)
    manifest = (copies["cut"] / "manifest.json").read_bytes()
    (copies["cut"] / "manifest.json").write_bytes(manifest[:-40])
    (copies["no-manifest"] / "manifest.json").unlink()
    port = free_port()
    return {
        "flipped byte of the model": Case(copies["flipped"]),
        "truncated manifest": Case(copies["cut"]),
        "no manifest": Case(copies["no-manifest"]),
        "no such folder": Case(lab.folder / "nowhere"),
        "no such file of keys": Case(lab.real, {"api_keys_file": lab.folder / "nowhere.json"}),
        "setting out of range": Case(lab.real, {"max_batch_size": 0}),
        "admin port that is the port": Case(lab.real, {"port": port, "admin_port": port}),
        "the same on every address": Case(
            lab.real,
            {"port": port, "admin_port": port, "admin_host": "0.0.0.0"},  # noqa: S104  never opened
        ),
        "port in use": Case(lab.real, {"port": TAKEN}, code=1),
    }


def _end(lab: Lab, case: Case) -> Ended:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        chosen = {"port": free_port(), "host": "127.0.0.1", "model": case.model, **case.settings}
        if chosen["port"] == TAKEN:
            chosen["port"] = taken.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HEED_")}
        environment |= {f"HEED_{name.upper()}": str(value) for name, value in chosen.items()}
        began = time.monotonic()
        command = ["taskset", "-c", ",".join(map(str, sorted(lab.cores.server))), *SERVE]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=15,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ended(0, time.monotonic() - began, "it did not end", "")
    return Ended(done.returncode, time.monotonic() - began, done.stderr, done.stdout)
