"""Integer codes for the values of a column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class ValueCodes:
    """Integer codes for the values of a column, in order of first occurrence."""

    def __init__(self) -> None:
        self._code_of_value: dict[str | None, int] = {}
        self._blocks: list[np.ndarray] = []

    def add(self, text: pa.Array) -> None:
        """Add a block of canonical values, in which "3" and 3.0 are the same. Null has a code too."""
        encoded = text.dictionary_encode("encode")
        codes = [
            self._code_of_value.setdefault(value, len(self._code_of_value)) for value in encoded.dictionary.to_pylist()
        ]
        self._blocks.append(np.array(codes, np.int32)[encoded.indices.to_numpy()])

    def codes(self) -> np.ndarray:
        """Return the code of each row, [rows] int32."""
        return np.concatenate([np.zeros(0, np.int32), *self._blocks])

    def values(self) -> list[str | None]:
        """Return the distinct values in the order of their codes."""
        return list(self._code_of_value)

    def codes_with_distinct_nulls(self) -> np.ndarray:
        """Return the code of each row, [rows] int32; each null has a code of its own."""
        codes = self.codes()
        is_null = codes == self._code_of_value.get(None, -1)
        codes[is_null] = len(self._code_of_value) + np.arange(is_null.sum(), dtype=np.int32)
        return codes


def values_to_codes(values: pa.Array) -> np.ndarray:
    """Return an integer from 0 on for each value, [rows] int64. Null has a code too."""
    codes: np.ndarray = values.dictionary_encode("encode").indices.to_numpy().astype(np.int64)
    return codes
