"""The logits of PyTorch against the logits that will be served, on real texts."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from export.errors import ExportError
from service.runtime.engine import Engine
from service.runtime.tokenizer import Tokenizer, pad

MAX_LOGIT_DIFFERENCE = 1e-4  # fp32; the largest seen on 300 texts of AG News is 2e-6
_BATCH_SIZES = (1, 2, 7, 32)


def check_parity(
    network: nn.Module, engine: Engine, tokenizer: Tokenizer, texts: Sequence[str], precision: str
) -> dict[str, float]:
    """Compare both sides on `texts`, alone and in batches, short and at full length.

    Returns:
        `texts`, `batches`, `max_logit_difference`, `label_agreement` (a fraction).

    Raises:
        ExportError: fp32 logits differ by more than 1e-4, or a value is not finite.
    """
    network.eval()
    difference, agreed, rows, count = 0.0, 0, 0, 0
    for batch in _batches(tokenizer, texts):
        input_ids, mask = pad(batch)
        with torch.no_grad():
            expected = network(torch.from_numpy(input_ids), torch.from_numpy(mask))[0].numpy()
        served = engine.run(input_ids, mask).logits
        if served.shape != expected.shape or not np.isfinite(served).all():
            raise ExportError(f"the exported graph gave {served.shape} or non-finite logits")
        difference = max(difference, float(np.abs(served - expected).max()))
        agreed += int((served.argmax(axis=1) == expected.argmax(axis=1)).sum())
        rows, count = rows + len(batch), count + 1
    if precision == "fp32" and not difference <= MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"logits of ONNX and PyTorch differ by {difference:.2g}, allowed are "
            f"{MAX_LOGIT_DIFFERENCE:.0g}: nothing was exported"
        )
    return {
        "texts": float(rows),
        "batches": float(count),
        "max_logit_difference": difference,
        "label_agreement": agreed / rows,
    }


def _batches(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """Rows of ids in batches of several sizes; the last ones are as long as the model allows."""
    rows = [tokenizer.encode(text).input_ids for text in texts]
    start = 0
    while start < len(rows):
        for size in _BATCH_SIZES:
            if rows[start : start + size]:
                yield rows[start : start + size]
            start += size
    joined = [token for row in rows for token in row]
    full = (joined * (tokenizer.max_length // len(joined) + 1))[: tokenizer.max_length]
    yield [full]
    yield [full, rows[0], full[: tokenizer.max_length // 2 + 1]]
