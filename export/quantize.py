"""fp32 to int8, for CPUs."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from service.runtime.onnx import quantization


def to_int8(model: bytes) -> bytes:
    """Weights of matrix products and embedding tables as int8; activations at run time.

    Dynamic ranges are taken over the whole batch, so that batch-mates move a text's logits a
    little: the parity of the artifact says by how much. Softmax, norms and sums stay fp32.
    """
    tools = quantization()
    with _no_advice(), tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        tools.quantize_dynamic(
            onnx.load_from_string(model),
            str(target),
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=tools.QuantType.QInt8,
            per_channel=True,
        )
        return target.read_bytes()


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """It is logged on the root logger, whose level is that of all loggers without one."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
