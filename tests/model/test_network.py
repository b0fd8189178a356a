"""The whole network: shapes, padding, and that it can learn."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import NetworkConfig
from model.network import Network
from service.runtime.tokenizer import pad

VOCAB_SIZE = 40
MAX_LENGTH = 12
SIZES = {
    "hidden_size": 16,
    "num_heads": 2,
    "mlp_size": 24,
    "max_length": MAX_LENGTH,
    "bigram_buckets": 64,
    "bigram_size": 4,
}


def make(num_labels: int = 3, **sizes: float) -> Network:
    """A small network with fixed weights, in evaluation mode."""
    torch.manual_seed(0)
    config = NetworkConfig.model_validate(SIZES | {"num_layers": 2} | sizes)
    return Network(config, VOCAB_SIZE, num_labels).eval()


def random_rows(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Rows of ids above those of padding and unknown."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(2, VOCAB_SIZE, (length,), generator=generator).tolist() for length in lengths
    ]


@torch.no_grad()
def outputs(network: Network, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and attention of one padded batch."""
    return network(*map(torch.from_numpy, pad(rows)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, MAX_LENGTH), min_size=1, max_size=6),
    num_layers=st.integers(0, 2),
    seed=st.integers(0, 5),
)
def test_padding_does_not_move_logits(lengths, num_layers, seed):
    """A text in a batch has the logits and the attention that it has alone, within 1e-5."""
    network = make(num_layers=num_layers)
    rows = random_rows(*lengths, seed=seed)
    logits, attention = outputs(network, rows)
    for index, row in enumerate(rows):
        alone, weights = outputs(network, [row])
        assert (logits[index] - alone[0]).abs().max() <= 1e-5
        assert (attention[index, : len(row)] - weights[0]).abs().max() <= 1e-5
        assert (attention[index, len(row) :] == 0).all()


@torch.no_grad()
def test_ids_under_the_mask_do_not_matter():
    """Padding is what the mask says, whatever ids stand there."""
    network = make()
    input_ids, mask = map(torch.from_numpy, pad(random_rows(4, MAX_LENGTH)))
    changed = input_ids.clone()
    changed[0, 4:] = 7
    assert torch.equal(network(input_ids, mask)[0], network(changed, mask)[0])


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("length", [1, 2, MAX_LENGTH])
def test_shapes(batch, length):
    """(B, C) logits and (B, T) attention, also for one token and for the longest text."""
    logits, attention = outputs(make(num_labels=4), random_rows(*[length] * batch))
    assert logits.shape == (batch, 4)
    assert attention.shape == (batch, length)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(attention.sum(dim=1), torch.ones(batch), rtol=0, atol=1e-5)


def test_one_token_gets_all_attention():
    """The only token carries the decision."""
    assert outputs(make(), [[5]])[1].tolist() == [[1.0]]


def test_order_of_tokens_matters():
    """It is not a bag of words."""
    network = make()
    forwards, backwards = (outputs(network, [row])[0] for row in ([3, 4, 5], [5, 4, 3]))
    assert (forwards - backwards).abs().max() > 1e-3


def test_order_of_texts_does_not_matter():
    """Rows come out in the order in which they went in."""
    network = make()
    rows = random_rows(3, 9, 1, 12)
    logits = outputs(network, rows)[0]
    turned = outputs(network, rows[::-1])[0].flip(0)
    torch.testing.assert_close(turned, logits, rtol=0, atol=1e-5)


def test_tiny_set_can_be_overfitted():
    """Labels that nothing but memory can give are learned within 60 steps."""
    network = make(dropout=0.0, embedding_dropout=0.0, head_dropout=0.0).train()
    input_ids, mask = map(torch.from_numpy, pad(random_rows(*range(1, 13))))
    targets = torch.arange(12) % 3
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(network(input_ids, mask)[0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert (network.eval()(input_ids, mask)[0].argmax(dim=1) == targets).all()


def test_every_weight_learns():
    """No part of the network is left out of the loss."""
    network = make()
    logits, _ = network(*map(torch.from_numpy, pad(random_rows(5, 8))))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    still = [name for name, value in network.named_parameters() if value.grad is None]
    assert still == []
