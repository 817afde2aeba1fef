"""Hashes of the content of rows, to find rows that occur in two splits."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.hashing import splitmix64
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.targets.target_choice import choose_target

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit

DIGEST_BYTES = 8
ROWS_PER_SEARCH = 2**20


def compute_row_digests(settings: DataSettings, rows: Rows, numbers: list[np.ndarray]) -> np.ndarray:
    """Return a hash of each row's texts, categories, numbers and label, but not of its id, [rows] uint64.

    The hash is the same in every process and for every file format.

    Args:
        numbers: the standardized number columns, each [rows] float32 and zero where missing, and their missing flags.
    """
    texts = [column_as_text(rows, name) for name in settings.text_columns]
    values = [canonicalize_column(rows, name) for name in settings.cat_field_list]
    values += choose_target(settings).texts(rows)
    joined = pc.binary_join_element_wise(
        *(column.cast(pa.large_binary()) for column in [*texts, *values]),
        pa.scalar(b"\x1f", pa.large_binary()),
        null_handling="replace",
        null_replacement="\x00",
    )
    hashes = b"".join(blake2b(row, digest_size=DIGEST_BYTES).digest() for row in joined.to_pylist())
    digests = np.frombuffer(hashes, np.dtype("<u8")).astype(np.uint64)
    for column in numbers:
        bits = column.view(np.uint32) if column.dtype == np.float32 else column
        digests = splitmix64(digests ^ bits.astype(np.uint64))
    return digests


def count_rows_seen_in_train(split: EncodedSplit, train: EncodedSplit) -> int:
    """Count the rows of `split` that also appear in train. Memory grows with `split`, not with train.

    Raises:
        ValueError: a split was encoded without labels, so it has no digests.
    """
    if split.digests is None or train.digests is None:
        raise ValueError("only a split that was encoded with labels has digests")
    unique_digests = np.unique(split.digests)
    is_in_train = np.zeros(len(unique_digests), bool)
    for start in range(0, len(train), ROWS_PER_SEARCH):
        train_digests = train.digests[start : start + ROWS_PER_SEARCH]
        positions = np.minimum(np.searchsorted(unique_digests, train_digests), len(unique_digests) - 1)
        is_in_train[positions[unique_digests[positions] == train_digests]] = True
    return int(is_in_train[np.searchsorted(unique_digests, split.digests)].sum())
