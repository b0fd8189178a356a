"""Encoded texts and the order in which the loop sees them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.runtime.tokenizer import Tokenizer

_BUCKET = 50  # batches whose rows are sorted by length together: little padding, still random


@dataclass(frozen=True)
class EncodedTexts:
    """N rows of ids and their label ids, (N,) int64; -1 is a label that training never saw.

    `lengths` are the tokens of each text before it was cut; empty if nobody asks.
    """

    rows: list[list[int]]
    label_ids: npt.NDArray[np.int64]
    lengths: Sequence[int] = ()

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.rows)


def encode(
    texts: Sequence[str], labels: Sequence[str], names: Sequence[str], tokenizer: Tokenizer
) -> EncodedTexts:
    """Texts to ids through the one tokenizer, labels to their row in the logits."""
    label_ids = {name: label_id for label_id, name in enumerate(names)}
    encoded = [tokenizer.encode(text) for text in texts]
    return EncodedTexts(
        [encoding.input_ids for encoding in encoded],
        np.array([label_ids.get(label, -1) for label in labels], dtype=np.int64),
        [encoding.num_tokens for encoding in encoded],
    )


def training_batches(lengths: Sequence[int], batch_size: int, seed: list[int]) -> list[list[int]]:
    """Every index once, in random batches of like length; the same `seed`, the same batches."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * _BUCKET):
        bucket = sorted(
            order[start : start + batch_size * _BUCKET].tolist(), key=lengths.__getitem__
        )
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]
