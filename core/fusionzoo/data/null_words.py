"""The words for null, such as NULL and NA: one setting, the same for every role, file format and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.canonical_text import canonical_text, canonicalize_texts
from fusionzoo.data.reading.column_text import values_as_text
from fusionzoo.data.reading.rows import Rows

MAX_SPACES = 32  # bytes of spaces around a word


def replace_null_words(rows: Rows, settings: DataSettings) -> Rows:
    """Return the rows with null for each word of `null_values` in the text, category and number columns.

    Ids and labels are unchanged, unless the same column is a feature too.
    """
    features = [*settings.text_columns, *settings.cat_field_list, *settings.tab_field_list]
    replaced = {name: _replace(rows.columns[name], settings.null_values) for name in features}
    return replace(rows, columns={**rows.columns, **replaced})


def _replace(values: pa.Array, words: Sequence[str]) -> pa.Array:
    lookup = {"", *(word.strip().lower() for word in words)}
    has_numbers = any(word[-1:].isdigit() for word in lookup)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        length = max(len(word.encode()) for word in lookup) + MAX_SPACES
        short = pc.if_else(pc.less_equal(pc.binary_length(values), length), values, pa.scalar(None, values.type))
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(short.cast(pa.string())))
    elif has_numbers and (pa.types.is_integer(values.type) or _is_fractional(values.type)):
        texts = values_as_text(values)
    else:
        return values
    if has_numbers:  # a null word of -999 is -999.0 in another format
        texts, lookup = canonicalize_texts(texts), {canonical_text(word) for word in lookup}
    is_null_word = pc.is_in(texts, pa.array(sorted(lookup), pa.string()))
    if not pc.any(is_null_word).as_py():
        return values
    return pc.if_else(is_null_word, pa.scalar(None, values.type), values)


def _is_fractional(arrow_type: pa.DataType) -> bool:
    is_fractional: bool = pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type)
    return is_fractional
