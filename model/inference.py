"""Logits of a PyTorch network on many texts: validation, evaluation and parity use this one."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from service.runtime.postprocess import Float32Array
from service.runtime.tokenizer import batches_by_length, pad

_MAX_BATCH_TOKENS = 8_192


@torch.no_grad()
def network_logits(network: nn.Module, rows: Sequence[Sequence[int]]) -> Float32Array:
    """(N, C) float32 logits of N rows of ids, in their order; the network is set to evaluation."""
    network.eval()
    device = next(network.parameters()).device
    logits: list[tuple[list[int], Float32Array]] = []
    for batch in batches_by_length(list(map(len, rows)), _MAX_BATCH_TOKENS):
        inputs = (torch.from_numpy(part).to(device) for part in pad([rows[i] for i in batch]))
        logits.append((batch, network(*inputs)[0].float().cpu().numpy()))
    result = np.empty((len(rows), logits[0][1].shape[1]), dtype=np.float32)
    for batch, part in logits:
        result[batch] = part
    return result
