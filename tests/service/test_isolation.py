"""Isolation: a text that breaks a batch fails alone, and its mates get what they would alone."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.isolation import compute
from service.runtime.engine import EngineError, EngineOutput
from service.runtime.tokenizer import pad
from tests.fakes import FakeEngine

POISON = 13
NUM_LABELS = 3


def rows(count: int, *poisoned: int) -> list[list[int]]:
    """Texts of different lengths; those at `poisoned` hold the poison."""
    return [[POISON if row in poisoned else 20 + row] * (1 + row % 4) for row in range(count)]


def nan(output: EngineOutput, row: int) -> EngineOutput:
    """One number of the row is not finite."""
    output.logits[row, 1] = math.nan
    return output


def infinite_attention(output: EngineOutput, row: int) -> EngineOutput:
    """The logits are fine, the weights are not."""
    output.attention[row, 0] = math.inf
    return output


def raises(output: EngineOutput, row: int) -> EngineOutput:
    """As ONNX Runtime does."""
    raise EngineError("the session rejected it")


def raises_something_else(output: EngineOutput, row: int) -> EngineOutput:
    """As a bug does."""
    raise ZeroDivisionError


SPOILED = {
    "raises": raises,
    "raises something else": raises_something_else,
    "not finite": nan,
    "attention not finite": infinite_attention,
    "too few labels": lambda output, row: EngineOutput(output.logits[:, :-1], output.attention),
    "too few rows": lambda output, row: EngineOutput(output.logits[1:], output.attention),
    "attention too narrow": lambda output, row: EngineOutput(
        output.logits, output.attention[:, 1:]
    ),
    "attention too short": lambda output, row: EngineOutput(output.logits, output.attention[1:]),
    "lists": lambda output, row: tuple(array.tolist() for array in output),
    "text": lambda output, row: EngineOutput(output.logits.astype(str), output.attention),
    "None": lambda output, row: None,
    "no attention": lambda output, row: EngineOutput(output.logits, None),
}


def spoil(engine: FakeEngine, how) -> None:
    """Let the engine do `how` to every batch with the poison in it."""

    def spoiled(batch, output):
        for row, ids in enumerate(batch):
            if POISON in ids:
                output = how(output, row)
        return output

    engine.spoil = spoiled


@pytest.mark.parametrize("how", SPOILED.values(), ids=SPOILED)
@pytest.mark.parametrize("position", [0, 7, 15])
def test_one_poison_of_sixteen_fails_alone(fake_engine, how, position):
    """The others get the answer that they get alone, after 2 * log2(16) + 2 runs at most."""
    texts = rows(16, position)
    spoil(fake_engine, how)
    outcomes, whole = compute(fake_engine, NUM_LABELS, *pad(texts))
    assert not whole
    assert len(fake_engine.batches) <= 2 * math.log2(16) + 2
    assert isinstance(outcomes[position], EngineError)
    fake_engine.spoil = None
    for row, (ids, outcome) in enumerate(zip(texts, outcomes, strict=True)):
        if row != position:
            ((alone,), _) = compute(fake_engine, NUM_LABELS, *pad([ids]))
            assert np.array_equal(outcome.probabilities, alone.probabilities)
            assert np.array_equal(outcome.attention[: len(ids)], alone.attention)
            assert not outcome.attention[len(ids) :].any()


@given(count=st.integers(1, 24), data=st.data())
def test_exactly_the_poisoned_fail_however_many(count, data):
    """Each of k poisons costs at most 2 * log2(n) + 1 more runs, and all of n cost 2 n - 1."""
    poisoned = data.draw(st.sets(st.integers(0, count - 1)))
    engine = FakeEngine()
    spoil(engine, raises)
    outcomes, whole = compute(engine, NUM_LABELS, *pad(rows(count, *poisoned)))
    failed = {row for row, found in enumerate(outcomes) if isinstance(found, EngineError)}
    assert failed == poisoned
    assert whole == (not poisoned)
    runs = len(engine.batches)
    assert runs <= 2 * count - 1
    assert runs <= 1 + len(poisoned) * 2 * math.ceil(math.log2(count) if count > 1 else 0)


def test_sound_batch_runs_once(fake_engine):
    """Isolation costs nothing until it is needed."""
    outcomes, whole = compute(fake_engine, NUM_LABELS, *pad(rows(16)))
    assert whole
    assert len(outcomes) == 16
    assert len(fake_engine.batches) == 1


def test_half_of_a_batch_has_no_padding_that_only_the_other_half_needed():
    """The long row goes with its own half."""
    widths = []

    class Narrow(FakeEngine):
        def run(self, input_ids, attention_mask):
            widths.append(input_ids.shape)
            return super().run(input_ids, attention_mask)

    engine = Narrow()
    spoil(engine, raises)
    compute(engine, NUM_LABELS, *pad([[1], [2], [3], [POISON] * 50]))
    assert widths == [(4, 50), (2, 1), (2, 50), (1, 1), (1, 50)]


def test_error_names_no_text_and_keeps_its_cause(fake_engine):
    """What another library says may quote its input; it is the cause, for the log's frames only."""
    fake_engine.error = ValueError("a text of a user")
    ((outcome,), _) = compute(fake_engine, NUM_LABELS, *pad([[1]]))
    assert str(outcome) == "the engine failed with ValueError"
    assert outcome.__cause__ is fake_engine.error
