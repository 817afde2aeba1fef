"""Linear models of the labels on TF-IDF of n-grams, fitted on train, which score each row out of fold in training.

Ridge regression on n-grams scaled by their log-count ratios (Wang and Manning 2012, ACL P12-2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.nn.fitted_module import FittedModule, make_fitted
from fusionzoo.nn.ngrams import NgramTfidf, split_into_batches
from fusionzoo.nn.pooling import sum_per_row
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.score_weights import fit_score_weights, invert_deviation, make_mixtures

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit

MAX_SCORES, FOLDS = 16, 5
MAX_FIT_ROWS, MAX_FIT_TOKENS = 100_000, 10_000_000
RIDGE, SMOOTHING = 2.0, 0.05  # chosen on val of real reviews
USELESS_FIT = "the linear models of the words score every row the same. Fix: use more rows"


class ScoredRows(NamedTuple):
    """The rows on which scores were fitted, for what is fitted on top of them.

    Attributes:
        ngrams: the weights of the n-grams, a scipy.sparse.csr_matrix [rows, features].
        scores: the scores out of fold, [rows, width].
        targets: what each score predicts, [rows, width].
        labels: [rows], or [rows, outputs] of labels and numbers.
    """

    ngrams: Any
    scores: np.ndarray
    targets: np.ndarray
    labels: np.ndarray


class NgramScores(FittedModule):
    """Scores of linear models, [rows, width]: one for each output, or 16 mixtures of the outputs if there are more.

    In training, the scores of a row are those of models that were fitted without the row's text: the layers after them
    would trust others too much. In evaluation they are the mean of all models. Over the rows of train, the scores out
    of fold have mean 0 and standard deviation 1. Before `fit`, all scores are 0. `fit` also sets `weights`
    [outputs, width] and `biases` [outputs], with which scores become outputs: see `fusionzoo.nn.score_weights`. They
    stay zero in a module that needs the scores alone and calls `fit_scores`.

    Args:
        spec: the inputs, with text.
        max_ngrams: maximum number of n-grams.
        max_width: maximum number of scores, up to 16.
        useless_fit: what it means to the user of a model if train has no n-grams, and a fix: the end of a sentence.
    """

    is_comparable = True

    def __init__(
        self, spec: InputSpec, max_ngrams: int, max_width: int = MAX_SCORES, useless_fit: str = USELESS_FIT
    ) -> None:
        super().__init__()
        self._useless_fit = useless_fit
        if spec.text is None:
            raise ValueError("scores of n-grams need text")
        self.outputs, self.width = spec.num_outputs, min(spec.num_outputs, max_width, MAX_SCORES)
        self.ngrams = NgramTfidf(spec.text, max_ngrams)
        self.vectors = make_fitted(self.ngrams.features, self.width)
        self.offset = make_fitted(self.width)
        self.fold_vectors = make_fitted(FOLDS, self.ngrams.features, self.width)
        self.fold_offsets = make_fitted(FOLDS, self.width)
        self.weights = make_fitted(self.outputs, self.width)
        self.biases = make_fitted(self.outputs)

    def forward(self, batch: Batch) -> Tensor:
        features, weights = self.ngrams(batch)
        shares = (weights.unsqueeze(-1) * self.get_vectors(batch, features)).sum(dim=(1, 2))
        return sum_per_row(shares, batch.chunk_row, batch.rows) + self.get_offsets(batch)

    def get_vectors(self, batch: Batch, features: Tensor) -> Tensor:
        """Return what features [chunks, length, n] add to the scores of their row, [chunks, length, n, width]."""
        if not self.training:
            return self.vectors[features]
        return self.fold_vectors[choose_folds(batch)[batch.chunk_row][:, None, None], features]

    def get_offsets(self, batch: Batch) -> Tensor:
        """Return what is added to the scores of each row, [rows, width]."""
        return self.fold_offsets[choose_folds(batch)] if self.training else self.offset.expand(batch.rows, -1)

    @torch.no_grad()
    def fit(self, train: EncodedSplit) -> None:
        rows = self.fit_scores(train)
        weights, biases = fit_score_weights(rows.scores, rows.targets, rows.labels, self.outputs)
        self.weights.copy_(torch.from_numpy(weights))
        self.biases.copy_(torch.from_numpy(biases))

    def explain_useless_fit(self) -> str | None:
        if bool(self.ngrams.idf.any()):
            return None
        return f"No word or pair of adjacent words is in two labeled rows of train, so {self._useless_fit}."

    @torch.no_grad()
    def fit_scores(self, train: EncodedSplit) -> ScoredRows:
        """Fit n-grams and scores on labeled rows of train, at most 100,000 rows and 10 million tokens; return them."""
        labels = np.zeros(0, np.int64) if train.labels is None else train.labels
        rows = choose_rows(train, labels)
        self.ngrams.fit(train, rows)
        matrix = self.ngrams.make_matrix(train, rows)
        folds = [choose_folds(batch).numpy() for batch in split_into_batches(train, rows)]
        targets = make_targets(labels[rows], self.outputs, self.width)
        scores = self._fit_folds(matrix, targets, np.concatenate([np.zeros(0, np.int64), *folds]))
        return ScoredRows(matrix, scores, targets, labels[rows])

    def _fit_folds(self, matrix: Any, targets: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Fit the models of the folds, and return the scores of the rows out of fold, [rows, width]."""
        scores = np.zeros_like(targets)
        for fold in range(FOLDS):
            others = folds != fold
            weights = solve_all(matrix[others], targets[others])
            predicted = matrix @ weights
            offset = -predicted[others].sum(axis=0) / max(1, int(others.sum()))
            scores[~others] = predicted[~others] + offset
            self.fold_vectors[fold] = torch.from_numpy(weights)
            self.fold_offsets[fold] = torch.from_numpy(offset)
        scale = invert_deviation(scores)
        self.fold_vectors.mul_(torch.from_numpy(scale))
        self.fold_offsets.mul_(torch.from_numpy(scale))
        self.vectors.copy_(self.fold_vectors.mean(dim=0))
        self.offset.copy_(self.fold_offsets.mean(dim=0))
        scores *= scale
        return scores


