"""The classifier, top to bottom: embeddings, encoder layers, attention pooling, heads."""

import torch
from torch import Tensor, nn

from model.attention import AttentionPooling, SelfAttention
from model.config import NetworkConfig

_MASKED = -1e4  # exp(-1e4) is exactly 0 in float32, and the sum stays finite in float16
_HASH_FACTOR = 1_000_003  # prime: spreads neighbouring pairs of ids over the buckets
_WIDE_SCALE = 10.0  # with 1 the tables hardly move in a few hundred steps of Adam


def hashed_pairs(input_ids: Tensor, buckets: int) -> Tensor:
    """(B, T) ids to the (B, T) buckets of (previous id, id); 0 stands before the first."""
    previous = nn.functional.pad(input_ids[:, :-1], (1, 0))  # (B, T)
    return (previous * _HASH_FACTOR + input_ids) % buckets


class Embeddings(nn.Module):
    """Token, position and hashed bigram embeddings, summed, then a depthwise convolution.

    Bigrams protect short idioms that a small vocabulary cuts apart (fastText, Joulin et al. 2016,
    section 2.1); their buckets are hashes of neighbouring `input_ids`, so the network needs no
    input beyond ids and mask.
    """

    def __init__(self, config: NetworkConfig, vocab_size: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.token = nn.Embedding(vocab_size, width)
        self.position = nn.Embedding(config.max_length, width)
        self.bigram = nn.Embedding(config.bigram_buckets, config.bigram_size)
        self.widen = nn.Linear(config.bigram_size, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.convolution = nn.Conv1d(width, width, config.kernel_size, padding="same", groups=width)
        for table, std in ((self.token, 1.0), (self.position, 0.1), (self.bigram, 1.0)):
            nn.init.normal_(table.weight, std=std * width**-0.5)

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and (B, T, 1) float mask to (B, T, D) states, 0 on padding."""
        pairs = hashed_pairs(input_ids, self.bigram.num_embeddings)  # (B, T)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)  # (T,)
        x = self.token(input_ids) + self.widen(self.bigram(pairs)) + self.position(positions)
        x = self.dropout(self.norm(x)) * mask  # (B, T, D)
        near = self.convolution(x.transpose(1, 2)).transpose(1, 2)  # (B, T, D)
        return (x + nn.functional.gelu(near)) * mask


class Wide(nn.Module):
    """A linear classifier on the tokens and pairs themselves, beside the deep one.

    Cheng et al. 2016, "Wide & Deep Learning". It learns what single words say, which a network
    from scratch overlooks on small data: see docs/attention.md for what it is worth.
    """

    def __init__(self, config: NetworkConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        buckets = max(1, min(config.bigram_buckets, config.wide_size // num_labels))
        self.token = nn.Embedding(vocab_size, num_labels)
        self.bigram = nn.Embedding(buckets, num_labels)
        for table in (self.token, self.bigram):
            nn.init.zeros_(table.weight)  # a word that was never seen says nothing

    def forward(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) ids and (B, T, 1) float mask to (B, C) logits."""
        pairs = hashed_pairs(input_ids, self.bigram.num_embeddings)  # (B, T)
        votes = (self.token(input_ids) + self.bigram(pairs)) * mask  # (B, T, C)
        # By the root of the length, as TF-IDF vectors are; the factor is a higher learning rate.
        return _WIDE_SCALE * votes.sum(dim=1) / mask.sum(dim=1).sqrt()


class EncoderLayer(nn.Module):
    """Pre-norm Transformer layer (Xiong et al. 2020): x + attention(norm x), x + mlp(norm x)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, config.num_heads, config.dropout)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, config.mlp_size), nn.GELU(), nn.Linear(config.mlp_size, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, T, D) states and (B, 1, 1, T) bias to (B, T, D) states."""
        x = x + self.dropout(self.attention(self.attention_norm(x), bias))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Network(nn.Module):
    """input_ids, attention_mask -> logits and the pooling weights of the tokens."""

    def __init__(self, config: NetworkConfig, vocab_size: int, num_labels: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.embeddings = Embeddings(config, vocab_size)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        self.pooling = AttentionPooling(width)
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(3 * width, num_labels)
        self.wide = Wide(config, vocab_size, num_labels) if config.wide_size else None
        self.temperature = nn.Buffer(torch.ones(()))  # set after training, see model/calibrate.py
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Classify one padded batch.

        Args:
            input_ids: (B, T) int64, T <= `max_length`.
            attention_mask: (B, T) int64, 1 = token, 0 = padding; at least one token a row.

        Returns:
            (B, C) logits and (B, T) attention weights that sum to 1 over each row, 0 on padding.
        """
        mask = attention_mask.to(torch.float32).unsqueeze(-1)  # (B, T, 1)
        bias = ((1.0 - mask) * _MASKED).squeeze(-1)  # (B, T)
        shallow = self.embeddings(input_ids, mask)  # (B, T, D)
        x = shallow
        for layer in self.layers:
            x = layer(x, bias[:, None, None, :])
        x = self.norm(x)  # (B, T, D)
        weights = self.pooling(x, bias)  # (B, T)
        states = torch.cat([shallow, x], dim=-1)  # (B, T, 2D)
        mean = (weights.unsqueeze(1) @ states).squeeze(1)  # (B, 2D)
        peak = (x + bias.unsqueeze(-1)).amax(dim=1)  # (B, D)
        logits = self.head(self.dropout(torch.cat([mean, peak], dim=-1)))  # (B, C)
        if self.wide is not None:
            logits = logits + self.wide(input_ids, mask)
        return logits / self.temperature, weights
