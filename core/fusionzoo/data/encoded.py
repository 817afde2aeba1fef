"""An encoded split: arrays in memory or memory-mapped, from which batches are created quickly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fusionzoo.data.ids import DuplicateIds, cast_ids, find_common_type
from fusionzoo.data.ragged import concatenate_ranges


@dataclass(frozen=True)
class EncodedSplit:
    """All rows of a split, in their order. The chunks of a row are adjacent, and so are the tokens of a chunk."""

    tokens: np.ndarray  # [all tokens] int32
    chunk_starts: np.ndarray  # [chunks + 1] int64: chunk c is tokens[chunk_starts[c]:chunk_starts[c + 1]]
    row_starts: np.ndarray  # [rows + 1] int64: row r is chunks row_starts[r]:row_starts[r + 1]
    categories: np.ndarray  # [rows, fields] int32
    numbers: np.ndarray  # [rows, fields] float32
    numbers_missing: np.ndarray  # [rows, fields] bool
    labels: np.ndarray | None  # [rows] or [rows, ...], as `fusionzoo.data.targets.target` describes them
    ids: pa.Array | pa.ChunkedArray  # [rows], in the type of the input
    pad_id: int
    dropped_tokens: int  # tokens beyond the maximum number of chunks
    empty_texts: int  # rows with a null or empty text
    digests: np.ndarray | None = None  # [rows] uint64, equal for rows with the same texts, fields and label
    duplicate_ids: int = 0  # rows with an id that an earlier row has too; all null ids count as the same id

    def __len__(self) -> int:
        return len(self.categories)

    @property
    def has_text(self) -> bool:
        """Whether rows have chunks."""
        return len(self.chunk_starts) > 1

    @property
    def dropped_share(self) -> float:
        """Share of the tokens beyond the maximum number of chunks, 0 to 1."""
        return self.dropped_tokens / max(1, len(self.tokens) + self.dropped_tokens)

    def row_tokens(self) -> np.ndarray:
        """Return the number of tokens of each row, special tokens included, [rows] int64."""
        tokens: np.ndarray = np.diff(self.chunk_starts[self.row_starts])
        return tokens

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the named arrays of a batch of these rows, in this order, as described by `fusionzoo.nn.schema.Batch`.

        Args:
            rows: [batch rows] int64.
        """
        first, counts = self.row_starts[rows], self.row_starts[rows + 1] - self.row_starts[rows]
        chunks = concatenate_ranges(first, counts)
        starts = self.chunk_starts[chunks]
        lengths = self.chunk_starts[chunks + 1] - starts
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        tokens = np.full(mask.shape, self.pad_id, np.int64)
        tokens[mask] = self.tokens[concatenate_ranges(starts, lengths)]
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


def concatenate_splits(blocks: Iterable[EncodedSplit]) -> EncodedSplit:
    """Return one split, in memory, of one or more blocks."""
    parts = list(blocks)
    labels = [part.labels for part in parts if part.labels is not None]
    digests = [part.digests for part in parts if part.digests is not None]
    id_type = find_common_type({part.ids.type for part in parts})
    duplicate_ids = DuplicateIds()
    for part in parts:
        duplicate_ids.add(part.ids)
    return EncodedSplit(
        tokens=np.concatenate([part.tokens for part in parts]),
        chunk_starts=_concatenate_starts([part.chunk_starts for part in parts]),
        row_starts=_concatenate_starts([part.row_starts for part in parts]),
        categories=np.concatenate([part.categories for part in parts]),
        numbers=np.concatenate([part.numbers for part in parts]),
        numbers_missing=np.concatenate([part.numbers_missing for part in parts]),
        labels=np.concatenate(labels) if labels else None,
        ids=pa.concat_arrays([cast_ids(part.ids, id_type) for part in parts]),
        pad_id=parts[0].pad_id,
        dropped_tokens=sum(part.dropped_tokens for part in parts),
        empty_texts=sum(part.empty_texts for part in parts),
        digests=np.concatenate(digests) if digests else None,
        duplicate_ids=duplicate_ids.count(),
    )


def _concatenate_starts(parts: list[np.ndarray]) -> np.ndarray:
    offsets = np.cumsum([0, *(part[-1] for part in parts)])
    return np.concatenate([[0], *(part[1:] + offset for part, offset in zip(parts, offsets, strict=False))])
