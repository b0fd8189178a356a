"""An engine whose speed is known: it sleeps, and leaves the cores to what is measured."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.runtime.engine import EngineError, EngineOutput
from service.runtime.tokenizer import Int64Array

TOKENS = 32  # of every text of the load: the tiny artifact cuts there

Failure = Literal["none", "raise", "nan", "shape"]


@dataclass(frozen=True)
class Curve:
    """Seconds of a batch: `fixed_s` and `per_text_s` for each 32 tokens of it, padding counted."""

    fixed_s: float = 0.016
    per_text_s: float = 0.004
    max_batch_size: int = 8

    def seconds(self, texts: float) -> float:
        """Of a batch of so many texts of 32 tokens."""
        return self.fixed_s + self.per_text_s * texts

    @property
    def full_s(self) -> float:
        """Of a full batch."""
        return self.seconds(self.max_batch_size)

    @property
    def capacity_rps(self) -> float:
        """Texts a second in full batches."""
        return self.max_batch_size / self.full_s


class CurveEngine:
    """Gives every text even logits and even attention after the seconds of its curve.

    Attributes:
        scale: factor on all times.
        open: while it is clear, `run` blocks.
        failure: what becomes of a batch, or of those alone that hold the poison if there is one.
        poison: ids of the text that `failure` is about.
        rows: texts that it was given.
    """

    execution_provider = "cpu"

    def __init__(self, curve: Curve, num_labels: int, poison: list[int]) -> None:
        self.scale = 1.0
        self.open = threading.Event()
        self.open.set()
        self.failure: Failure = "none"
        self.poison = poison
        self.rows = 0
        self._curve, self._num_labels = curve, num_labels

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """See `Engine.run`."""
        self.rows += len(input_ids)
        self.open.wait()
        time.sleep(self.scale * self._curve.seconds(input_ids.size / TOKENS))
        logits = np.zeros((len(input_ids), self._num_labels), dtype=np.float32)
        poisoned = self._poisoned(input_ids)
        if poisoned.any():
            logits = self._fail(logits, poisoned)
        attention = attention_mask / attention_mask.sum(axis=1, keepdims=True)
        return EngineOutput(logits, attention.astype(np.float32))

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> list[tuple[int, float]]:
        """See `Engine.warm_up`: one text, and a full batch."""
        measured = []
        for texts in (1, min(max_batch_size, max_batch_tokens // TOKENS)):
            ones = np.ones((texts, TOKENS), dtype=np.int64)
            started = time.monotonic()
            self.run(ones, ones)
            measured.append((ones.size, time.monotonic() - started))
        return measured

    def _poisoned(self, input_ids: Int64Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which rows begin with the ids of the poison."""
        width = len(self.poison)
        if self.failure == "none" or input_ids.shape[1] < width:
            return np.zeros(len(input_ids), dtype=bool)
        return (input_ids[:, :width] == self.poison).all(axis=1)

    def _fail(self, logits: np.ndarray, poisoned: np.ndarray) -> np.ndarray:
        if self.failure == "raise":
            raise EngineError("a poisoned batch")
        if self.failure == "shape":
            return logits[:, :-1]
        logits[poisoned] = np.nan
        return logits
