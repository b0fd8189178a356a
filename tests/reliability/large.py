"""A larger model from random weights: its answers mean nothing, its arithmetic takes as long.

Run as a program: `python -m tests.reliability.large ARTIFACT OUT` writes an artifact with the
tokenizer and labels of another.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from export.to_onnx import to_onnx
from model.config import NetworkConfig
from model.network import Network
from service.runtime.artifact import (
    MANIFEST_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    FileEntry,
    read_artifact,
)
from service.runtime.tokenizer import Tokenizer

HIDDEN_SIZE = 384
NUM_LAYERS = 6
NUM_HEADS = 6


def write_large(source: Path, out: Path) -> Path:
    """An artifact of hidden size 384 and 6 layers in `out`, which must not exist."""
    artifact = read_artifact(source)
    manifest = artifact.manifest
    vocab_size = Tokenizer(artifact.tokenizer, manifest.max_length).vocab_size
    config = NetworkConfig(
        hidden_size=HIDDEN_SIZE,
        num_layers=NUM_LAYERS,
        num_heads=NUM_HEADS,
        mlp_size=4 * HIDDEN_SIZE,
        max_length=manifest.max_length,
    )
    torch.manual_seed(7)
    network = Network(config, vocab_size, len(manifest.labels)).eval()
    contents = {
        MODEL_FILE: to_onnx(network, manifest.max_length),
        TOKENIZER_FILE: artifact.tokenizer,
    }
    files = {name: FileEntry.of(content) for name, content in contents.items()}
    out.mkdir(parents=True)
    for name, content in contents.items():
        (out / name).write_bytes(content)
    made = replace(manifest, name="large", version="1", precision="fp32", files=files)
    (out / MANIFEST_FILE).write_text(made.to_json(), encoding="utf-8")
    return out


if __name__ == "__main__":
    write_large(Path(sys.argv[1]), Path(sys.argv[2]))
