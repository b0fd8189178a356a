"""A tiny artifact with a real ONNX graph and a real tokenizer, made without torch."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import sentencepiece
from onnx import TensorProto, helper, numpy_helper

from service.runtime.artifact import (
    MANIFEST_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    FileEntry,
    Manifest,
)

LABELS = ("card_arrival", "double_charge", "refund")
MAX_LENGTH = 32
HIDDEN_SIZE = 16


def write_artifact(
    folder: Path,
    name: str = "tiny",
    version: str = "1",
    labels: tuple[str, ...] = LABELS,
    change: Callable[[bytes], bytes] = bytes,
) -> Path:
    """Write an artifact into `folder`, which must not exist; `change` is done to its graph."""
    tokenizer = train_tokenizer()
    vocab_size = sentencepiece.SentencePieceProcessor(model_proto=tokenizer).vocab_size()
    model = change(make_model(vocab_size, len(labels)))
    contents = {MODEL_FILE: model, TOKENIZER_FILE: tokenizer}
    manifest = Manifest(
        name=name,
        version=version,
        labels=labels,
        max_length=MAX_LENGTH,
        precision="fp32",
        opset=17,
        metrics={"validation": {"accuracy": 0.5, "macro_f1": 0.4}},
        parity={"max_abs_logit": 0.0},
        git_commit=None,
        libraries={"onnx": onnx.__version__},
        files={file: FileEntry.of(content) for file, content in contents.items()},
    )
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return folder


def sentences() -> list[str]:
    """Invented sentences in several scripts."""
    who = ["I", "my sister", "the shop", "your app", "nobody"]
    what = ["paid twice", "lost the card", "wants a refund", "never got the letter", "was blocked"]
    when = ["yesterday", "last week", "on Monday", "in the morning", "again", "for no reason"]
    spaced = [" ".join(parts) + "." for parts in itertools.product(who, what, when)]
    return [
        *spaced,
        "我的卡在哪里",
        "卡片还没有到",
        "我想退款",
        "أين بطاقتي",
        "أريد استرداد المال",
    ] * 2


def train_tokenizer() -> bytes:
    """A SentencePiece Unigram model of 160 pieces, as bytes; the ids are the artifact's."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_writer=model,
        vocab_size=160,
        model_type="unigram",
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def make_model(vocab_size: int, num_labels: int) -> bytes:
    """Embedding, masked softmax pooling, linear head: logits (B, C) and attention (B, T)."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((vocab_size, HIDDEN_SIZE)),
        "query": rng.standard_normal((HIDDEN_SIZE, 1)),
        "head": rng.standard_normal((HIDDEN_SIZE, num_labels)),
        "minus_large": np.array(-1e9),
        "one": np.array(1.0),
    }
    constants = [
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()
    ]
    last = numpy_helper.from_array(np.array([-1], dtype=np.int64), "last")
    middle = numpy_helper.from_array(np.array([1], dtype=np.int64), "middle")
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["hidden"]),  # (B, T, H)
        node("MatMul", ["hidden", "query"], ["raw"]),  # (B, T, 1)
        node("Squeeze", ["raw", "last"], ["energy"]),  # (B, T)
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Sub", ["one", "mask"], ["hole"]),
        node("Mul", ["hole", "minus_large"], ["bias"]),
        node("Add", ["energy", "bias"], ["masked"]),
        node("Softmax", ["masked"], ["attention"], axis=-1),  # (B, T)
        node("Unsqueeze", ["attention", "middle"], ["row"]),  # (B, 1, T)
        node("MatMul", ["row", "hidden"], ["pooled"]),  # (B, 1, H)
        node("Squeeze", ["pooled", "middle"], ["flat"]),  # (B, H)
        node("MatMul", ["flat", "head"], ["logits"]),  # (B, C)
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value(name, TensorProto.INT64, ["B", "T"]) for name in ("input_ids", "attention_mask")],
        [
            value("logits", TensorProto.FLOAT, ["B", num_labels]),
            value("attention", TensorProto.FLOAT, ["B", "T"]),
        ],
        [*constants, last, middle],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def looping(model: bytes) -> bytes:
    """The graph with a Loop of 2 ** 62 rounds in front of its logits: they never come."""
    graph = onnx.ModelProto.FromString(model)
    node, value = helper.make_node, helper.make_tensor_value_info
    body = helper.make_graph(
        [node("Identity", ["go_on"], ["going"]), node("Identity", ["before"], ["after"])],
        "body",
        [
            value("round", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, None),
        ],
        [value("going", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, None)],
    )
    last = graph.graph.node[-1]
    last.output[0] = "soon"
    graph.graph.initializer.append(helper.make_tensor("rounds", TensorProto.INT64, [], [2**62]))
    graph.graph.node.append(node("Loop", ["rounds", "", "soon"], ["logits"], body=body))
    onnx.checker.check_model(graph)
    return bytes(graph.SerializeToString())
