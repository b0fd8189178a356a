"""wrk, a closed-loop client in C: what it takes of the CPU does not hide what a service takes."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

WRK = shutil.which("wrk")
_SCRIPT = """
local bodies = dofile("%s")
local requests, count = {}, 0
init = function()
  local headers = {["Content-Type"] = "application/json"}
  for i, body in ipairs(bodies) do
    requests[i] = wrk.format("POST", "/v1/classify", headers, body)
  end
end
request = function()
  count = count + 1
  return requests[(count - 1) %% #requests + 1]
end
done = function(summary, latency)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  local fields = '"requests": %%d, "seconds": %%f, "failed": %%d, "p50_s": %%f, "p99_s": %%f'
  print(string.format("{" .. fields .. "}",
    summary.requests, summary.duration / 1e6, bad,
    latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
"""


class Driven(NamedTuple):
    """One run: answered and failed requests, its length, and latencies."""

    requests: int
    seconds: float
    failed: int
    p50_s: float
    p99_s: float

    @property
    def rate_rps(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class Script:
    """The requests that wrk sends, one after the other on each connection."""

    def __init__(self, folder: Path, name: str, texts: Sequence[str], size: int = 1) -> None:
        """Write the script.

        Args:
            folder: where it and its bodies are kept.
            name: of the files.
            texts: sent in turn.
            size: texts in a request.
        """
        groups = [[texts[(at + i) % len(texts)] for i in range(size)] for at in range(len(texts))]
        bodies = [json.dumps({"inputs": group if size > 1 else group[0]}) for group in groups]
        table = folder / f"{name}-bodies.lua"
        table.write_text("return {" + ",".join(f"[==[{body}]==]" for body in bodies) + "}", "utf-8")
        self._path = folder / f"{name}.lua"
        self._path.write_text(_SCRIPT % table, "utf-8")

    def run(self, url: str, connections: int, seconds: float, cores: frozenset[int]) -> Driven:
        """Drive a service; RuntimeError when wrk fails or a request does."""
        assert WRK is not None
        command = [
            *("taskset", "-c", ",".join(map(str, sorted(cores)))),
            *(WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"),
            *("-s", str(self._path), f"{url}/v1/classify"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines or not lines[-1].startswith("{"):
            raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
        driven = Driven(**json.loads(lines[-1]))
        if driven.failed:
            raise RuntimeError(f"{driven.failed} of {driven.requests} requests failed")
        return driven
