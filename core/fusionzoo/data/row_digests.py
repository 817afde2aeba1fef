"""Hashes of rows by what stands in them, by which a row that stands in two splits is found."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.hashing import splitmix64
from fusionzoo.data.reading.channel import Rows, as_text
from fusionzoo.data.table.categories import canonical_category

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit

BYTES = 8


def compute_row_digests(settings: DataSettings, rows: Rows, numbers: list[np.ndarray]) -> np.ndarray:
    """A hash of each row's texts, categories, numbers and label, not of its id [rows] uint64.

    The same in every process, and for every format that the row came in.

    Args:
        numbers: the standardised number columns, each [rows] float32 and zero where missing, and their missing flags.
    """
    texts = [as_text(rows, name) for name in settings.text_columns]
    values = [canonical_category(rows, name) for name in (*settings.cat_field_list, settings.label_name)]
    together = pc.binary_join_element_wise(
        *(column.cast(pa.large_binary()) for column in [*texts, *values]),
        pa.scalar(b"\x1f", pa.large_binary()),
        null_handling="replace",
        null_replacement="\x00",
    )
    hashes = b"".join(blake2b(row, digest_size=BYTES).digest() for row in together.to_pylist())
    found = np.frombuffer(hashes, np.dtype("<u8")).astype(np.uint64)
    for column in numbers:
        found = splitmix64(found ^ (column.view(np.uint32) if column.dtype == np.float32 else column).astype(np.uint64))
    return found


def count_rows_seen_in_train(rows: EncodedSplit, train: EncodedSplit) -> int:
    """How many rows stand identically in train; memory grows with `rows`, not with train."""
    if rows.digests is None or train.digests is None:
        raise ValueError("only a split that was encoded with labels has digests")
    wanted = np.unique(rows.digests)
    found = np.zeros(len(wanted), bool)
    for start in range(0, len(train), 2**20):
        some = train.digests[start : start + 2**20]
        at = np.minimum(np.searchsorted(wanted, some), len(wanted) - 1)
        found[at[wanted[at] == some]] = True
    return int(np.isin(rows.digests, wanted[found]).sum())
