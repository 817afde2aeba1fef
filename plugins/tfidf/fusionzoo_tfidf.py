"""TF-IDF of tokens and pairs of tokens: the linear solution of the task and latent semantic analysis.

Ridge regression on n-grams scaled by their log-count ratios (Wang and Manning 2012, ACL P12-2018), and truncated SVD
(Deerwester et al. 1990, "Indexing by latent semantic analysis").
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.nn.ngrams import NgramTfidf, split_into_batches
from fusionzoo.nn.pooling import sum_per_row
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

PAPER = "Wang and Manning 2012, ACL P12-2018"
MAX_SCORES, FOLDS, MAX_FIT_ROWS = 16, 5, 100_000
RIDGE, SMOOTHING = 2.0, 0.05  # chosen on val of real reviews


class TfidfEncoderSettings(ModelSettings):
    """Settings of the text encoder `tfidf`."""

    needs = reads = frozenset({"text"})
    paper = PAPER
    uses_word_vectors = False

    max_ngrams: int = Field(
        100_000, ge=16, le=10**7, description="Maximum number of n-grams: those in the most rows of train are kept."
    )
    tfidf_dim: int = Field(
        32,
        ge=1,
        le=1024,
        description="Width of the features: a score for each of up to 16 outputs, then components of the text.",
    )


class TfidfSettings(TextSettings):
    """Settings of the text-only model `tfidf`."""

    paper = PAPER
    text_encoder: Literal["tfidf"] = Field("tfidf", description="The text encoder of this model.")


class MultimodalTfidfSettings(FusionSettings):
    """Settings of `multimodal_tfidf`, the late fusion."""

    paper = PAPER
    text_encoder: Literal["tfidf"] = Field("tfidf", description="The text encoder of this model.")


class TfidfEncoder(nn.Module):
    """Scores of linear models and components of the text, [rows, dim]; of each token, its share, [chunks, length, dim].

    All of it is fitted on train, except for the scale of each feature, which is trained. In training, the scores of a
    row are those of models that were fitted without the row's text: the layers after them would trust others too much.
    In evaluation they are the mean of all models.
    """

    def __init__(self, spec: InputSpec, settings: TfidfEncoderSettings) -> None:
        super().__init__()
        if spec.text is None:
            raise ValueError("the text encoder 'tfidf' needs text")
        self.outputs, self.dim = spec.num_outputs, settings.tfidf_dim
        self.scores = min(self.outputs, MAX_SCORES, self.dim)
        self.ngrams = NgramTfidf(spec.text, settings.max_ngrams)
        self.vectors = _fixed(self.ngrams.features, self.dim)
        self.offset = _fixed(self.dim)
        self.fold_vectors = _fixed(FOLDS, self.ngrams.features, self.scores)
        self.fold_offsets = _fixed(FOLDS, self.scores)
        self.gain = nn.Parameter(torch.ones(self.dim))

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        features, weights = self.ngrams(batch)
        vectors = self.vectors[features]
        offset: Tensor = self.offset
        if self.training:
            folds = choose_folds(batch)
            scores = self.fold_vectors[folds[batch.chunk_row][:, None, None], features]
            vectors = torch.cat([scores, vectors[..., self.scores :]], dim=-1)
            offset = torch.cat([self.fold_offsets[folds], offset[self.scores :].expand(batch.rows, -1)], dim=-1)
        tokens = (weights.unsqueeze(-1) * vectors).sum(dim=2)
        pooled = (sum_per_row(tokens.sum(dim=1), batch.chunk_row, batch.rows) + offset) * self.gain
        return TextFeatures(tokens * self.gain, batch.token_mask, batch.chunk_row, pooled)

    @torch.no_grad()
    def fit(self, train: EncodedSplit) -> None:
        """Fit n-grams, scores and components on the labeled rows of train, at most 100,000 of them, evenly spaced."""
        labels = np.zeros(0, np.int64) if train.labels is None else train.labels
        rows = np.flatnonzero(find_labeled_rows(labels))
        rows = rows[:: max(1, -(-len(rows) // MAX_FIT_ROWS))]
        self.ngrams.fit(train, rows)
        matrix = self.ngrams.make_matrix(train, rows)
        folds = [choose_folds(batch).numpy() for batch in split_into_batches(train, rows)]
        targets = make_targets(labels[rows], self.outputs, self.scores)
        self._fit_scores(matrix, targets, np.concatenate([np.zeros(0, np.int64), *folds]))
        self._fit_components(matrix)

    def _fit_scores(self, matrix: Any, targets: np.ndarray, folds: np.ndarray) -> None:
        scores = np.zeros_like(targets)
        for fold in range(FOLDS):
            others = folds != fold
            weights = np.stack([solve(matrix[others], target) for target in targets[others].T], axis=1)
            predicted = matrix @ weights
            offset = -predicted[others].sum(axis=0) / max(1, int(others.sum()))
            scores[~others] = predicted[~others] + offset
            self.fold_vectors[fold] = torch.from_numpy(weights)
            self.fold_offsets[fold] = torch.from_numpy(offset)
        self.vectors[:, : self.scores] = self.fold_vectors.mean(dim=0)
        self.offset[: self.scores] = self.fold_offsets.mean(dim=0)
        self.gain[: self.scores] = torch.from_numpy(invert_deviation(scores))

    def _fit_components(self, matrix: Any) -> None:
        count = min(self.dim - self.scores, matrix.shape[0] - 1, len(np.unique(matrix.indices)) - 1)
        if count < 1:
            return
        axes = TruncatedSVD(count, random_state=0).fit(matrix).components_.T
        components, chosen = matrix @ axes, slice(self.scores, self.scores + count)
        self.vectors[:, chosen] = torch.from_numpy(axes)
        self.offset[chosen] = -torch.from_numpy(components.mean(axis=0))
        self.gain[chosen] = float(invert_deviation(components).min())


def _fixed(*shape: int) -> nn.Parameter:
    """Return a weight that is fitted, not trained; unlike a buffer, processes do not exchange it in every step."""
    return nn.Parameter(torch.zeros(*shape), requires_grad=False)


def choose_folds(batch: Batch) -> Tensor:
    """Return the fold of each row, which depends on nothing but its text, [rows] int64."""
    sums = (batch.tokens * batch.token_mask).sum(dim=1)
    return torch.zeros(batch.rows, dtype=torch.int64, device=sums.device).index_add(0, batch.chunk_row, sums) % FOLDS


def make_targets(labels: np.ndarray, outputs: int, scores: int) -> np.ndarray:
    """Return what the linear models predict, [rows, scores] float32: standardized labels, or mixtures of them."""
    values = labels.astype(np.float64) if labels.ndim == 2 else np.eye(outputs)[labels]
    values = (values - values.mean(axis=0)) * invert_deviation(values) if len(values) else values
    if values.shape[1] > scores:
        values = values @ np.linalg.qr(np.random.default_rng(0).normal(size=(values.shape[1], scores)))[0]
    return np.pad(values, ((0, 0), (0, scores - values.shape[1]))).astype(np.float32)


def invert_deviation(values: np.ndarray) -> np.ndarray:
    """Return 1 / standard deviation of each column; 1 for a constant one."""
    deviation = values.std(axis=0) if len(values) else np.zeros(values.shape[1])
    inverse: np.ndarray = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 1.0)
    return inverse


def solve(matrix: Any, target: np.ndarray) -> np.ndarray:
    """Return the weights [features] of a ridge regression that shrinks n-grams with a large log-count ratio less."""
    if not target.any():
        return np.zeros(matrix.shape[1], np.float32)
    above, below = (matrix.T @ np.maximum(side, 0) + SMOOTHING for side in (target, -target))
    scale = np.sqrt(np.abs(np.log(above / above.sum()) - np.log(below / below.sum())))
    ridge = Ridge(alpha=RIDGE, solver="sparse_cg", tol=1e-3).fit(matrix.multiply(scale).tocsr(), target)
    weights: np.ndarray = (ridge.coef_ * scale).astype(np.float32)
    return weights


encoder = Encoder(TfidfEncoderSettings, TfidfEncoder)
text_only = TextOnly(TfidfSettings)
late_fusion = LateFusion(MultimodalTfidfSettings)
