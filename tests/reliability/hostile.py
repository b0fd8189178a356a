"""Artifacts whose hashes are right and whose content is not: what they hold must not be served."""

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import TensorProto

from service.runtime.artifact import MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, FileEntry
from tests.artifacts import LABELS, make_model, write_artifact

_DEEP = 5_000  # messages inside each other


def hostile(folder: Path) -> Mapping[str, Path]:
    """One artifact of each kind, in folders of their own."""
    model = make_model(160, len(LABELS))
    return {
        "label with a lone surrogate": _labelled(folder / "surrogate", "\ud800"),
        "tokenizer that is none": _with(
            folder / "no-tokenizer", TOKENIZER_FILE, b"\x00garbage" * 99
        ),
        "empty tokenizer": _with(folder / "empty-tokenizer", TOKENIZER_FILE, b""),
        "more pieces than embeddings": _with(
            folder / "few-rows", MODEL_FILE, make_model(20, len(LABELS))
        ),
        "fewer logits than labels": _with(
            folder / "few-logits", MODEL_FILE, make_model(160, len(LABELS) - 1)
        ),
        "graph that is none": _with(folder / "no-graph", MODEL_FILE, b"\x00garbage" * 99),
        "empty graph": _with(folder / "empty-graph", MODEL_FILE, b""),
        "tensor in another file": _with(folder / "outside", MODEL_FILE, _outside(model)),
        "field with a tag of 33 bits": _with(folder / "tag", MODEL_FILE, model + _long_tag()),
        "graphs inside each other": _with(folder / "deep", MODEL_FILE, model + _deep()),
        "field longer than the file": _with(
            folder / "long", MODEL_FILE, model + b"\x3a\xff\xff\x7f"
        ),
    }


def _with(folder: Path, name: str, content: bytes) -> Path:
    """A sound artifact in which one file has other content, with its size and hash."""
    write_artifact(folder)
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    entry = FileEntry.of(content)
    manifest["files"][name] = {"size": entry.size, "sha256": entry.sha256}
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest), "utf-8")
    return folder


def _labelled(folder: Path, label: str) -> Path:
    """One of its labels is another; JSON can say any, in escapes."""
    write_artifact(folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text("utf-8"))
    manifest["labels"][0] = label
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest), "utf-8")
    return folder


def _outside(model: bytes) -> bytes:
    """The first of its tensors lies in a file of the system."""
    graph = onnx.ModelProto.FromString(model)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    content: bytes = graph.SerializeToString()
    return content


def _long_tag() -> bytes:
    """Field 7, a graph, with a tag of which others read 32 bits only."""
    return _varint(7 << 3 | 2 | 1 << 32) + b"\x00"


def _deep() -> bytes:
    """A graph of a node of an attribute of a graph, and so on."""
    content = b""
    for _ in range(_DEEP):
        for field in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            content = _varint(field << 3 | 2) + _varint(len(content)) + content
    return _varint(7 << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """On the wire."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
