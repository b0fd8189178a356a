"""Logits to probabilities and ranked labels."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FEW_LABELS = 100
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
    if len(probabilities) > FEW_LABELS:
        count = min(top_k or len(probabilities), len(probabilities))
        last = np.partition(probabilities, -count)[-count]
        ids = np.flatnonzero(probabilities >= last)
        ids = ids[np.argsort(-probabilities[ids], kind="stable")][:count]
        scores = probabilities[ids].tolist()
        return [(labels[index], score) for index, score in zip(ids.tolist(), scores, strict=True)]
    # Not by numpy: its argsort lets go of the GIL, and to get it back took 300 us under load.
    values = probabilities.tolist()
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)[:top_k]
    return [(labels[index], values[index]) for index in order]
