"""export.quantize: what it does to the process around it."""

import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.quantize import to_int8


def test_quantizing_leaves_the_level_of_the_log_as_it_was(monkeypatch):
    """Else a service in the same process would lose its warnings."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.INFO)
    assert to_int8(matrix_product())
    assert root.level == logging.INFO


def matrix_product() -> bytes:
    """The smallest model that can be quantized."""
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight")
    shape = [None, 4]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
