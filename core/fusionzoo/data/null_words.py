"""The words for null, such as NULL and NA: one setting, the same for every role, file format and prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.canonical_text import canonical_text, canonicalize_texts
from fusionzoo.data.reading.column_text import values_as_text
from fusionzoo.data.reading.rows import Rows

MAX_SPACES = 32  # bytes of spaces around a word
MAX_COMPARED = 2**16  # bytes of texts that are all compared with the words; of more, only the short ones


@dataclass(frozen=True)
class NullWords:
    """The words for null, prepared for many small blocks of rows."""

    features: tuple[str, ...]
    words: tuple[str, ...]

    @classmethod
    def of(cls, settings: DataSettings) -> NullWords:
        """Return the words of a job, which count in the text, category and number columns."""
        return cls(tuple(settings.feature_columns), tuple(settings.null_values))

    def replace(self, rows: Rows) -> Rows:
        """Return the rows with null for each word in the feature columns.

        Ids and labels are unchanged, unless the same column is a feature too.
        """
        replaced = {name: self._replace(rows.columns[name]) for name in self.features}
        return replace(rows, columns={**rows.columns, **replaced})

    @cached_property
    def _lookup(self) -> frozenset[str]:
        return frozenset({"", *(canonical_text(word.strip()).lower() for word in self.words)})

    @cached_property
    def _has_numbers(self) -> bool:
        return any(word[-1:].isdigit() for word in self._lookup)  # a number, a date or a time

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(sorted(self._lookup), pa.string())

    @cached_property
    def _max_length(self) -> int:
        return MAX_SPACES + max(len(word.encode()) for word in {*self._lookup, *map(str.strip, self.words)})

    def _replace(self, values: pa.Array) -> pa.Array:
        is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        if is_text and values.nbytes > MAX_COMPARED:
            texts = _trim(pc.if_else(self._is_short(values), values, pa.scalar(None, values.type)))
        elif is_text:
            texts = _trim(values)
        elif self._may_contain(values.type):
            try:
                texts = values_as_text(values)
            except pa.ArrowException:  # an unknown time zone, which is reported where the values are used
                return values
        else:
            return values
        if self._has_numbers:  # a null word of -999 is -999.0 in another format
            texts = canonicalize_texts(texts)
        is_null_word = pc.is_in(pc.utf8_lower(texts), self._value_set)
        if not is_null_word.true_count:
            return values
        if is_text:
            is_null_word = pc.and_(is_null_word, pc.fill_null(self._is_short(values), False))
        return pc.if_else(is_null_word, pa.scalar(None, values.type), values)

    def _may_contain(self, arrow_type: pa.DataType) -> bool:
        """Return whether a word can be the text of a value of this type."""
        if pa.types.is_boolean(arrow_type):
            return not self._lookup.isdisjoint({"true", "false"})
        if pa.types.is_floating(arrow_type):
            return self._has_numbers or not self._lookup.isdisjoint({"inf", "-inf"})
        has_digits = pa.types.is_integer(arrow_type) or pa.types.is_decimal(arrow_type)
        return self._has_numbers and (has_digits or pa.types.is_date(arrow_type) or _has_time(arrow_type))

    def _is_short(self, values: pa.Array) -> pa.Array:
        return pc.less_equal(pc.binary_length(values), self._max_length)


def _trim(values: pa.Array) -> pa.Array:
    return pc.utf8_trim_whitespace(values if pa.types.is_string(values.type) else values.cast(pa.string()))


def _has_time(arrow_type: pa.DataType) -> bool:
    has_time: bool = pa.types.is_timestamp(arrow_type) or pa.types.is_time(arrow_type)
    return has_time
