"""What dynamic batching gains: the service as it is beside itself with batches of one.

Both run at the same time, but only one is driven at a time, in rounds A B A B ..., by keep-alive
connections that each send the next text as soon as the last answer is there (a closed loop).

Example: python benchmarks/batching.py artifacts/demo texts.txt --connections 64 --rounds 5
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import uvloop

from loadtest.texts import read_texts


class Round(NamedTuple):
    """Requests a second, latencies in seconds, and texts in a batch, of one round."""

    throughput_rps: float
    latencies_s: list[float]
    mean_batch_size: float


def make_requests(texts: list[str]) -> list[bytes]:
    """A whole HTTP request for each text."""
    requests = []
    for text in texts:
        body = json.dumps({"inputs": text}, ensure_ascii=False).encode()
        head = f"POST /v1/classify HTTP/1.1\r\nHost: heed\r\nContent-Length: {len(body)}\r\n"
        requests.append(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    return requests


async def drive(port: int, requests: list[bytes], connections: int, seconds: float) -> Round:
    """One round against one service."""
    before = read_batches(port)
    latencies_s: list[float] = []
    endless = itertools.cycle(requests)
    started = time.perf_counter()
    clients = [ask_until(started + seconds, port, endless, latencies_s) for _ in range(connections)]
    await asyncio.gather(*clients)
    elapsed_s = time.perf_counter() - started
    texts, batches = (now - then for now, then in zip(read_batches(port), before, strict=True))
    return Round(len(latencies_s) / elapsed_s, latencies_s, texts / batches)


async def ask_until(
    end: float, port: int, requests: Iterator[bytes], latencies_s: list[float]
) -> None:
    """One keep-alive connection that sends the next request once the last is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (sent_at := time.perf_counter()) < end:
        writer.write(next(requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {head.decode()}")
        await reader.readexactly(int(length[1]))
        latencies_s.append(time.perf_counter() - sent_at)
    writer.close()


def read_batches(port: int) -> tuple[float, float]:
    """Texts and batches computed so far, from /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    figures = dict(re.findall(r"^heed_batch_size_(sum|count) (\S+)$", page, re.MULTILINE))
    return float(figures["sum"]), float(figures["count"])


def start(artifact: Path, **settings: object) -> tuple[subprocess.Popen[str], int]:
    """A service in a process of its own, and its port."""
    code = "import heed; heed.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--model", artifact, "--port", "0"],
        env=os.environ | {f"HEED_{name.upper()}": str(value) for name, value in settings.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    port = re.search(r"http://\S+?:(\d+)", process.stdout.readline() if process.stdout else "")
    if port is None:
        raise SystemExit(f"the service did not start on {artifact}")
    return process, int(port[1])


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("artifact", type=Path)
    parser.add_argument("texts", type=Path, help="a text a line")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a round")
    options = parser.parse_args()
    requests = make_requests(read_texts(options.texts))
    services = {
        "batches of one": start(options.artifact, max_batch_size=1),
        "dynamic batches": start(options.artifact),
    }
    rounds: dict[str, list[Round]] = {name: [] for name in services}
    try:
        for number in range(-1, options.rounds):  # the round before the first only warms up
            for name, (_, port) in services.items():
                result = uvloop.run(drive(port, requests, options.connections, options.seconds))
                rounds[name] += [result] if number >= 0 else []
    finally:
        for process, _ in services.values():
            process.terminate()
            process.wait()
    medians = {}
    for name, results in rounds.items():
        latencies_s = [latency_s for result in results for latency_s in result.latencies_s]
        medians[name] = statistics.median(result.throughput_rps for result in results)
        print(
            f"{name}: {medians[name]:.0f} requests/s (median of {len(results)} rounds), "
            f"p50 {statistics.median(latencies_s) * 1e3:.1f} ms, mean batch size "
            f"{statistics.mean(result.mean_batch_size for result in results):.2f}"
        )
    print(f"ratio of medians: {medians['dynamic batches'] / medians['batches of one']:.2f}")


if __name__ == "__main__":
    main()
