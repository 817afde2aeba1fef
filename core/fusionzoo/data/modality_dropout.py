"""Modality dropout: batches with the text or the table of some rows dropped, as if the rows had none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.data.table.categories import MISSING


def drop_text(
    arrays: Mapping[str, np.ndarray], dropped: np.ndarray, empty_text: np.ndarray, pad_id: int
) -> dict[str, np.ndarray]:
    """Return the arrays of `EncodedSplit.batch` with the empty text in each dropped row.

    Args:
        arrays: the arrays of a batch.
        dropped: [rows] bool.
        empty_text: [length] tokens of the single chunk of an empty text; no chunk is shorter.
        pad_id: the token id of padding.
    """
    row = arrays["chunk_row"]
    is_first_chunk = np.diff(row, prepend=-1) > 0
    selected = is_first_chunk | ~dropped[row]
    tokens, mask, row = arrays["tokens"][selected], arrays["token_mask"][selected], row[selected]
    emptied = dropped[row]
    tokens[emptied], mask[emptied] = pad_id, False
    tokens[emptied, : len(empty_text)], mask[emptied, : len(empty_text)] = empty_text, True
    length = int(mask.sum(axis=1).max(initial=0))
    return {**arrays, "tokens": tokens[:, :length], "token_mask": mask[:, :length], "chunk_row": row}


def drop_table(arrays: Mapping[str, np.ndarray], dropped: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of `EncodedSplit.batch` with every field missing in each dropped row, [rows] bool."""
    rows = dropped[:, None]
    return {
        **arrays,
        "categories": np.where(rows, MISSING, arrays["categories"]),
        "numbers": np.where(rows, np.float32(0), arrays["numbers"]),
        "numbers_missing": arrays["numbers_missing"] | rows,
    }
