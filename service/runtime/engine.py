"""The engine: one ONNX Runtime session on one execution provider."""

import time
from typing import NamedTuple

import numpy as np

from service.runtime.artifact import INPUT_NAMES, OUTPUT_NAMES, Artifact
from service.runtime.errors import HeedError
from service.runtime.onnx import onnxruntime
from service.runtime.postprocess import Float32Array
from service.runtime.tokenizer import Int64Array

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


class EngineError(HeedError):
    """The engine could not start or rejected its input."""


class EngineOutput(NamedTuple):
    """(B, C) float32 logits and (B, T) float32 attention weights, 0 on padding."""

    logits: Float32Array
    attention: Float32Array


class Interrupt:
    """Ends what an engine computes, from any thread: its run fails at the next node of the graph.

    A session that is being made takes no notice.
    """

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()

    def __call__(self) -> None:
        """End every run, those to come too."""
        self.options.terminate = True


class Engine:
    """Owns the session. `run` may be called from several threads at once."""

    def __init__(
        self,
        artifact: Artifact,
        execution_provider: str = "cpu",
        intra_op_num_threads: int = 1,
        interrupt: Interrupt | None = None,
    ) -> None:
        """Load the model.

        Args:
            artifact: verified; its bytes are what runs.
            execution_provider: `cpu`, `cuda`, `tensorrt`, or `auto`: cuda if it starts, else cpu.
            intra_op_num_threads: threads inside one operator, on CPU.
            interrupt: what can end its runs; nothing if None.

        Raises:
            EngineError: the provider is not there or did not start, or the model is broken.
        """
        self.num_labels = len(artifact.manifest.labels)
        self.max_length = artifact.manifest.max_length
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_num_threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # shapes differ from batch to batch
        options.log_severity_level = 4  # what fails is raised, and need not be said twice
        self._run_options = interrupt and interrupt.options
        self._session = _start(artifact.model, execution_provider, options)
        _check_outputs(self._session, self.num_labels)
        self.execution_provider = _short_name(self._session.get_providers()[0])

    def run(self, input_ids: Int64Array, attention_mask: Int64Array) -> EngineOutput:
        """Logits and attention for one padded batch. Blocks the calling thread.

        Args:
            input_ids: (B, T) int64, B >= 1, T <= `manifest.max_length`.
            attention_mask: (B, T) int64, 1 = token, 0 = padding.

        Raises:
            EngineError: the session rejected the input; the message names shape and dtype.
        """
        feed = dict(zip(INPUT_NAMES, (input_ids, attention_mask), strict=True))
        try:
            logits, attention = self._session.run(OUTPUT_NAMES, feed, self._run_options)
        except Exception as error:  # ONNX Runtime raises its own classes, none of them public
            what = f"a batch {input_ids.shape} of {input_ids.dtype}"
            reason = " ".join(str(error).split())
            raise EngineError(f"the session rejected {what}: {reason}") from error
        return EngineOutput(logits, attention)

    def warm_up(self, max_batch_size: int, max_batch_tokens: int) -> list[tuple[int, float]]:
        """Run the shapes that traffic will bring: a first run costs several warm ones.

        Returns:
            Padded tokens and seconds of a second run of each shape.

        Raises:
            EngineError: the session rejected one, or gave logits that are not finite.
        """
        measured = []
        length = 8
        while True:
            length = min(length, self.max_length)
            for size in sorted({1, max(1, min(max_batch_size, max_batch_tokens // length))}):
                ones = np.ones((size, length), dtype=np.int64)
                if not np.isfinite(self.run(ones, ones).logits).all():
                    raise EngineError(
                        f"a warm-up batch {ones.shape} gave logits that are not finite"
                    )
                started = time.monotonic()
                self.run(ones, ones)
                measured.append((ones.size, time.monotonic() - started))
            if length == self.max_length:
                return measured
            length *= 2


def _check_outputs(session: onnxruntime.InferenceSession, num_labels: int) -> None:
    shapes = {value.name: value.shape for value in session.get_outputs()}
    if set(shapes) != set(OUTPUT_NAMES):
        raise EngineError(f"the model gives {sorted(shapes)}, expected {sorted(OUTPUT_NAMES)}")
    columns = shapes[OUTPUT_NAMES[0]][-1]
    if isinstance(columns, int) and columns != num_labels:
        raise EngineError(f"the model gives {columns} logits, the manifest has {num_labels} labels")


def _start(
    model: bytes, execution_provider: str, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    available = onnxruntime.get_available_providers()
    if execution_provider == "auto":
        try:
            return _start(model, "cuda", options)
        except EngineError:
            return _start(model, "cpu", options)
    wanted = PROVIDERS.get(execution_provider)
    if wanted is None:
        choices = ", ".join(["auto", *PROVIDERS])
        raise EngineError(f"unknown execution provider {execution_provider!r}, expected {choices}")
    if wanted not in available:
        raise EngineError(
            f"execution provider {execution_provider!r} is not in this ONNX Runtime, which has "
            f"{', '.join(map(_short_name, available))}; for GPUs install onnxruntime-gpu instead"
        )
    try:
        session = onnxruntime.InferenceSession(model, options, providers=[wanted])
    except Exception as error:  # ONNX Runtime raises its own classes, none of them public
        reason = " ".join(str(error).split())
        raise EngineError(f"the model did not load on {execution_provider}: {reason}") from error
    used = session.get_providers()[0]
    if used != wanted:
        raise EngineError(
            f"execution provider {execution_provider!r} did not start (ONNX Runtime fell back to "
            f"{_short_name(used)}); check the driver and the CUDA libraries"
        )
    return session


def _short_name(provider: str) -> str:
    return {full: short for short, full in PROVIDERS.items()}.get(provider, provider)
