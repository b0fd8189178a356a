"""A trained network as an ONNX graph: named inputs, dynamic batch and length."""

import logging
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from service.runtime.artifact import INPUT_NAMES, OUTPUT_NAMES

OPSET = 20


def to_onnx(network: nn.Module, max_length: int) -> bytes:
    """The graph of `network`, weights inside, fp32.

    Args:
        network: takes input_ids and attention_mask, (B, T) int64, gives logits (B, C) and
            attention (B, T).
        max_length: the largest T.

    Returns:
        A serialised ONNX model whose inputs and outputs have the names of the artifact.
    """
    batch = torch.export.Dim("batch", min=1, max=65_536)
    length = torch.export.Dim("length", min=1, max=max_length)
    example = torch.ones((2, min(7, max_length)), dtype=torch.int64)
    shape = {0: batch, 1: length}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports on torchvision, unused
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # deprecations inside the exporter, nothing to act on
        program = torch.onnx.export(
            network.eval(),
            (example, example.clone()),  # one tensor twice would become one input
            dynamo=True,
            dynamic_shapes=(shape, shape),
            input_names=INPUT_NAMES,
            output_names=OUTPUT_NAMES,
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None  # noqa: S101  it is only without dynamo that None comes back
        path = Path(folder) / "model.onnx"
        program.save(str(path), external_data=False)
        model = onnx.load(str(path))
    for value in (*model.graph.node, *model.graph.initializer):
        value.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]  # stack traces with paths of the machine that exported
    model.producer_name = "heed"
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
