"""The bytes of an ONNX graph, looked through before ONNX Runtime sees them. Standard library only.

A tensor may point to a file outside the graph, which ONNX Runtime opens by itself; from bytes, it
looks in the working directory. No manifest vouches for such a file.
"""

from collections.abc import Iterator
from typing import NamedTuple

# onnx/onnx.proto: in each message, the fields that lead to a tensor.
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # of TensorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HIGHEST_FIELD = 2**29 - 1


class GraphError(ValueError):
    """Says in one line what the graph must not hold."""


class _Field(NamedTuple):
    """One field on the wire; `value` is the number of a varint, `content` the bytes of the rest."""

    number: int
    value: int
    content: memoryview


def check_self_contained(model: bytes) -> None:
    """Return if `model` is an ONNX graph with all its tensors inside.

    Raises:
        GraphError: a tensor lies in another file, or the bytes are no ONNX graph.
    """
    if model[4:8] == b"ORTM":  # ONNX Runtime tells its own format by this
        raise GraphError("is in the format of ONNX Runtime, expected ONNX")
    waiting = [("ModelProto", memoryview(model))]
    while waiting:
        message, content = waiting.pop()
        for field in _fields(content):
            if message == "TensorProto":
                if field.number == EXTERNAL_DATA or (field.number == DATA_LOCATION and field.value):
                    raise GraphError("keeps a tensor in another file, expected all of them inside")
            elif inner := MESSAGES[message].get(field.number):
                waiting.append((inner, field.content))


def _fields(content: memoryview) -> Iterator[_Field]:
    """The fields of a message in the wire format of Protocol Buffers."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position)
        number, kind = tag >> 3, tag & 7
        if not 0 < number <= _HIGHEST_FIELD:  # other readers keep 32 bits of it, and see another
            raise GraphError("is no ONNX graph")
        value = 0
        if kind == _VARINT:
            value, end = _varint(content, position)
        elif kind == _BYTES:
            length, position = _varint(content, position)
            end = position + length
        elif kind in (_FIXED64, _FIXED32):
            end = position + (8 if kind == _FIXED64 else 4)
        else:
            raise GraphError("is no ONNX graph")
        if end > len(content):
            raise GraphError("is no ONNX graph")
        yield _Field(number, value, content[position:end])
        position = end


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    """The number at `position`, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if shift and not byte:
                break  # longer than it need be: no writer does that without a reason
            return value, position
    raise GraphError("is no ONNX graph")
