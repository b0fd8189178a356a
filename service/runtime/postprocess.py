"""Logits to probabilities and ranked labels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FEW_LABELS = 100  # ranked one by one; an answer has all of them unless it is asked for less
Float32Array = npt.NDArray[np.float32]


def softmax(logits: Float32Array) -> Float32Array:
    """(B, C) logits to (B, C) probabilities; each row sums to 1. Computed in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: Float32Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities.astype(np.float32)


def ranked(
    probabilities: Float32Array, labels: Sequence[str], top_k: int | None = None
) -> list[tuple[str, float]]:
    """(C,) probabilities to pairs of label and probability, falling; all, or the first `top_k`.

    Of equal ones that with the lower id comes first.
    """
    ids: Sequence[int] = range(len(probabilities))
    if top_k is not None and len(ids) > max(top_k, FEW_LABELS):
        ids = np.flatnonzero(probabilities >= np.partition(probabilities, -top_k)[-top_k]).tolist()
        values = dict(zip(ids, probabilities[ids].tolist(), strict=True))
        order = sorted(ids, key=values.__getitem__, reverse=True)[:top_k]
        return [(labels[label_id], values[label_id]) for label_id in order]
    # Not by numpy: its argsort lets go of the GIL, and to get it back took 300 us under load.
    all_values = probabilities.tolist()
    order = sorted(ids, key=all_values.__getitem__, reverse=True)[:top_k]
    return [(labels[label_id], all_values[label_id]) for label_id in order]
