"""What the model alone takes: tokeniser and engine in one process and one thread, no service.

Run as a program it prints JSON: `python -m tests.reliability.inprocess ARTIFACT SECONDS`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from loadtest.texts import read_texts
from service.runtime.artifact import read_artifact
from service.runtime.engine import Engine
from service.runtime.tokenizer import Tokenizer, batches_by_length, pad
from tests.reliability.server import ROOT

MAX_BATCH_TOKENS = 512  # as the service by default
ROWS = 512  # texts that are sorted by length together


class Alone(NamedTuple):
    """Texts a second and CPU seconds a text in batches, and the median of one text alone."""

    rate_rps: float
    cpu_s: float
    p50_s: float


def alone(artifact: Path, seconds: float, cores: frozenset[int]) -> Alone:
    """Measure in a process of its own, on these cores."""
    done = subprocess.run(
        [
            *("taskset", "-c", ",".join(map(str, sorted(cores))), sys.executable, "-m"),
            *("tests.reliability.inprocess", str(artifact), str(seconds)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return Alone(**json.loads(done.stdout))


def main() -> None:
    """Measure and print."""
    artifact, seconds = read_artifact(Path(sys.argv[1])), float(sys.argv[2])
    tokenizer = Tokenizer(artifact.tokenizer, artifact.manifest.max_length)
    engine = Engine(artifact, "cpu", 1)
    texts = read_texts()
    many = [texts[index % len(texts)] for index in range(ROWS)]

    def batches() -> None:
        rows = [tokenizer.encode(text).input_ids for text in many]
        for batch in batches_by_length(list(map(len, rows)), MAX_BATCH_TOKENS):
            engine.run(*pad([rows[index] for index in batch]))

    def one() -> None:
        engine.run(*pad([tokenizer.encode(texts[0]).input_ids]))

    batches()
    one()
    cpu_s, times_s = time.process_time(), _repeat(batches, seconds)
    cpu_s = time.process_time() - cpu_s
    rows = ROWS * len(times_s)
    single_s = _repeat(one, seconds / 4)
    print(json.dumps(Alone(rows / sum(times_s), cpu_s / rows, median(single_s))._asdict()))


def _repeat(work: Callable[[], None], seconds: float) -> list[float]:
    times_s: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        work()
        times_s.append(time.perf_counter() - began)
    return times_s


if __name__ == "__main__":
    main()
