"""Weights outside of an ONNX file are found wherever the file may mention them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from fusionzoo.artifacts.onnx_export import export_onnx
from fusionzoo.artifacts.onnx_external_data import NESTED, has_external_data
from fusionzoo.errors import ExportError
from fusionzoo.tasks.class_objective import Softmax
from shop import made_split
from training_helpers import LinearModel


def make_tensor(external: bool) -> TensorProto:
    tensor = helper.make_tensor("location", TensorProto.FLOAT, [2], [1.0, 2.0])
    if external:
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def make_sparse(tensor: TensorProto) -> SparseTensorProto:
    return SparseTensorProto(values=tensor, indices=helper.make_tensor("i", TensorProto.INT64, [1], [0]), dims=[2])


def make_graph(node: NodeProto) -> GraphProto:
    return GraphProto(node=[NodeProto(op_type="Identity", input=["location"]), node])


def make_node(**fields: object) -> NodeProto:
    return NodeProto(op_type="If", attribute=[AttributeProto(name="a", **fields)])


def in_graph(make: Callable[[TensorProto], GraphProto]) -> Callable[[TensorProto], ModelProto]:
    return lambda tensor: ModelProto(graph=make(tensor))


PLACES: dict[str, Callable[[TensorProto], ModelProto]] = {
    "initializer": in_graph(lambda t: GraphProto(initializer=[make_tensor(False), t])),
    "sparse values": in_graph(lambda t: GraphProto(sparse_initializer=[make_sparse(t)])),
    "sparse indices": in_graph(lambda t: GraphProto(sparse_initializer=[SparseTensorProto(indices=t)])),
    "constant": in_graph(lambda t: make_graph(make_node(t=t))),
    "constants": in_graph(lambda t: make_graph(make_node(tensors=[make_tensor(False), t]))),
    "sparse constant": in_graph(lambda t: make_graph(make_node(sparse_tensor=make_sparse(t)))),
    "sparse constants": in_graph(lambda t: make_graph(make_node(sparse_tensors=[make_sparse(t)]))),
    "branch": in_graph(lambda t: make_graph(make_node(g=GraphProto(initializer=[t])))),
    "branches": in_graph(lambda t: make_graph(make_node(graphs=[GraphProto(), make_graph(make_node(t=t))]))),
    "function": lambda t: ModelProto(functions=[onnx.FunctionProto(node=[make_node(t=t)])]),
    "default of a function": lambda t: ModelProto(
        functions=[onnx.FunctionProto(attribute_proto=[AttributeProto(name="a", t=t)])]
    ),
    "initialization": lambda t: ModelProto(
        training_info=[onnx.TrainingInfoProto(initialization=GraphProto(initializer=[t]))]
    ),
    "algorithm": lambda t: ModelProto(training_info=[onnx.TrainingInfoProto(algorithm=GraphProto(initializer=[t]))]),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_with_values_in_another_file_is_found(place: str) -> None:
    for external in (True, False):
        model = PLACES[place](make_tensor(external)).SerializeToString()
        assert has_external_data(memoryview(model)) is external


def test_every_field_of_onnx_that_leads_to_a_tensor_has_a_place() -> None:
    """The messages and fields come from the installed onnx, so that a new one fails here."""
    leads_to_tensor = {"TensorProto"}
    messages = {message.DESCRIPTOR.name: message.DESCRIPTOR for message in (ModelProto, *_NESTED_MESSAGES)}
    fields = {
        (name, field.number): field.message_type.name
        for name, descriptor in messages.items()
        for field in descriptor.fields
        if field.message_type is not None
    }
    while more := {name for (name, _), child in fields.items() if child in leads_to_tensor} - leads_to_tensor:
        leads_to_tensor |= more
    expected = {key: child for key, child in fields.items() if child in leads_to_tensor}
    assert {
        (kind, number): child for kind, children in NESTED.items() for number, child in children.items()
    } == expected


_NESTED_MESSAGES = (
    *(GraphProto, NodeProto, AttributeProto, SparseTensorProto, TensorProto),
    *(onnx.FunctionProto, onnx.TrainingInfoProto),
)


@given(st.binary(max_size=200))
def test_bytes_that_are_not_a_model_are_read_to_their_end_or_refused(content: bytes) -> None:
    try:
        result = has_external_data(memoryview(content))
    except ValueError:
        return
    assert result in (True, False)


@given(st.data())
def test_a_cut_model_is_refused_unless_it_is_cut_between_fields(data: st.DataObject) -> None:
    model = PLACES["branches"](make_tensor(False)).SerializeToString()
    cut = data.draw(st.integers(1, len(model) - 1))
    with pytest.raises(ValueError, match="byte"):
        has_external_data(memoryview(model[:cut]))


def test_an_export_with_weights_in_other_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.onnx.export

    def export_as_above_two_gib(module: Any, arguments: Any, path: str, dynamo: bool = False, **options: Any) -> None:
        options |= {"dynamo": dynamo} if "dynamo" in inspect.signature(real).parameters else {}
        real(module, arguments, path, **options)
        onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights", size_threshold=0)

    monkeypatch.setattr(torch.onnx, "export", export_as_above_two_gib)
    split = made_split(np.zeros(9, np.int64), np.zeros(1, np.int64))
    with pytest.raises(ExportError, match="keeps weights in other files, because one ONNX file holds at most 2 GiB"):
        export_onnx(LinearModel(), Softmax(), split, tmp_path / "model.onnx", None)
