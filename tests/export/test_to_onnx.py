"""The graph by itself: names, axes, contents, and the logits of PyTorch."""

import getpass
import socket

import numpy as np
import onnx
import pytest
import torch

from export.to_onnx import OPSET, to_onnx
from model.config import NetworkConfig
from model.network import Network
from service.runtime.onnx import onnxruntime
from tests.runs import ROOT

MAX_LENGTH = 24


@pytest.fixture(scope="module")
def content(fp32) -> bytes:
    """The exported graph of the finished run."""
    return (fp32 / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def session(content):
    """The graph, to be run."""
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def random_batch(batch: int, length: int, vocab_size: int):
    """Ids and a mask whose rows have between 1 and `length` tokens."""
    generator = np.random.default_rng(batch * 100 + length)
    input_ids = generator.integers(2, vocab_size, (batch, length))
    lengths = generator.integers(1, length + 1, (batch, 1))
    return input_ids, (np.arange(length) < lengths).astype(np.int64)


def axes_of(value: onnx.ValueInfoProto) -> list[str | int]:
    """Name or size of each axis."""
    dimensions = value.type.tensor_type.shape.dim
    return [dimension.dim_param or dimension.dim_value for dimension in dimensions]


def test_names_types_and_axes(content):
    """Two inputs and two outputs by name; batch and length are free, the labels are not."""
    graph = onnx.load_from_string(content).graph
    found = {value.name: axes_of(value) for value in (*graph.input, *graph.output)}
    assert found == {
        "input_ids": ["batch", "length"],
        "attention_mask": ["batch", "length"],
        "logits": ["batch", 3],
        "attention": ["batch", "length"],
    }
    types = [v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)]
    assert types == [onnx.TensorProto.INT64] * 2 + [onnx.TensorProto.FLOAT] * 2


def test_opset_is_the_one_that_is_stated(content):
    """Of the default domain; no operators of anybody else."""
    model = onnx.load_from_string(content)
    assert {item.domain: item.version for item in model.opset_import} == {"": OPSET}
    assert {node.domain for node in model.graph.node} == {""}
    onnx.checker.check_model(model, full_check=True)


def test_weights_are_inside(content):
    """One file is the whole model."""
    for tensor in onnx.load_from_string(content).graph.initializer:
        assert tensor.data_location == onnx.TensorProto.DEFAULT
        assert not tensor.external_data


def test_file_tells_nothing_of_the_machine(content):
    """No path, no user, no host, no line of source."""
    words = [str(ROOT), "site-packages", ".py", "/tmp", "/home", "Traceback", "forward("]  # noqa: S108
    if len(getpass.getuser()) > 4:
        words.append(getpass.getuser())
    if len(socket.gethostname()) > 4:
        words.append(socket.gethostname())
    assert [word for word in words if word.encode() in content] == []


@pytest.mark.parametrize("batch", [1, 2, 9])
@pytest.mark.parametrize("length", [1, 2, 13, MAX_LENGTH])
@torch.no_grad()
def test_logits_and_attention_are_those_of_pytorch(session, checkpoint, batch, length):
    """At several (B, T), with padding, within 1e-4; attention is 0 on padding on both sides."""
    input_ids, mask = random_batch(batch, length, checkpoint.run.vocab_size)
    logits, attention = session.run(None, {"input_ids": input_ids, "attention_mask": mask})
    expected = checkpoint.network(torch.from_numpy(input_ids), torch.from_numpy(mask))
    assert logits.shape == (batch, 3)
    assert np.abs(logits - expected[0].numpy()).max() <= 1e-4
    assert np.abs(attention - expected[1].numpy()).max() <= 1e-4
    assert (attention[mask == 0] == 0).all()


def test_inputs_are_independent(session):
    """The mask is not taken from the ids, nor the ids from the mask."""
    ids = np.array([[5, 6, 7, 8]])
    full, half = np.ones((1, 4), dtype=np.int64), np.array([[1, 1, 0, 0]])
    whole = session.run(["logits"], {"input_ids": ids, "attention_mask": full})[0]
    masked = session.run(["logits"], {"input_ids": ids, "attention_mask": half})[0]
    other = session.run(["logits"], {"input_ids": ids + 1, "attention_mask": full})[0]
    short = session.run(["logits"], {"input_ids": ids[:, :2], "attention_mask": full[:, :2]})[0]
    assert np.abs(whole - masked).max() > 1e-4
    assert np.abs(whole - other).max() > 1e-4
    assert np.abs(masked - short).max() <= 1e-5


@pytest.mark.parametrize("max_length", [4, 7])
def test_shortest_models_can_be_exported(max_length):
    """The example that is traced fits into `max_length`."""
    sizes = {"hidden_size": 8, "num_heads": 1, "num_layers": 0, "mlp_size": 8, "bigram_size": 2}
    torch.manual_seed(0)
    config = NetworkConfig(**sizes, max_length=max_length, bigram_buckets=8)
    network = Network(config, vocab_size=20, num_labels=2).eval()
    session = onnxruntime.InferenceSession(
        to_onnx(network, max_length), providers=["CPUExecutionProvider"]
    )
    for length in (1, max_length):
        input_ids, mask = random_batch(3, length, 20)
        (logits,) = session.run(["logits"], {"input_ids": input_ids, "attention_mask": mask})
        with torch.no_grad():
            expected = network(torch.from_numpy(input_ids), torch.from_numpy(mask))[0].numpy()
        assert np.abs(logits - expected).max() <= 1e-4
