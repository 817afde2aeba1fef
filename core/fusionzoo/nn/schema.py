"""The data contract between core and every architecture: what a model is built from, its inputs and its outputs."""

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
    """How text is tokenized. `embeddings` [vocab_size, embedding_dim] are word vectors fitted on train."""

    vocab_size: int
    pad_id: int
    max_tokens: int  # per chunk, including special tokens
    max_chunks: int | None  # per row; None: no limit
    tokenizer: str
    embedding_dim: int | None = None
    embeddings: Tensor | None = field(default=None, compare=False)


@dataclass(frozen=True)
class CategoryField:
    """A category column. Ids are 0 = MISSING, 1 = UNKNOWN, 2.. = values, so `cardinality` is values + 2."""

    name: str
    cardinality: int


@dataclass(frozen=True)
class NumberField:
    """A number column with its training mean, standard deviation and quantile edges (standardized, ascending)."""

    name: str
    mean: float
    std: float
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class InputSpec:
    """The inputs of a job, fitted on the training split only; sizes every layer.

    `text` is None if the job has no text.
    """

    text: TextSpec | None
    categories: tuple[CategoryField, ...]
    numbers: tuple[NumberField, ...]
    num_outputs: int  # of a row: one for each class, label or predicted number

    @classmethod
    def from_preprocessor(cls, preprocessor: Preprocessor) -> InputSpec:
        """Return the spec of the rows that a fitted preprocessor encodes."""
        return cls(
            text=_make_text_spec(preprocessor),
            categories=tuple(CategoryField(c.name, c.cardinality) for c in preprocessor.categories),
            numbers=tuple(NumberField(n.name, n.mean, n.std, tuple(n.edges)) for n in preprocessor.numbers),
            num_outputs=preprocessor.target.num_outputs,
        )

    def without_vectors(self) -> InputSpec:
        """Return the spec with which the model is built when its folder is loaded: it has no word vectors."""
        return self if self.text is None else replace(self, text=replace(self.text, embeddings=None))


def _make_text_spec(preprocessor: Preprocessor) -> TextSpec | None:
    text = preprocessor.text
    if text is None:
        return None
    return TextSpec(
        vocab_size=text.tokenizer.vocab_size,
        pad_id=text.tokenizer.pad_id,
        max_tokens=text.max_tokens,
        max_chunks=text.max_chunks,
        tokenizer=text.tokenizer.name,
        embedding_dim=text.embedding_dim,
        embeddings=None if text.vectors is None else torch.from_numpy(text.vectors.copy()),
    )


@dataclass
class Batch:
    """Rows with PACKED chunks: only real chunks exist; there is no [rows, max_chunks, length] padding.

    If the job has text, each row has at least one chunk and each chunk at least one real token; an empty text is one
    chunk. Without text, `tokens` is [0, 0]. An empty batch has no rows and no chunks.
    """

    tokens: Tensor  # [chunks, length] int64
    token_mask: Tensor  # [chunks, length] bool, True = real; a chunk's real tokens come first
    chunk_row: Tensor  # [chunks] int64, ascending: the row of this batch that each chunk belongs to
    categories: Tensor  # [rows, fields] int64
    numbers: Tensor  # [rows, fields] float32, standardized; 0 where missing
    numbers_missing: Tensor  # [rows, fields] bool
    labels: Tensor | None  # class indices [rows] int64; of other tasks [rows, ...], see `fusionzoo.data.targets.target`
    row: Tensor  # [rows] int64, position in the split

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Batch:
        """Return a batch that shares memory with the numpy arrays of `EncodedSplit.batch`."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        labels = tensors.pop("labels", None)
        return cls(**tensors, labels=labels)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return a new batch with `function` applied to each tensor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: function(value) for name, value in values.items() if value is not None})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch on another device. Lightning calls this to move batches."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    @property
    def rows(self) -> int:
        """The number of rows. `len(batch)` would become a constant in an exported graph; this does not."""
        return self.categories.shape[0]


@dataclass
class TextFeatures:
    """The output of a text encoder: features per token, and one pooled vector per row."""

    tokens: Tensor  # [chunks, length, dim]
    mask: Tensor  # [chunks, length] bool
    chunk_row: Tensor  # [chunks] int64
    pooled: Tensor  # [rows, dim]; never includes padding

    @classmethod
    def empty(cls, batch: Batch, dim: int) -> TextFeatures:
        """Return the features of a batch without chunks, for encoders with layers that reject empty inputs."""
        mask = torch.zeros(0, max(1, batch.tokens.shape[1]), dtype=torch.bool, device=batch.tokens.device)
        tokens = torch.zeros(*mask.shape, dim, device=mask.device)
        return cls(tokens, mask, batch.chunk_row, torch.zeros(batch.rows, dim, device=mask.device))


@dataclass
class ModelOutput:
    """The outputs of a model, and optionally named scalars.

    `logits` are the values before the link of the task: before the softmax of a classification.

    Core adds `penalties` to the loss. `metrics` describe the architecture's behavior (a mean gate, the load of an
    expert) and do not affect the loss. Core averages both over each epoch and logs them as `train/penalty_<name>` and
    `train/<name>`.
    """

    logits: Tensor  # [rows, outputs]
    penalties: dict[str, Tensor] = field(default_factory=dict)
    metrics: dict[str, Tensor] = field(default_factory=dict)
