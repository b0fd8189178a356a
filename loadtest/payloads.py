"""Request bodies, made before any clock runs: the i-th request of a schedule is a look-up."""

import json
import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple, get_args

from loadtest.result import Kind
from loadtest.workload import Mix, Workload

BLOCK = 100  # requests in which every kind has its share
BLOCKS = 40  # different ones: 4,000 bodies, then they come round again
MAX_BATCH_CHARS = 32_000_000  # in all batch bodies; longer batches are fewer different ones
PATH = "/v1/classify"


class Payload(NamedTuple):
    """What one request sends. `body` is JSON; `texts` is how many it holds."""

    kind: Kind
    path: str
    body: bytes
    texts: int
    headers: dict[str, str]


class Payloads:
    """The payload of each request of a schedule, by its index alone: equal on every worker."""

    def __init__(self, workload: Workload, texts: Sequence[str]) -> None:
        """Make the bodies.

        Args:
            workload: its seed, mix, batch size and headers.
            texts: what to send, at least one; each is sent about equally often.
        """
        rng = random.Random(f"{workload.seed} payloads")  # noqa: S311 - a load, not a secret
        kinds = _kinds(workload.mix, rng)
        size = workload.mix.batch_size
        mean_chars = sum(map(len, texts)) / len(texts)
        batches = min(kinds.count("batch"), max(1, int(MAX_BATCH_CHARS / (size * mean_chars))))
        pool = _deck(texts, rng)
        of = {kind: workload.headers_of(kind) for kind in get_args(Kind)}
        made = {
            "single": (_single(text, of["single"]) for text in pool),
            "explain": (_explain(text, of["explain"]) for text in pool),
            "batch": cycle([_batch(list(islice(pool, size)), of["batch"]) for _ in range(batches)]),
        }
        self._payloads = [next(made[kind]) for kind in kinds]

    def __getitem__(self, index: int) -> Payload:
        """Of the request with that index in the schedule of a stage, from 0."""
        return self._payloads[index % len(self._payloads)]


def _single(text: str, headers: dict[str, str]) -> Payload:
    return Payload("single", PATH, json.dumps({"inputs": text}).encode(), 1, headers)


def _explain(text: str, headers: dict[str, str]) -> Payload:
    body = json.dumps({"inputs": text, "explain": "attention"}).encode()
    return Payload("explain", PATH, body, 1, headers)


def _batch(texts: list[str], headers: dict[str, str]) -> Payload:
    return Payload("batch", PATH, json.dumps({"inputs": texts}).encode(), len(texts), headers)


def _deck(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    """All texts in random order, again and again: equal numbers of requests are equal work."""
    deck = list(texts)
    while True:
        rng.shuffle(deck)
        yield from deck


def _kinds(mix: Mix, rng: random.Random) -> list[Kind]:
    """The kinds of `BLOCKS` blocks of requests, shuffled inside each block.

    A block holds each kind's share of it, rounded down; the one or two places left go to the kinds
    that have fallen behind most. So neither a block nor all blocks together are off by more than
    one request of a kind.
    """
    shares: dict[Kind, float] = {"single": mix.single, "batch": mix.batch, "explain": mix.explain}
    sent = dict.fromkeys(shares, 0)
    kinds: list[Kind] = []
    for end in range(BLOCK, BLOCK * BLOCKS + 1, BLOCK):
        whole = {kind: int(share * BLOCK + 1e-6) for kind, share in shares.items()}
        behind = {kind: shares[kind] * end - sent[kind] - whole[kind] for kind in shares}
        left = BLOCK - sum(whole.values())
        for kind in sorted(shares, key=lambda kind: -behind[kind])[:left]:
            whole[kind] += 1
        block = [kind for kind in shares for _ in range(whole[kind])]
        sent = {kind: sent[kind] + whole[kind] for kind in shares}
        rng.shuffle(block)
        kinds += block
    return kinds
