"""An encoded split: arrays that are cheap to cut batches from, and that can be memory-mapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class EncodedSplit:
    """All rows of a split, in their order. A row's chunks are neighbours, and so are a chunk's tokens."""

    tokens: np.ndarray  # [all tokens] int32
    chunk_starts: np.ndarray  # [chunks + 1] int64: chunk c is tokens[chunk_starts[c]:chunk_starts[c + 1]]
    row_starts: np.ndarray  # [rows + 1] int64: row r is chunks row_starts[r]:row_starts[r + 1]
    categories: np.ndarray  # [rows, fields] int64
    numbers: np.ndarray  # [rows, fields] float32
    numbers_missing: np.ndarray  # [rows, fields] bool
    labels: np.ndarray | None  # [rows] int64
    ids: pa.Array  # [rows], in the type that they came in
    pad_id: int
    dropped_tokens: int  # by the cap on chunks
    empty_texts: int  # rows whose text is null or empty

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def has_text(self) -> bool:
        """Whether rows have chunks."""
        return len(self.chunk_starts) > 1

    @property
    def dropped_share(self) -> float:
        """Share of the tokens that the cap on chunks dropped, 0 to 1."""
        return self.dropped_tokens / max(1, len(self.tokens) + self.dropped_tokens)

    def row_tokens(self) -> np.ndarray:
        """Tokens per row [rows] int64, special tokens included."""
        tokens: np.ndarray = np.diff(self.chunk_starts[self.row_starts])
        return tokens

    def duplicate_ids(self) -> int:
        """How many rows have an id that stands in an earlier row too; null ids count as one."""
        return len(self.ids) - len(pc.unique(self.ids))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The named arrays of a batch of these rows, in this order, as `fusionzoo.nn.schema.Batch` describes them."""
        first, counts = self.row_starts[rows], np.diff(self.row_starts)[rows]
        chunks = _ranges(first, counts)
        begins = self.chunk_starts[chunks]
        lengths = self.chunk_starts[chunks + 1] - begins
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        tokens = np.full(mask.shape, self.pad_id, np.int64)
        tokens[mask] = self.tokens[_ranges(begins, lengths)]
        arrays = {
            "tokens": tokens,
            "token_mask": mask,
            "chunk_row": np.repeat(np.arange(len(rows), dtype=np.int64), counts),
            "categories": self.categories[rows],
            "numbers": self.numbers[rows],
            "numbers_missing": self.numbers_missing[rows],
            "row": np.asarray(rows, np.int64),
        }
        return arrays if self.labels is None else {**arrays, "labels": self.labels[rows]}


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers start, start + 1, ... of each range, one range after the other."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers: np.ndarray = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return numbers
