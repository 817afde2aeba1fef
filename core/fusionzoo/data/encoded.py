"""An encoded split: arrays that are cheap to cut batches from, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fusionzoo.data.ids import DuplicateIds, common_type, in_type
from fusionzoo.data.ragged import concatenated_ranges


@dataclass(frozen=True)
class EncodedSplit:
    """All rows of a split, in their order. A row's chunks are neighbours, and so are a chunk's tokens."""

    tokens: np.ndarray  # [all tokens] int32
    chunk_starts: np.ndarray  # [chunks + 1] int64: chunk c is tokens[chunk_starts[c]:chunk_starts[c + 1]]
    row_starts: np.ndarray  # [rows + 1] int64: row r is chunks row_starts[r]:row_starts[r + 1]
    categories: np.ndarray  # [rows, fields] int32
    numbers: np.ndarray  # [rows, fields] float32
    numbers_missing: np.ndarray  # [rows, fields] bool
    labels: np.ndarray | None  # [rows] int64
    ids: pa.Array | pa.ChunkedArray  # [rows], in the type that they came in
    pad_id: int
    dropped_tokens: int  # by the cap on chunks
    empty_texts: int  # rows whose text is null or empty
    digests: np.ndarray | None = None  # [rows] uint64: alike for rows of the same texts, fields and label
    duplicate_ids: int = 0  # rows whose id stands in an earlier row too; null ids count as one

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

    def batch(self, rows: np.ndarray, text: bool = True) -> dict[str, np.ndarray]:
        """The named arrays of a batch of these rows, in this order, as `fusionzoo.nn.schema.Batch` describes them.

        Without `text`, as if the rows had none.
        """
        first, counts = self.row_starts[rows], self.row_starts[rows + 1] - self.row_starts[rows]
        counts = counts if text else np.zeros_like(counts)
        chunks = concatenated_ranges(first, counts)
        begins = self.chunk_starts[chunks]
        lengths = self.chunk_starts[chunks + 1] - begins
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        tokens = np.full(mask.shape, self.pad_id, np.int64)
        tokens[mask] = self.tokens[concatenated_ranges(begins, lengths)]
        arrays = {
            "tokens": tokens,
            "token_mask": mask,
            "chunk_row": np.repeat(np.arange(len(rows), dtype=np.int64), counts),
            "categories": self.categories[rows].astype(np.int64),
            "numbers": self.numbers[rows],
            "numbers_missing": self.numbers_missing[rows],
            "row": np.asarray(rows, np.int64),
        }
        return arrays if self.labels is None else {**arrays, "labels": self.labels[rows]}


def join(blocks: Iterable[EncodedSplit]) -> EncodedSplit:
    """One split, in memory, of its blocks; there is at least one."""
    parts = list(blocks)
    labels = [block.labels for block in parts if block.labels is not None]
    digests = [block.digests for block in parts if block.digests is not None]
    ids = [block.ids for block in parts]
    doubled = DuplicateIds()
    for some in ids:
        doubled.add(some)
    return EncodedSplit(
        tokens=np.concatenate([block.tokens for block in parts]),
        chunk_starts=_join_starts([block.chunk_starts for block in parts]),
        row_starts=_join_starts([block.row_starts for block in parts]),
        categories=np.concatenate([block.categories for block in parts]),
        numbers=np.concatenate([block.numbers for block in parts]),
        numbers_missing=np.concatenate([block.numbers_missing for block in parts]),
        labels=np.concatenate(labels) if labels else None,
        ids=pa.concat_arrays([in_type(some, common_type({part.type for part in ids})) for some in ids]),
        pad_id=parts[0].pad_id,
        dropped_tokens=sum(block.dropped_tokens for block in parts),
        empty_texts=sum(block.empty_texts for block in parts),
        digests=np.concatenate(digests) if digests else None,
        duplicate_ids=doubled.count(),
    )


def _join_starts(parts: list[np.ndarray]) -> np.ndarray:
    offsets = np.cumsum([0, *(part[-1] for part in parts)])
    return np.concatenate([[0], *(part[1:] + offset for part, offset in zip(parts, offsets, strict=False))])
