"""Self-attention and attention pooling, each form one class, in plain PyTorch."""

import math

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention: softmax(Q K^T / sqrt(d)) V.

    Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section 3.2.2.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % num_heads:
            message = f"hidden_size {hidden_size} is not a multiple of num_heads {num_heads}"
            raise ValueError(message)
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Mix each token with the tokens that it attends to.

        Args:
            x: (B, T, D) states.
            bias: (B, 1, 1, T) added to the scores, 0 = token, very negative = padding.

        Returns:
            (B, T, D) states.
        """
        batch, length, width = x.shape
        heads, depth = self.num_heads, width // self.num_heads
        q, k, v = self.qkv(x).view(batch, length, 3, heads, depth).unbind(2)  # 3 x (B, T, H, d)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # 3 x (B, H, T, d)
        scores = q @ k.transpose(-2, -1) / math.sqrt(depth) + bias  # (B, H, T, T)
        weights = self.dropout(scores.softmax(dim=-1))
        mixed = (weights @ v).transpose(1, 2).reshape(batch, length, width)  # (B, T, D)
        return self.out(mixed)


class AttentionPooling(nn.Module):
    """One weight a token: softmax(u . tanh(W x)); the pooled vector is the weighted mean.

    Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", equations 5-7.
    The weights say how much each token counted, and are what `explain` shows.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, hidden_size)
        self.query = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Weights of the tokens, summing to 1 over each text.

        Args:
            x: (B, T, D) states that decide.
            bias: (B, T) added to the scores, 0 = token, very negative = padding.

        Returns:
            (B, T) weights, exactly 0 on padding.
        """
        scores = self.query(torch.tanh(self.project(x))).squeeze(-1)  # (B, T)
        return (scores + bias).softmax(dim=-1)
