"""Join the rows of several requests, so that they are encoded and scored together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from fusionzoo.data.reading.rows import Rows


@dataclass(frozen=True)
class JoinedRows:
    """Blocks of rows as one block: the indices of the blocks, and their rows one after the other."""

    indices: list[int]
    rows: Rows


def join_rows(blocks: Sequence[Rows], columns: Sequence[str]) -> Iterator[JoinedRows]:
    """Yield the blocks that share the types of their columns, joined; one that shares them with no other is left out.

    Values are the same as in their own block, because their types are the same. A column without values has no type.

    Args:
        blocks: the rows of each request.
        columns: the columns that are read; the joined rows have no others.
    """
    groups: list[tuple[bool, list[pa.DataType], list[int]]] = []
    for index, block in enumerate(blocks):
        types = [block.columns[name].type for name in columns]
        for is_typed, group_types, indices in groups:
            if is_typed == block.typed and (common := _find_common_types(group_types, types)) is not None:
                group_types[:] = common
                indices.append(index)
                break
        else:
            groups.append((block.typed, types, [index]))
    for is_typed, types, indices in groups:
        if len(indices) > 1:
            values = {
                name: pa.concat_arrays([_with_type(blocks[i].columns[name], arrow_type) for i in indices])
                for name, arrow_type in zip(columns, types, strict=True)
            }
            yield JoinedRows(indices, Rows(values, blocks[indices[0]].source, 1, is_typed))


def _find_common_types(first: Sequence[pa.DataType], second: Sequence[pa.DataType]) -> list[pa.DataType] | None:
    """Return the types of columns that both have; None if they differ. Null is every type."""
    common = []
    for one, other in zip(first, second, strict=True):
        if one != other and not pa.types.is_null(one) and not pa.types.is_null(other):
            return None
        common.append(other if pa.types.is_null(one) else one)
    return common


def _with_type(values: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    return values if values.type == arrow_type else pa.nulls(len(values), arrow_type)
