"""TF-IDF components of texts: counts of tokens, weighted, and reduced to a few numbers by latent semantic analysis.

Deerwester et al. 1990 ("Indexing by latent semantic analysis"), with scikit-learn's TfidfTransformer and TruncatedSVD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from fusionzoo.data.encoded import EncodedSplit

MAX_COMPONENTS = 64


@dataclass(frozen=True)
class TextComponents:
    """What turns tokens into components: `idf` [tokens] and `axes` [components, tokens], fitted on train."""

    idf: NDArray[np.float32]
    axes: NDArray[np.float32]

    def transform(self, split: EncodedSplit) -> NDArray[np.float32]:
        """Return the components of each row, [rows, components]."""
        counts = count_tokens(split, len(self.idf))
        counts.data = 1 + np.log(counts.data)
        weighted = normalize(counts.multiply(self.idf).tocsr())
        components: NDArray[np.float32] = np.asarray(weighted @ self.axes.T, np.float32)
        return components


def fit_text_components(train: EncodedSplit, vocabulary: int, seed: int) -> TextComponents:
    """Fit the weights and components on train. There are fewer components if train has few rows or tokens."""
    counts = count_tokens(train, vocabulary)
    tfidf = TfidfTransformer(sublinear_tf=True)
    weighted = tfidf.fit_transform(counts)
    size = min(MAX_COMPONENTS, len(train) - 1, len(np.unique(train.tokens)) - 1)
    if size < 1:
        return TextComponents(tfidf.idf_.astype(np.float32), np.zeros((0, vocabulary), np.float32))
    svd = TruncatedSVD(size, random_state=seed).fit(weighted)
    return TextComponents(tfidf.idf_.astype(np.float32), svd.components_.astype(np.float32))


def count_tokens(split: EncodedSplit, vocabulary: int) -> Any:
    """Return how often each row has each token, a sparse matrix [rows, tokens] of float32."""
    starts = split.chunk_starts[split.row_starts]
    ones = np.ones(len(split.tokens), np.float32)
    counts = sparse.csr_matrix((ones, split.tokens.astype(np.int64), starts), shape=(len(split), vocabulary))
    counts.sum_duplicates()
    return counts
