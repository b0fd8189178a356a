"""Graphs are looked through for tensors in other files."""

import contextlib

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from service.runtime.graph import (
    DATA_LOCATION,
    EXTERNAL_DATA,
    MESSAGES,
    GraphError,
    check_self_contained,
)
from tests.artifacts import make_model


def outside() -> TensorProto:
    """A tensor that lies in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    return tensor


def with_node(*attributes: onnx.AttributeProto) -> onnx.GraphProto:
    """A graph of one node."""
    node = helper.make_node("Constant", [], ["y"])
    node.attribute.extend(attributes)
    return helper.make_graph([node], "g", [], [])


def attribute(**fields: object) -> onnx.AttributeProto:
    """An attribute with these fields."""
    return onnx.AttributeProto(name="a", **fields)


def model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A model of this graph."""
    return helper.make_model(graph)


def sparse(**fields: TensorProto) -> onnx.SparseTensorProto:
    """A sparse tensor of these parts."""
    return onnx.SparseTensorProto(**fields)


PLACES = {
    "initializer": model(helper.make_graph([], "g", [], [], [outside()])),
    "sparse initializer": model(
        helper.make_graph([], "g", [], [], sparse_initializer=[sparse(indices=outside())])
    ),
    "attribute": model(with_node(attribute(t=outside()))),
    "attributes": model(with_node(attribute(tensors=[outside()]))),
    "sparse attribute": model(with_node(attribute(sparse_tensor=sparse(values=outside())))),
    "sparse attributes": model(with_node(attribute(sparse_tensors=[sparse(values=outside())]))),
    "subgraph": model(with_node(attribute(g=with_node(attribute(t=outside()))))),
    "subgraphs": model(with_node(attribute(graphs=[with_node(attribute(t=outside()))]))),
    "function": onnx.ModelProto(
        functions=[onnx.FunctionProto(node=with_node(attribute(t=outside())).node)]
    ),
    "default of a function": onnx.ModelProto(
        functions=[onnx.FunctionProto(attribute_proto=[attribute(t=outside())])]
    ),
    "training": onnx.ModelProto(
        training_info=[onnx.TrainingInfoProto(initialization=with_node(attribute(t=outside())))]
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_tensor_in_another_file_is_found_wherever_it_stands(place):
    """In every message that can hold one."""
    with pytest.raises(GraphError, match="keeps a tensor in another file"):
        check_self_contained(PLACES[place].SerializeToString())


@pytest.mark.parametrize("part", ["data_location", "external_data"])
def test_either_sign_of_another_file_is_enough(part):
    """Readers differ in which of them they look at."""
    tensor = outside()
    tensor.ClearField(part)
    graph = helper.make_graph([], "g", [], [], [tensor])
    with pytest.raises(GraphError):
        check_self_contained(model(graph).SerializeToString())


def test_graph_with_its_tensors_inside_passes():
    """Also one that says so in every tensor."""
    check_self_contained(make_model(160, 3))
    tensor = numpy_helper.from_array(numpy_helper.to_array(TensorProto(data_type=1, dims=[0])))
    tensor.data_location = TensorProto.DEFAULT
    check_self_contained(model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString())


def test_fields_are_those_of_onnx():
    """Each message that leads to a tensor, and no field of it is left out."""
    for name, fields in MESSAGES.items():
        described = getattr(onnx, name).DESCRIPTOR.fields
        found = {
            field.number: field.message_type.name
            for field in described
            if field.message_type is not None
            and field.message_type.name in {*MESSAGES, "TensorProto"}
        }
        assert fields == found, name
    by_name = TensorProto.DESCRIPTOR.fields_by_name
    assert by_name["external_data"].number == EXTERNAL_DATA
    assert by_name["data_location"].number == DATA_LOCATION


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused(content):
    """Never another error, and never without an end."""
    with contextlib.suppress(GraphError):
        check_self_contained(content)


def varint(number: int, extra: bytes = b"") -> bytes:
    """On the wire; with `extra` it goes on behind its last byte."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number | 0x80 if extra else number]) + extra


@pytest.mark.parametrize("place", ["model", "graph", "tensor"])
@pytest.mark.parametrize(
    "tag",
    [lambda tag: varint(tag | 1 << 32), lambda tag: varint(tag, b"\x00")],
    ids=["more than 32 bits", "longer than need be"],
)
def test_tag_that_other_readers_see_as_another_field_is_refused(place, tag):
    """ONNX Runtime keeps 32 bits of it, and would read a tensor that was not looked at."""

    def field(number: int, content: bytes, where: str) -> bytes:
        plain = number << 3 | 2
        return (tag(plain) if where == place else varint(plain)) + varint(len(content)) + content

    tensor = field(13, b"", "tensor")
    with pytest.raises(GraphError):
        check_self_contained(field(7, field(5, tensor, "graph"), "model"))


@pytest.mark.parametrize("content", [b"\x02\x00", b"\x00\x00"], ids=["bytes", "number"])
def test_field_number_zero_is_refused(content):
    """There is none; what a reader makes of it is its own affair."""
    with pytest.raises(GraphError):
        check_self_contained(content)
