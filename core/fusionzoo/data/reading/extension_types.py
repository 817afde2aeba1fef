"""Arrow extension types: what their values are, instead of how they are stored.

A library that does not know a type reads its storage, and so a period as a number. Only the metadata of the field then
says which type it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NAME_KEY, METADATA_KEY = b"ARROW:extension:name", b"ARROW:extension:metadata"
BOOL, JSON, PERIOD, UUID = "arrow.bool8", "arrow.json", "pandas.period", "arrow.uuid"
FieldMetadata = Mapping[bytes, bytes]


class ForeignType(pa.ExtensionType):  # type: ignore[misc]
    """An extension type that this package does not know. It keeps its name and metadata if it is written.

    Each name has a subclass, because Arrow creates types from their class, storage and metadata.
    """

    name: ClassVar[str]

    def __init__(self, storage_type: pa.DataType, metadata: bytes) -> None:
        self._metadata = metadata
        super().__init__(storage_type, self.name)

    def __hash__(self) -> int:
        """Return a hash that agrees with the comparison of the base class, which has none."""
        return hash(self.name)

    def __arrow_ext_serialize__(self) -> bytes:
        """Return the metadata of the type."""
        return self._metadata

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> ForeignType:
        """Return the type with this metadata."""
        return cls(storage_type, serialized)


@cache
def _foreign_class(name: str) -> type[ForeignType]:
    return type("ForeignType", (ForeignType,), {"name": name})


def resolve_extension(values: pa.Array, metadata: FieldMetadata | None) -> pa.Array:
    """Return the values in a plain type if their extension type is known, otherwise in an extension type.

    Booleans become Arrow's own type; JSON and periods become text. UUIDs and unknown types remain.

    Args:
        values: of an extension type, or of the storage type if Arrow does not know the type.
        metadata: of the field, which then names the type.
    """
    if isinstance(values.type, pa.BaseExtensionType):
        name, serialized, storage = _name_type(values.type), _serialize_type(values.type), values.storage
    elif metadata is not None and NAME_KEY in metadata:
        name, serialized, storage = metadata[NAME_KEY].decode(), metadata.get(METADATA_KEY, b""), values
    else:
        return values
    if name == BOOL:
        return pc.not_equal(storage, 0)
    if name == JSON:
        return storage.cast(pa.string())
    texts = _periods_as_text(storage, serialized) if name == PERIOD else None
    if texts is not None:
        return texts
    if isinstance(values.type, pa.BaseExtensionType) and not isinstance(values.type, pa.ExtensionType):
        return values  # a type of Arrow itself, such as a UUID
    if name == UUID:
        return uuids_as_text(storage)
    return pa.ExtensionArray.from_storage(_foreign_class(name)(storage.type, serialized), storage)


def uuids_as_text(storage: pa.Array) -> pa.Array:
    """Return UUIDs, which are stored as 16 bytes, as text."""
    texts = [None if value is None else value.hex() for value in storage.to_pylist()]
    groups = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return pa.array([text and "-".join(text[start:end] for start, end in groups) for text in texts], pa.string())


def describe_extension(arrow_type: pa.BaseExtensionType) -> str:
    """Return what values of an extension type are called, in the plural."""
    return f"values of the Arrow type {_name_type(arrow_type)}"


def empty_array(arrow_type: pa.DataType) -> pa.Array:
    """Return an array without values, of any type."""
    if isinstance(arrow_type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(arrow_type, pa.array([], arrow_type.storage_type))
    return pa.array([], arrow_type)


def is_uuid(arrow_type: pa.DataType) -> bool:
    """Return whether values are UUIDs. Arrow has this type since version 18."""
    return isinstance(arrow_type, pa.BaseExtensionType) and _name_type(arrow_type) == UUID


def _name_type(arrow_type: pa.BaseExtensionType) -> str:
    return str(getattr(arrow_type, "extension_name", None) or arrow_type)


def _serialize_type(arrow_type: pa.BaseExtensionType) -> bytes:
    serialize = getattr(arrow_type, "__arrow_ext_serialize__", None)  # types of Arrow itself have none
    return bytes(serialize()) if serialize is not None else b""


def _periods_as_text(ordinals: pa.Array, serialized: bytes) -> pa.Array | None:
    """Return periods as pandas prints them; None if this version of pandas does not know their frequency."""
    import pandas as pd

    encoded = ordinals.dictionary_encode()
    try:
        dtype = pd.PeriodDtype(json.loads(serialized)["freq"])
    except (ValueError, KeyError, TypeError):
        return None
    distinct = np.asarray(encoded.dictionary.to_numpy(zero_copy_only=False), np.int64)
    texts = [str(period) for period in pd.arrays.PeriodArray(distinct, dtype)]
    return pa.array(texts, pa.string()).take(encoded.indices)
