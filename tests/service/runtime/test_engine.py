"""The engine: providers that are there or are not, and input that does not fit."""

from dataclasses import replace

import numpy as np
import pytest

from service.runtime.artifact import Artifact, read_artifact
from service.runtime.engine import Engine, EngineError
from service.runtime.onnx import onnxruntime
from tests.artifacts import LABELS


@pytest.fixture(scope="module")
def artifact(tiny_artifact) -> Artifact:
    """Read once."""
    return read_artifact(tiny_artifact)


def test_run_gives_logits_and_attention_of_each_row(artifact):
    """Attention sums to 1 over the tokens and is 0 on padding."""
    input_ids = np.array([[5, 6, 7], [8, 0, 0]])
    logits, attention = Engine(artifact).run(input_ids, (input_ids > 0).astype(np.int64))
    assert logits.shape == (2, len(LABELS))
    assert logits.dtype == attention.dtype == np.float32
    np.testing.assert_allclose(attention.sum(axis=1), [1.0, 1.0], rtol=1e-5)
    np.testing.assert_allclose(attention[1], [1.0, 0.0, 0.0], atol=1e-7)


def test_missing_provider_is_a_clear_error(artifact):
    """No silent fallback; the message says what there is."""
    with pytest.raises(EngineError, match=r"'cuda' is not in this ONNX Runtime, which has .*cpu"):
        Engine(artifact, "cuda")


def test_unknown_provider_is_a_clear_error(artifact):
    """With the choices."""
    with pytest.raises(EngineError, match="'abacus', expected auto, cpu, cuda, tensorrt"):
        Engine(artifact, "abacus")


def test_auto_falls_back_to_cpu(artifact):
    """And says which it is."""
    assert Engine(artifact, "auto").execution_provider == "cpu"


def test_provider_that_is_there_but_does_not_start_is_an_error(artifact, monkeypatch):
    """What the session really uses counts, not what was asked for."""
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda model, options, providers: real(  # as ONNX Runtime does
            model, options, providers=["CPUExecutionProvider"]
        ),
    )
    with pytest.raises(EngineError, match="did not start"):
        Engine(artifact, "cuda")
    assert Engine(artifact, "auto").execution_provider == "cpu"


def test_broken_model_is_a_clear_error(artifact):
    """Even if its hash was right."""
    broken = Artifact(artifact.path, artifact.manifest, "", b"no model", artifact.tokenizer)
    with pytest.raises(EngineError, match="did not load on cpu"):
        Engine(broken)


def test_labels_that_do_not_fit_the_model_are_an_error(artifact):
    """One label more than logits: every answer could have the wrong name."""
    manifest = replace(artifact.manifest, labels=(*artifact.manifest.labels, "one more"))
    with pytest.raises(EngineError, match="logits, the manifest has"):
        Engine(replace(artifact, manifest=manifest))


def test_input_that_does_not_fit_names_shape_and_type(artifact):
    """float64 where int64 is needed."""
    wrong = np.zeros((2, 3))
    with pytest.raises(EngineError, match=r"batch \(2, 3\) of float64"):
        Engine(artifact).run(wrong, wrong)


@pytest.mark.parametrize(("size", "tokens"), [(1, 1), (32, 1024), (4, 100_000)])
def test_warm_up_stays_inside_the_limits(artifact, monkeypatch, size, tokens):
    """Every length up to `max_length`, no batch beyond budget or size."""
    engine = Engine(artifact)
    shapes = []
    run = engine.run

    def noted(ids, mask):
        shapes.append(ids.shape)
        return run(ids, mask)

    monkeypatch.setattr(engine, "run", noted)
    measured = engine.warm_up(size, tokens)
    assert [count for count, _ in measured] == [rows * length for rows, length in shapes[::2]]
    assert max(length for _, length in shapes) == engine.max_length
    assert all(rows <= size and (rows == 1 or rows * length <= tokens) for rows, length in shapes)


def test_warm_up_refuses_a_model_that_gives_no_numbers(artifact, monkeypatch):
    """A broken version is not swapped in."""
    engine = Engine(artifact)
    run = engine.run
    monkeypatch.setattr(
        engine, "run", lambda *batch: run(*batch)._replace(logits=np.float32("nan"))
    )
    with pytest.raises(EngineError, match="gave logits that are not finite"):
        engine.warm_up(4, 64)
