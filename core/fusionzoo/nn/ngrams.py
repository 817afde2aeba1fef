"""TF-IDF of tokens and pairs of tokens, fitted on train, in operations that export to ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.nn.pooling import sum_per_row
from fusionzoo.nn.schema import Batch, TextSpec

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit

NGRAMS_PER_TOKEN = 8  # of the vocabulary; of real reviews, 6 to 10 n-grams per token of the vocabulary are in two rows
MIN_ROWS = 2  # of train that have an n-gram
BLOCK_ROWS = 256  # encoded at once when the n-grams are fitted
NO_KEY = torch.iinfo(torch.int64).max


class NgramTfidf(nn.Module):
    """Weigh the tokens and the pairs of adjacent tokens of each row by TF-IDF.

    The weight of an n-gram in a row is (1 + log count) * idf, divided by the Euclidean norm of the row: that of
    scikit-learn's TfidfVectorizer with `sublinear_tf`. Pairs do not cross the borders of chunks. Before `fit`, no
    n-gram is known.

    Args:
        text: the spec of the text.
        max_ngrams: maximum number of n-grams. With a small vocabulary there are fewer: 8 for each token.

    Attributes:
        features: the number of feature ids. Feature 0 stands for every n-gram that is not known; its weight is 0.
    """

    keys: Tensor
    idf: Tensor

    def __init__(self, text: TextSpec, max_ngrams: int) -> None:
        super().__init__()
        self.vocab_size, self.size = text.vocab_size, min(max_ngrams, NGRAMS_PER_TOKEN * text.vocab_size)
        self.features = self.size + 1
        self.register_buffer("keys", torch.full((self.size,), NO_KEY))  # ascending; key i is that of feature i + 1
        self.register_buffer("idf", torch.zeros(self.features))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features and weights of the token and the pair that end at each place, both [chunks, length, 2].

        The weights of an n-gram at all its places in a row add up to its weight in the row.
        """
        features = self._look_up(list_ngrams(batch, self.vocab_size))
        counts = count_equal(features + batch.chunk_row[:, None, None] * self.features)
        weights = (1 + counts.log()) * self.idf[features]
        squares = (weights.square() / counts).sum(dim=(1, 2)).unsqueeze(1)
        norms = sum_per_row(squares, batch.chunk_row, batch.rows).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
        return features, weights / counts / norms[batch.chunk_row].unsqueeze(1)

    def _look_up(self, keys: Tensor) -> Tensor:
        """Return the features of n-grams by binary search; torch.searchsorted does not export to ONNX."""
        found = torch.zeros_like(keys)
        for bit in reversed(range(self.size.bit_length())):
            further = found + 2**bit
            is_at_most = (further < self.size) & (self.keys[further.clamp(max=self.size - 1)] <= keys)
            found = torch.where(is_at_most, further, found)
        return torch.where(self.keys[found] == keys, found + 1, torch.zeros_like(found))

    @torch.no_grad()
    def fit(self, train: EncodedSplit, rows: np.ndarray) -> None:
        """Learn the n-grams of these rows, and their inverse document frequency.

        It is ln((1 + rows) / (1 + rows with the n-gram)) + 1. N-grams that only one row has are left out, and the
        rarest ones if there are more than the maximum.
        """
        found = [_list_distinct_in_rows(batch, self.vocab_size) for batch in split_into_batches(train, rows)]
        keys, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *found]), return_counts=True)
        by_count = np.argsort(-counts, kind="stable")[: self.size]
        kept = np.sort(by_count[counts[by_count] >= MIN_ROWS])
        self.keys.fill_(NO_KEY)[: len(kept)] = torch.from_numpy(keys[kept])
        idf = np.log((1 + len(rows)) / (1 + counts[kept])) + 1
        self.idf.zero_()[1 : len(kept) + 1] = torch.from_numpy(idf).float()

    @torch.no_grad()
    def make_matrix(self, split: EncodedSplit, rows: np.ndarray) -> Any:
        """Return the weights of rows of a split, a scipy.sparse.csr_matrix [rows, features] of float32."""
        from scipy import sparse

        blocks = [sparse.csr_matrix((0, self.features), dtype=np.float32)]
        for batch in split_into_batches(split, rows):
            features, weights = self(batch)
            is_known = features > 0
            row_of = batch.chunk_row[:, None, None].expand_as(features)
            places = (row_of[is_known].numpy(), features[is_known].numpy())
            blocks.append(sparse.csr_matrix((weights[is_known].numpy(), places), shape=(batch.rows, self.features)))
        return sparse.vstack(blocks).tocsr()


def list_ngrams(batch: Batch, vocab_size: int) -> Tensor:
    """Return a key of the token and of the pair that end at each place, [chunks, length, 2] int64; -1 for none."""
    tokens, is_real = batch.tokens, batch.token_mask
    has_previous = torch.arange(tokens.shape[1], device=tokens.device) > 0
    pairs = (F.pad(tokens[:, :-1], (1, 0)) + 1) * vocab_size + tokens
    none = torch.full_like(tokens, -1)
    return torch.stack([torch.where(is_real, tokens, none), torch.where(is_real & has_previous, pairs, none)], dim=2)


def count_equal(values: Tensor) -> Tensor:
    """Return how many elements of an int64 tensor equal each of its elements, float32 of the same shape."""
    ordered, order = values.flatten().sort()
    is_first = torch.cat([torch.ones_like(ordered[:1]), (ordered[1:] != ordered[:-1]).long()])
    group = is_first.cumsum(0) - 1
    ones = torch.ones_like(ordered, dtype=torch.float32)
    counts = torch.zeros_like(ones).scatter_add(0, group, ones)[group]
    return torch.zeros_like(ones).scatter(0, order, counts).view(values.shape)


def split_into_batches(split: EncodedSplit, rows: np.ndarray) -> Iterator[Batch]:
    """Yield these rows of a split in their order, a few at a time."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield Batch.from_arrays(split.batch(rows[start : start + BLOCK_ROWS]))


def _list_distinct_in_rows(batch: Batch, vocab_size: int) -> np.ndarray:
    """Return the keys of the n-grams of each row, each once per row."""
    keys = list_ngrams(batch, vocab_size)
    rows = batch.chunk_row[:, None, None].expand_as(keys)
    is_ngram = keys >= 0
    order = np.lexsort((keys[is_ngram].numpy(), rows[is_ngram].numpy()))
    pairs = np.stack([rows[is_ngram].numpy()[order], keys[is_ngram].numpy()[order]])
    is_first = np.ones(len(order), bool)
    is_first[1:] = (pairs[:, 1:] != pairs[:, :-1]).any(axis=0)
    distinct: np.ndarray = pairs[1, is_first]
    return distinct
