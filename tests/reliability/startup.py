"""How soon a service is ready, and how it says that it cannot be."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.reliability.lab import Lab
from tests.reliability.machine import watched
from tests.reliability.measured import Figure, Measured, of_rounds
from tests.reliability.server import ROOT, free_port

READY_S = 3.0
FAILED_S = 2.0
SERVE = (sys.executable, "-P", "-m", "heed", "serve")


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
        ended = {name: _end(lab, *case) for name, case in _cases(lab).items()}
    ready = of_rounds(starts, "s", "ready after")
    slowest = max(ended, key=lambda name: ended[name].seconds)
    problems = [name for name, each in ended.items() if not _is_proper(each)]
    return {
        "start": Measured(ready.value <= READY_S, (ready,), noise=watch.noise),
        "failed start": Measured(
            not problems and ended[slowest].seconds <= FAILED_S,
            (
                Figure(
                    ended[slowest].seconds, "s", f"slowest, {slowest}, ended after", n=len(ended)
                ),
            ),
            "; ".join(
                f"{name}: {ended[name].code}, {ended[name].said[-200:]}" for name in problems
            ),
            noise=watch.noise,
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


def _is_proper(ended: Ended) -> bool:
    """Non-zero, one line of reason, and nothing said of serving."""
    lines = ended.said.strip().splitlines()
    return ended.code != 0 and len(lines) == 1 and "Serving" not in ended.stdout


def _cases(lab: Lab) -> dict[str, tuple[Path, Mapping[str, object]]]:
    """Artifacts and settings that cannot be served."""
    copies = {name: lab.fresh(name) / "artifact" for name in ("flipped", "cut", "no-manifest")}
    for copy in copies.values():
        shutil.copytree(lab.real, copy)
    model = bytearray((copies["flipped"] / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copies["flipped"] / "model.onnx").write_bytes(model)
    manifest = json.loads((copies["cut"] / "manifest.json").read_text("utf-8"))
    (copies["cut"] / "manifest.json").write_text(json.dumps(manifest)[:-40], "utf-8")
    (copies["no-manifest"] / "manifest.json").unlink()
    return {
        "flipped byte of the model": (copies["flipped"], {}),
        "truncated manifest": (copies["cut"], {}),
        "no manifest": (copies["no-manifest"], {}),
        "no such folder": (lab.folder / "nowhere", {}),
        "no such file of keys": (lab.real, {"api_keys_file": lab.folder / "nowhere.json"}),
        "setting out of range": (lab.real, {"max_batch_size": 0}),
        "port in use": (lab.real, {"port": 0}),
    }


def _end(lab: Lab, model: Path, settings: Mapping[str, object]) -> Ended:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = settings.get("port", free_port()) or taken.getsockname()[1]
        chosen = {**settings, "model": model, "host": "127.0.0.1", "port": port}
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
            return Ended(0, time.monotonic() - began, "it served", "")
    return Ended(done.returncode, time.monotonic() - began, done.stderr, done.stdout)
