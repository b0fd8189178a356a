"""Self-attention and pooling against their formulas."""

import pytest
import torch

from model.attention import AttentionPooling, SelfAttention

HIDDEN_SIZE = 12
MASKED = -1e4


@pytest.fixture
def states() -> torch.Tensor:
    """(B, T, D) = (2, 5, 12) states."""
    return torch.randn((2, 5, HIDDEN_SIZE), generator=torch.Generator().manual_seed(3))


def bias_of(*lengths: int) -> torch.Tensor:
    """(B, 5) bias of texts with that many tokens."""
    return torch.where(torch.arange(5) < torch.tensor(lengths)[:, None], 0.0, MASKED)


@torch.no_grad()
def written_out(attention: SelfAttention, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V for each text and head by itself."""
    depth = HIDDEN_SIZE // attention.num_heads
    texts = []
    for states, row in zip(x, bias, strict=True):
        projected = states @ attention.qkv.weight.T + attention.qkv.bias  # (T, 3D)
        q, k, v = projected.split(HIDDEN_SIZE, dim=-1)  # 3 x (T, D)
        heads = []
        for start in range(0, HIDDEN_SIZE, depth):
            part = slice(start, start + depth)
            scores = q[:, part] @ k[:, part].T / depth**0.5 + row  # (T, T)
            exponentials = torch.exp(scores - scores.max(dim=1, keepdim=True).values)
            weights = exponentials / exponentials.sum(dim=1, keepdim=True)
            heads.append(weights @ v[:, part])
        texts.append(torch.cat(heads, dim=-1) @ attention.out.weight.T + attention.out.bias)
    return torch.stack(texts)


@pytest.mark.parametrize("num_heads", [1, 2, 3, 12])
@pytest.mark.parametrize("lengths", [(5, 5), (5, 2), (1, 4)])
def test_self_attention_is_softmax_of_scaled_products(states, num_heads, lengths):
    """softmax(Q K^T / sqrt(d)) V, head by head, with and without padding."""
    torch.manual_seed(0)
    attention = SelfAttention(HIDDEN_SIZE, num_heads, dropout=0.0)
    bias = bias_of(*lengths)
    with torch.no_grad():
        mixed = attention(states, bias[:, None, None, :])
    torch.testing.assert_close(mixed, written_out(attention, states, bias), rtol=0, atol=1e-6)


@torch.no_grad()
def test_padding_is_never_attended(states):
    """Whatever stands on padding, the tokens get the same states, bit by bit."""
    torch.manual_seed(0)
    attention = SelfAttention(HIDDEN_SIZE, 3, dropout=0.0)
    bias = bias_of(3, 4)[:, None, None, :]
    changed = states.clone()
    changed[0, 3:], changed[1, 4:] = 50.0, -50.0
    before, after = attention(states, bias), attention(changed, bias)
    assert torch.equal(before[0, :3], after[0, :3])
    assert torch.equal(before[1, :4], after[1, :4])


def test_heads_must_divide_the_width():
    """The message names both numbers."""
    with pytest.raises(ValueError, match="hidden_size 12 is not a multiple of num_heads 5"):
        SelfAttention(HIDDEN_SIZE, 5, dropout=0.0)


@torch.no_grad()
def test_dropout_only_while_training(states):
    """Evaluation is deterministic, training is not."""
    torch.manual_seed(0)
    attention = SelfAttention(HIDDEN_SIZE, 2, dropout=0.5)
    bias = bias_of(5, 5)[:, None, None, :]
    assert not torch.equal(attention(states, bias), attention(states, bias))
    attention.eval()
    assert torch.equal(attention(states, bias), attention(states, bias))


@torch.no_grad()
def test_pooling_weights_sum_to_1_and_are_0_on_padding(states):
    """Exactly 0: a served attention weight must not point at nothing."""
    torch.manual_seed(0)
    weights = AttentionPooling(HIDDEN_SIZE)(states, bias_of(5, 2))
    assert weights.shape == (2, 5)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2), rtol=0, atol=1e-6)
    assert (weights[0] > 0).all()
    assert (weights[1, :2] > 0).all()
    assert (weights[1, 2:] == 0).all()


@torch.no_grad()
def test_pooling_weights_are_softmax_of_the_formula(states):
    """softmax(u . tanh(W x + b)) over the tokens."""
    torch.manual_seed(0)
    pooling = AttentionPooling(HIDDEN_SIZE)
    scores = torch.tanh(states @ pooling.project.weight.T + pooling.project.bias)
    expected = (scores @ pooling.query.weight[0]).exp()
    expected = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(pooling(states, bias_of(5, 5)), expected, rtol=0, atol=1e-6)
