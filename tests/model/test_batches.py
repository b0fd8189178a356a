"""The order in which the loop sees the texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batches import encode, training_batches
from service.runtime.tokenizer import Tokenizer
from tests.artifacts import train_tokenizer


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=300),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 3),
)
def test_every_index_once(lengths, batch_size, seed):
    """An epoch is every row once, in full batches but for the last of each bucket."""
    batches = training_batches(lengths, batch_size, [seed, 0])
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


def test_same_seed_same_batches():
    """What `--resume` relies on: the batches of an epoch follow from seed and epoch alone."""
    lengths = list(range(1, 200))
    first = training_batches(lengths, 8, [5, 1])
    assert training_batches(lengths, 8, [5, 1]) == first
    assert training_batches(lengths, 8, [5, 2]) != first
    assert training_batches(lengths, 8, [6, 1]) != first


def test_like_lengths_stand_together():
    """Padding is below 5 % of the tokens where random batches would have 45 %."""
    lengths = np.random.default_rng(0).integers(1, 100, size=2_000).tolist()
    batches = training_batches(lengths, 16, [0, 0])
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    assert padded / sum(lengths) < 1.05


def test_short_and_long_batches_alternate_at_random():
    """The order of the batches says nothing about their length."""
    lengths = list(range(1, 1_001))
    means = [np.mean(batch) for batch in training_batches(lengths, 10, [0, 0])]
    correlation = np.corrcoef(means, np.arange(len(means)))[0, 1]
    assert abs(correlation) < 0.3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tokenizer of invented sentences that cuts at 5 tokens."""
    return Tokenizer(train_tokenizer(), 5)


def test_unknown_label_is_minus_1(tokenizer):
    """A label of the test file that training never saw has no row in the logits."""
    encoded = encode(["a", "b", "c"], ["y", "new", "x"], ["x", "y"], tokenizer)
    assert encoded.label_ids.tolist() == [1, -1, 0]
    assert encoded.label_ids.dtype == np.int64
    assert len(encoded) == 3


def test_rows_are_cut_and_never_empty(tokenizer):
    """At most `max_length` ids, and at least one even for a text that normalises to nothing."""
    rows = encode(["the shop paid twice " * 9, "\u200b"], ["x", "x"], ["x"], tokenizer).rows
    assert [len(row) for row in rows] == [5, 1]
