"""A batch's rows with their text or their table hidden, as if they had come without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.data.table.categories import MISSING


def drop_text(
    arrays: Mapping[str, np.ndarray], hidden: np.ndarray, empty_text: np.ndarray, pad_id: int
) -> dict[str, np.ndarray]:
    """The arrays of `EncodedSplit.batch` in which each hidden row has the empty text.

    Args:
        hidden: [rows] bool.
        empty_text: [length] tokens of the one chunk of an empty text; no chunk is shorter.
    """
    row = arrays["chunk_row"]
    first = np.diff(row, prepend=-1) > 0
    kept = first | ~hidden[row]
    tokens, mask, row = arrays["tokens"][kept], arrays["token_mask"][kept], row[kept]
    emptied = hidden[row]
    tokens[emptied], mask[emptied] = pad_id, False
    tokens[emptied, : len(empty_text)], mask[emptied, : len(empty_text)] = empty_text, True
    length = int(mask.sum(axis=1).max(initial=0))
    return {**arrays, "tokens": tokens[:, :length], "token_mask": mask[:, :length], "chunk_row": row}


def drop_table(arrays: Mapping[str, np.ndarray], hidden: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of `EncodedSplit.batch` in which every field of each hidden row [rows] bool is missing."""
    rows = hidden[:, None]
    return {
        **arrays,
        "categories": np.where(rows, MISSING, arrays["categories"]),
        "numbers": np.where(rows, np.float32(0), arrays["numbers"]),
        "numbers_missing": arrays["numbers_missing"] | rows,
    }
