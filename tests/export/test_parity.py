"""What was exported is compared with PyTorch before it gets a name."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.bundle
from export.bundle import export_run
from export.errors import ExportError
from export.parity import check_parity
from model.parts import read_part
from service.runtime.artifact import FileEntry, read_artifact
from service.runtime.engine import Engine


def corrupted(model: bytes, value: float) -> bytes:
    """The graph with `value` added to the first logit, by one number of its head."""
    graph = onnx.load_from_string(model)
    weights = {item.name: item for item in graph.graph.initializer}
    temperature = float(numpy_helper.to_array(weights["temperature"]))
    array = numpy_helper.to_array(weights["head.bias"]).copy()
    array[0] += value * temperature
    weights["head.bias"].CopyFrom(numpy_helper.from_array(array, "head.bias"))
    return bytes(graph.SerializeToString())


@pytest.fixture
def engine_of(fp32, tmp_path):
    """An engine on the graph with one number changed."""

    def make(value: float) -> Engine:
        folder = shutil.copytree(fp32, tmp_path / "changed")
        model = corrupted((folder / "model.onnx").read_bytes(), value)
        (folder / "model.onnx").write_bytes(model)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"]["model.onnx"] = vars(FileEntry.of(model))
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return Engine(read_artifact(folder), "cpu")

    return make


@pytest.fixture(scope="module")
def texts(trained_run) -> list[str]:
    """What export compares on."""
    return read_part(trained_run, "validation").texts


def test_sound_graph_passes(checkpoint, fp32, texts):
    """Every text is compared, and batches at full length besides."""
    engine = Engine(read_artifact(fp32), "cpu")
    parity = check_parity(checkpoint.network, engine, checkpoint.tokenizer, texts, "fp32")
    assert parity["texts"] == len(texts) + 4
    assert parity["max_logit_difference"] <= 1e-4
    assert parity["label_agreement"] == 1.0


def test_one_changed_weight_fails(checkpoint, engine_of, texts):
    """A thousandth in one logit is seen; the message says how much is allowed."""
    with pytest.raises(ExportError, match=r"differ by 0\.001, allowed are 0\.0001"):
        check_parity(checkpoint.network, engine_of(1e-3), checkpoint.tokenizer, texts, "fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_fail(checkpoint, engine_of, texts, value, precision):
    """In every precision."""
    with pytest.raises(ExportError, match="non-finite"):
        check_parity(checkpoint.network, engine_of(value), checkpoint.tokenizer, texts, precision)


def test_int8_reports_what_it_costs(checkpoint, engine_of, texts):
    """No limit on the logits: the difference and the share of equal labels are reported."""
    engine = engine_of(50.0)
    parity = check_parity(checkpoint.network, engine, checkpoint.tokenizer, texts, "int8")
    assert parity["max_logit_difference"] == pytest.approx(50.0, abs=1e-3)
    first = sum(label == "account" for label in read_labels(checkpoint, texts))
    assert parity["label_agreement"] < 1.0
    assert parity["label_agreement"] >= first / (len(texts) + 4)


def read_labels(checkpoint, texts: list[str]) -> list[str]:
    """What the checkpoint predicts."""
    from model.inference import network_logits

    rows = [checkpoint.tokenizer.encode(text).input_ids for text in texts]
    names = checkpoint.run.labels
    return [names[index] for index in network_logits(checkpoint.network, rows).argmax(axis=1)]


class Recorder:
    """An engine that keeps the batches it is given and answers as PyTorch does."""

    def __init__(self, network) -> None:
        self.network = network
        self.shapes: list[tuple[int, int]] = []

    def run(self, input_ids, attention_mask):
        """See `Engine.run`."""
        import torch

        from service.runtime.engine import EngineOutput

        self.shapes.append(input_ids.shape)
        with torch.no_grad():
            outputs = self.network(torch.from_numpy(input_ids), torch.from_numpy(attention_mask))
        return EngineOutput(*(np.asarray(output) for output in outputs))


@pytest.mark.parametrize("count", [1, 2, 30])
def test_shapes_that_are_compared(checkpoint, texts, count):
    """Texts alone and in batches, and the full length, whatever the number of texts."""
    recorder = Recorder(checkpoint.network)
    check_parity(checkpoint.network, recorder, checkpoint.tokenizer, texts[:count], "fp32")
    batches, lengths = zip(*recorder.shapes, strict=True)
    assert sum(batches) == count + 4
    assert 1 in batches
    assert 3 in batches
    assert max(lengths) == checkpoint.tokenizer.max_length


def test_failed_parity_exports_nothing(trained_run, tmp_path, monkeypatch):
    """A graph that differs is not written, under no name."""
    make = export.bundle.to_onnx
    monkeypatch.setattr(
        export.bundle, "to_onnx", lambda *arguments: corrupted(make(*arguments), 1e-2)
    )
    with pytest.raises(ExportError, match="nothing was exported"):
        export_run(trained_run, tmp_path / "out", "fp32", "tickets", "1")
    assert list(tmp_path.iterdir()) == []
