"""Find out whether an ONNX file keeps weights in other files, without the package onnx, which serving lacks.

Only the parts of onnx.proto that lead to tensors are followed: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
Why: docs/decisions/external-data-without-onnx.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

NESTED: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
        "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
        "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
        "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
        "NodeProto": {5: "AttributeProto"},
        "AttributeProto": {
            5: "TensorProto",
            10: "TensorProto",
            6: "GraphProto",
            11: "GraphProto",
            22: "SparseTensorProto",
            23: "SparseTensorProto",
        },
        "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
        "TensorProto": {},
    }
)
"""The messages that a field of a message holds, by its number, as far as they may contain tensors."""
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of TensorProto
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf
MAX_VARINT_BYTES = 10


def has_external_data(model: memoryview) -> bool:
    """Return whether a tensor of a serialized ModelProto has its values in another file. No weights are copied.

    Raises:
        ValueError: the bytes are not a serialized message.
    """
    pending = [("ModelProto", 0, len(model))]
    while pending:
        kind, start, end = pending.pop()
        for number, value, span in _read_fields(model, start, end):
            if kind == "TensorProto" and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value)):
                return True
            if number in NESTED[kind]:
                if span is None:
                    raise ValueError(f"field {number} of {kind} holds a number")
                pending.append((NESTED[kind][number], *span))
    return False


def _read_fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Yield the number of each field with its value, or with the start and end of its bytes."""
    position = start
    while position < end:
        tag, position = _read_varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        value, span = 0, None
        if wire_type == VARINT:
            value, position = _read_varint(data, position, end)
        elif wire_type == BYTES:
            length, position = _read_varint(data, position, end)
            span = (position, position + length)
            position += length
        elif wire_type in (FIXED32, FIXED64):
            position += 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire_type} at byte {position:,}")
        if position > end:
            raise ValueError(f"a field ends after byte {end:,}")
        yield number, value, span


def _read_varint(data: memoryview, position: int, end: int) -> tuple[int, int]:
    """Return a variable-length integer, and the position after it."""
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if position + index >= end:
            raise ValueError(f"the data ends at byte {end:,}")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError(f"an integer at byte {position:,} is too long")
