"""How much padding a batch may add for one text more: the rate that is left, by simulation.

Clients that each wait for their answer keep the queue at one length; batches are formed by the
scheduler's own `Lane`, one of them ahead, and take as long as the engine was seen to take, plus
what the service adds to a batch. 1.0 is the rate in process, sorted by length in blocks of 512.

Example: python benchmarks/padding.py artifacts/demo loadtest/texts.txt --batch-us 100
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from loadtest.texts import read_texts
from service.items import Item, Room
from service.lane import Lane
from service.runtime.artifact import read_artifact
from service.runtime.engine import Engine
from service.runtime.tokenizer import Tokenizer, batches_by_length
from service.runtime.versions import find_versions

CLIENTS = (8, 16, 64, 256)
PADDINGS = (1, 2, 4, 8, 16, 32, 64)  # tokens
BATCH_TOKENS, BATCH_SIZE = 512, 32
TEXTS = 8_000
ROUNDS = 12

Seconds = Callable[[int], float]  # of a batch, by its padded tokens


def measure(engine: Engine) -> Seconds:
    """What batches take, between the sizes that were run as if on a line."""
    shapes = [(1, 1), (1, 4), (1, 8), (1, 16), (2, 16), (4, 16), (8, 16), (16, 16), (32, 16)]
    taken: dict[int, list[float]] = {rows * width: [] for rows, width in shapes}
    for _ in range(ROUNDS):
        for shape in shapes:
            ids = np.full(shape, 5, dtype=np.int64)
            started = time.perf_counter()
            engine.run(ids, np.ones_like(ids))
            taken[ids.size].append(time.perf_counter() - started)
    medians = [statistics.median(seconds) for seconds in taken.values()]
    per_token_s = medians[-1] / BATCH_TOKENS

    def seconds(tokens: int) -> float:
        inside = float(np.interp(tokens, list(taken), medians))
        return inside + max(0, tokens - BATCH_TOKENS) * per_token_s

    return seconds


def in_process(lengths: Sequence[int], seconds: Seconds) -> float:
    """Seconds a text."""
    many = list(itertools.islice(itertools.cycle(lengths), 512))
    batches = batches_by_length(many, BATCH_TOKENS)
    return sum(seconds(max(many[i] for i in batch) * len(batch)) for batch in batches) / len(many)


def served(lengths: Sequence[int], seconds: Seconds, clients: int, padding: int) -> float:
    """Seconds a text."""
    room = Room(BATCH_TOKENS, BATCH_SIZE, padding)
    lane: Lane[None] = Lane()
    waiting = itertools.cycle(lengths)
    for length in itertools.islice(waiting, clients):
        lane.push(Item(length, 0.0, None))
    taken_s, done = 0.0, 0
    ahead: list[Item[None]] = []
    while done < TEXTS:
        batch, ahead = ahead, []
        if not batch:
            lane.take(room, batch)
        if lane.tokens >= BATCH_TOKENS or len(lane) >= BATCH_SIZE:
            lane.take(room, ahead)
        taken_s += seconds(batch[-1].length * len(batch))
        done += len(batch)
        for length in itertools.islice(waiting, len(batch)):
            lane.push(Item(length, 0.0, None))
    return taken_s / done


def main() -> None:
    """Print a line for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--batch-us", type=float, default=0.0, help="what the service adds")
    arguments = parser.parse_args()
    artifact = read_artifact(find_versions(arguments.artifact).path())
    tokenizer = Tokenizer(artifact.tokenizer, artifact.manifest.max_length)
    lengths = [len(tokenizer.encode(text).input_ids) for text in read_texts(arguments.texts)]
    seconds = measure(Engine(artifact, "cpu", 1))
    alone_s, more_s = in_process(lengths, seconds), arguments.batch_us * 1e-6
    print("clients", *(f"{padding:>6}" for padding in PADDINGS), " tokens of padding")
    for clients in CLIENTS:
        each = (
            served(lengths, lambda tokens: seconds(tokens) + more_s, clients, padding)
            for padding in PADDINGS
        )
        print(f"{clients:>7}", *(f"{alone_s / text_s:6.3f}" for text_s in each))


if __name__ == "__main__":
    main()
