"""ONNX Runtime with its telemetry off. Nothing else in the project imports `onnxruntime`.

Its official builds look up a host of their vendor, and keep an id of this device and a queue of
events in the user's cache folder, unless ORT_DISABLE_TELEMETRY is set when they are loaded. That is
why this module changes the environment while it is imported. Who wants telemetry sets it to 0.
"""

import os
from types import ModuleType

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime", "quantization"]


def quantization() -> ModuleType:
    """`onnxruntime.quantization`, which only an export needs: it imports `onnx`."""
    from onnxruntime import quantization as module

    assert isinstance(module, ModuleType)  # noqa: S101  untyped
    return module