def choose_rows(train: EncodedSplit, labels: np.ndarray) -> np.ndarray:
    """Return the labeled rows of train, or evenly spaced ones of them if they are too many or too long."""
    rows = np.flatnonzero(find_labeled_rows(labels))
    tokens = int(train.row_tokens()[rows].sum())
    chosen: np.ndarray = rows[:: max(1, -(-len(rows) // MAX_FIT_ROWS), -(-tokens // MAX_FIT_TOKENS))]
    return chosen


def choose_folds(batch: Batch) -> Tensor:
    """Return the fold of each row, which depends on nothing but its text, [rows] int64."""
    sums = (batch.tokens * batch.token_mask).sum(dim=1)
    return torch.zeros(batch.rows, dtype=torch.int64, device=sums.device).index_add(0, batch.chunk_row, sums) % FOLDS


def make_targets(labels: np.ndarray, outputs: int, width: int) -> np.ndarray:
    """Return what the linear models predict, [rows, width] float32: standardized labels, or mixtures of them.

    A number that has several outputs, its quantiles, is the target of each of them.
    """
    values = labels.astype(np.float64) if labels.ndim == 2 else np.eye(outputs)[labels]
    values = (values - values.mean(axis=0)) * invert_deviation(values) if len(values) else values
    values = np.repeat(values, outputs // values.shape[1], axis=1)
    if outputs > width:
        values = values @ make_mixtures(outputs, width)
    return values.astype(np.float32)


def solve_all(matrix: Any, targets: np.ndarray) -> np.ndarray:
    """Return the weights of a ridge regression for each target, [features, targets] float32.

    A target that equals an earlier one or its negative, such as the second of two classes, is not solved again.
    """
    solved: list[np.ndarray] = []
    for number, target in enumerate(targets.T):
        for earlier, weights in zip(targets.T[:number], solved[:number], strict=True):
            sign = next((sign for sign in (1, -1) if np.allclose(target, sign * earlier, atol=1e-5)), 0)
            if sign:
                solved.append(sign * weights)
                break
        else:
            solved.append(solve(matrix, target))
    return np.stack(solved, axis=1)


def solve(matrix: Any, target: np.ndarray) -> np.ndarray:
    """Return the weights [features] of a ridge regression that shrinks n-grams with a large log-count ratio less."""
    from sklearn.linear_model import Ridge

    if not target.any():
        return np.zeros(matrix.shape[1], np.float32)
    above, below = (matrix.T @ np.maximum(side, 0) + SMOOTHING for side in (target, -target))
    scale = np.sqrt(np.abs(np.log(above / above.sum()) - np.log(below / below.sum())))
    ridge = Ridge(alpha=RIDGE, solver="sparse_cg", tol=1e-3).fit(matrix.multiply(scale).tocsr(), target)
    weights: np.ndarray = (ridge.coef_ * scale).astype(np.float32)
    return weights
