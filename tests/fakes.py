"""Stand-ins that tests steer: an engine that can block and fail, and remembers what it computed."""

import threading
from collections.abc import Callable

import numpy as np

from service.runtime.engine import EngineOutput
from service.runtime.tokenizer import Int64Array


class FakeEngine:
    """Gives every text the logits (sum of its ids / 100, 0, ...) and even attention.

    So rows with sums below 1,000 have probabilities of their own. While `gate` is clear, `run`
    blocks; `entered` counts the calls that began. An `error` is raised in place of an output;
    `spoil` gets the rows and their output and returns another one, or raises.
    """

    execution_provider = "cpu"

    def __init__(self, num_labels: int = 3) -> None:
        self.num_labels = num_labels
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None
        self.spoil: Callable[[list[list[int]], EngineOutput], EngineOutput] | None = None
        self.batches: list[list[list[int]]] = []
        self.warm_ups = 0

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """See `Engine.run`."""
        rows = [
            ids[mask == 1].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True)
        ]
        self.batches.append(rows)
        self.entered.release()
        assert self.gate.wait(timeout=20), "the test forgot to open the gate"
        if self.error is not None:
            raise self.error
        logits = np.zeros((len(rows), self.num_labels), dtype=np.float32)
        logits[:, 0] = [sum(ids) / 100 for ids in rows]
        attention = attention_mask / attention_mask.sum(axis=1, keepdims=True)
        output = EngineOutput(logits, attention.astype(np.float32))
        return output if self.spoil is None else self.spoil(rows, output)

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> list[tuple[int, float]]:
        """See `Engine.warm_up`."""
        self.warm_ups += 1
        return []

    @property
    def computed(self) -> list[list[int]]:
        """Every row of every batch, in the order of computing."""
        return [row for batch in self.batches for row in batch]
