"""One batch through the engine, such that a text that breaks it fails alone. Synchronous.

If the engine raises, or gives a wrong shape or a number that is not finite, the batch is halved and
each half computed by itself, down to the single texts that are at fault. All rows of a batch with a
NaN in it are computed again, as a quantised graph takes the range of its numbers over the whole
batch. One bad text among n costs at most 2 * log2(n) more runs.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from service.runtime.engine import EngineError, EngineOutput
from service.runtime.postprocess import Float32Array, softmax
from service.runtime.tokenizer import Int64Array


class Runner(Protocol):
    """The part of `Engine` that computes."""

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """Logits and attention of a padded batch; see `Engine.run`."""


class Output(NamedTuple):
    """(C,) probabilities and (T,) attention weights of one text; T may count padding."""

    probabilities: Float32Array
    attention: Float32Array


Outcome = Output | EngineError


def compute(
    engine: Runner, num_labels: int, input_ids: Int64Array, attention_mask: Int64Array
) -> tuple[Sequence[Outcome], bool]:
    """The outcome of each row, and whether the first run served them all.

    Args:
        engine: called at least once.
        num_labels: C, which its logits must have.
        input_ids: (B, T) int64, B >= 1.
        attention_mask: (B, T) int64, 1 = token, 0 = padding.
    """
    outcomes = _run(engine, num_labels, input_ids, attention_mask)
    if not isinstance(outcomes, EngineError):
        return outcomes, True
    return _bisect(engine, num_labels, input_ids, attention_mask, outcomes), False


def _bisect(
    engine: Runner,
    num_labels: int,
    input_ids: Int64Array,
    attention_mask: Int64Array,
    error: EngineError,
) -> list[Outcome]:
    """Outcomes of rows that failed together with `error`."""
    if len(input_ids) == 1:
        return [error]
    outcomes: list[Outcome] = []
    middle = len(input_ids) // 2
    for half in (slice(middle), slice(middle, None)):
        width = int(attention_mask[half].sum(axis=1).max())
        ids, mask = input_ids[half, :width], attention_mask[half, :width]
        found = _run(engine, num_labels, ids, mask)
        if isinstance(found, EngineError):
            outcomes += _bisect(engine, num_labels, ids, mask, found)
        else:
            outcomes += found
    return outcomes


def _run(
    engine: Runner, num_labels: int, input_ids: Int64Array, attention_mask: Int64Array
) -> list[Output] | EngineError:
    try:
        logits, attention = engine.run(input_ids, attention_mask)
        return _checked((len(input_ids), num_labels), input_ids.shape, logits, attention)
    except EngineError as error:
        return error
    except Exception as error:  # handed to the caller of each text, whatever it is
        failure = EngineError(f"the engine failed with {type(error).__name__}")
        failure.__cause__ = error
        return failure


def _checked(
    logits_shape: tuple[int, ...],
    attention_shape: tuple[int, ...],
    logits: Float32Array,
    attention: Float32Array,
) -> list[Output]:
    if logits.shape != logits_shape or attention.shape != attention_shape:
        raise EngineError(
            f"the engine gave logits {logits.shape} and attention {attention.shape}, "
            f"expected {logits_shape} and {attention_shape}"
        )
    if not (np.isfinite(logits).all() and np.isfinite(attention).all()):
        raise EngineError("the engine gave numbers that are not finite")
    return list(map(Output, softmax(logits), attention))
