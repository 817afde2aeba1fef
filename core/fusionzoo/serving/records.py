"""Check the arguments of a predictor, and turn records into a block of rows."""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fusionzoo import errors
from fusionzoo.data.reading.rows import Rows, rows_from_records


def check_batch_size(batch_size: int) -> None:
    """Raise errors.PredictorInputError if the batch size is not an integer of at least 1."""
    try:
        is_valid = operator.index(batch_size) >= 1
    except TypeError:
        is_valid = False
    if not is_valid:
        raise errors.PredictorInputError.batch_size(batch_size)


def rows_from_checked_records(records: object, columns: Sequence[str]) -> Rows:
    """Convert records to rows. An absent key is a missing value; other keys than `columns` are ignored.

    Raises:
        errors.PredictorInputError: an item is not a mapping or has none of `columns`, or a key differs from an absent
            column only in case, spaces or punctuation.
    """
    if isinstance(records, Mapping):
        raise errors.PredictorInputError.single_record()
    if isinstance(records, str | bytes) or not isinstance(records, Iterable):
        raise errors.PredictorInputError.not_records(records)
    checked: list[Any] = list(records)
    wanted = frozenset(columns)
    for index, record in enumerate(checked):
        if not isinstance(record, Mapping) and not _is_series(record):
            raise errors.PredictorInputError.not_a_record(index, record)
        if absent := wanted.difference(record.keys()):
            _check_keys(index, [str(key) for key in record.keys() if key not in wanted], absent, columns)  # noqa: SIM118
    return rows_from_records(checked, columns)


def check_blocks(blocks: object, columns: Sequence[str]) -> Iterator[Rows]:
    """Yield the blocks of rows.

    Raises:
        errors.PredictorInputError: `blocks` or one of them is something else.
        errors.DataError: a block lacks one of `columns`.
    """
    if isinstance(blocks, str | bytes | Mapping | Rows) or not isinstance(blocks, Iterable):
        raise errors.PredictorInputError.not_rows(blocks)
    for block in blocks:
        if not isinstance(block, Rows):
            raise errors.PredictorInputError.not_rows(block)
        if missing := [column for column in columns if column not in block.columns]:
            present = list(block.columns)
            raise errors.DataError([errors.missing_column(block.source, column, present) for column in missing])
        yield block


def _check_keys(index: int, unknown: Sequence[str], absent: frozenset[str], columns: Sequence[str]) -> None:
    by_letters = {letters: column for column in columns if column in absent and (letters := _letters(column))}
    for key in unknown:
        if column := by_letters.get(_letters(key)):
            raise errors.PredictorInputError.similar_column(index, key, column)
    if len(absent) == len(set(columns)):
        raise errors.PredictorInputError.no_known_column(index, unknown, columns)


def _letters(name: str) -> str:
    """Return the name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _is_series(value: object) -> bool:
    """Return whether the value is a pandas Series, such as a row of a DataFrame, without importing pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series)
