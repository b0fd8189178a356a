"""How soon a new process is ready, and how much memory it then holds.

Run as `python benchmarks/startup.py artifacts/demo`.
"""

import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROUNDS = 5


def measure(artifact: str) -> tuple[float, float]:
    """Seconds until /health/ready answers 200, and MB resident after one request."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "heed", "serve", "--model", artifact, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
        if found is None:
            raise SystemExit(f"the service did not start on {artifact}")
        url = found.group()
        with urllib.request.urlopen(f"{url}/health/ready", timeout=10):  # noqa: S310  our own
            ready_s = time.monotonic() - started
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        return ready_s, int(resident[1]) / 1024 if resident else float("nan")
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    """Print the medians."""
    measure(sys.argv[1])  # warms the cache of files
    rounds = [measure(sys.argv[1]) for _ in range(ROUNDS)]
    ready_s, resident_mb = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"ready in {ready_s:.2f} s, {resident_mb:.0f} MB resident (medians of {ROUNDS})")


if __name__ == "__main__":
    main()
