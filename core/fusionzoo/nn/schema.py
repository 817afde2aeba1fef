"""The data contract between core and every architecture: what a model is built from, fed with, and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

    from fusionzoo.data.preprocessor import Preprocessor


@dataclass(frozen=True)
class TextSpec:
    """What the text was cut into. `embeddings` [vocab_size, embedding_dim] are word vectors fitted on train."""

    vocab_size: int
    pad_id: int
    max_tokens: int  # per chunk, special tokens included
    max_chunks: int | None  # per row; None: no limit
    tokenizer: str
    embedding_dim: int | None = None
    embeddings: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CategoryField:
    """A category column; ids are 0 = MISSING, 1 = UNKNOWN, 2.. = values, so `cardinality` is values + 2."""

    name: str
    cardinality: int


@dataclass(frozen=True)
class NumberField:
    """A number column with its training mean, standard deviation and quantile edges (standardised, ascending)."""

    name: str
    mean: float
    std: float
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class InputSpec:
    """Fitted on the training split only; sizes every layer. `text` is None where the job has no text."""

    text: TextSpec | None
    categories: tuple[CategoryField, ...]
    numbers: tuple[NumberField, ...]
    num_classes: int

    @classmethod
    def from_preprocessor(cls, preprocessor: Preprocessor) -> InputSpec:
        """The spec of what a fitted preprocessor emits."""
        text = preprocessor.text
        vectors = None if text is None else text.vectors
        return cls(
            text=None
            if text is None
            else TextSpec(
                vocab_size=text.tokenizer.vocab_size,
                pad_id=text.tokenizer.pad_id,
                max_tokens=text.max_tokens,
                max_chunks=text.max_chunks,
                tokenizer=text.tokenizer.name,
                embedding_dim=text.embedding_dim,
                embeddings=None if vectors is None else torch.from_numpy(vectors.copy()),
            ),
            categories=tuple(CategoryField(c.name, c.cardinality) for c in preprocessor.categories),
            numbers=tuple(NumberField(n.name, n.mean, n.std, tuple(n.edges)) for n in preprocessor.numbers),
            num_classes=len(preprocessor.labels.classes),
        )


@dataclass
class Batch:
    """Rows with PACKED chunks: only real chunks exist; there is no [rows, max_chunks, length] padding.

    Where the job has text, each row has at least one chunk and each chunk at least one real token; an empty
    text is one chunk. Without text, `tokens` is [0, 0]; an empty batch has no rows and no chunks.
    """

    tokens: Tensor  # [chunks, length] int64
    token_mask: Tensor  # [chunks, length] bool, True = real; a chunk's real tokens come first
    chunk_row: Tensor  # [chunks] int64, ascending: the row of this batch that each chunk belongs to
    categories: Tensor  # [rows, fields] int64
    numbers: Tensor  # [rows, fields] float32, standardised; 0 where missing
    numbers_missing: Tensor  # [rows, fields] bool
    labels: Tensor | None  # [rows] int64
    row: Tensor  # [rows] int64, position in the split

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Batch:
        """A batch over the numpy arrays that `EncodedSplit.batch` makes."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        labels = tensors.pop("labels", None)
        return cls(**tensors, labels=labels)

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A new batch with `change` applied to each tensor, for example to move it to a device."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(t) for name, t in present.items() if t is not None})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch on another device; Lightning moves batches with this."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    @property
    def rows(self) -> int:
        """Number of rows. Not `len(batch)`: while a model is exported, that would freeze the number into the graph."""
        return self.categories.shape[0]


@dataclass
class TextFeatures:
    """What a text encoder makes of a batch: features per token, and one masked mean per row."""

    tokens: Tensor  # [chunks, length, dim]
    mask: Tensor  # [chunks, length] bool
    chunk_row: Tensor  # [chunks] int64
    pooled: Tensor  # [rows, dim]; padding never enters a mean

    @classmethod
    def empty(cls, batch: Batch, dim: int) -> TextFeatures:
        """The features of a batch without chunks, which many a library's layers cannot take."""
        mask = torch.zeros(0, max(1, batch.tokens.shape[1]), dtype=torch.bool, device=batch.tokens.device)
        tokens = torch.zeros(*mask.shape, dim, device=mask.device)
        return cls(tokens, mask, batch.chunk_row, torch.zeros(batch.rows, dim, device=mask.device))


@dataclass
class ModelOutput:
    """Logits, with named scalars beside them.

    Core adds `penalties` to the loss; `figures`, which tell how the architecture works (a mean gate, the load of an
    expert), it only averages over the epoch. It logs both, as `train/penalty_<name>` and `train/<name>`.
    """

    logits: Tensor  # [rows, classes]
    penalties: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)
