"""What the models are compared with in benchmarks/quality.py: linear models on TF-IDF, and gradient boosting.

They read the rows that a training job encoded. `boosting` is the model of `train_xgboost.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from fusionzoo.baseline.baseline_job import fit_baseline
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.numeric_target import NumericTarget
from fusionzoo.training.prepare_data import TrainingData

# Val chooses both. A TF-IDF row has norm 1: with weight 1, the table dominates on few rows.
REGULARIZATION = (0.3, 1.0, 3.0, 10.0)  # C of the linear models
TABLE_WEIGHTS = (0.1, 1.0)
Scores = tuple[np.ndarray, dict[str, Any]]  # [rows of val, outputs], and what val chose


def fit_tfidf(data: TrainingData, seed: int) -> Scores:
    """Fit a linear model on TF-IDF of words and pairs of words, and on the table."""
    text, table = weight_terms(data), encode_table(data)
    inputs = {
        weight: {name: sparse.hstack([text[name], weight * table[name]]).tocsr() for name in text}
        for weight in TABLE_WEIGHTS
    }
    return _fit_linear(data, inputs)


def fit_tfidf_text(data: TrainingData, seed: int) -> Scores:
    """Fit a linear model on TF-IDF of words and pairs of words."""
    return _fit_linear(data, {0.0: weight_terms(data)})


def fit_boosting(data: TrainingData, seed: int) -> Scores:
    """Fit gradient boosting on the table and on TF-IDF components of the text."""
    model, rounds = fit_baseline(data, seed)
    return model.score(data.splits["val"]), {"rounds": rounds}


def fit_boosting_table(data: TrainingData, seed: int) -> Scores:
    """Fit gradient boosting on the table."""
    model, rounds = fit_baseline(replace(data, preprocessor=replace(data.preprocessor, text=None)), seed)
    return model.score(data.splits["val"]), {"rounds": rounds}


BASELINE_FITS: Mapping[str, Callable[[TrainingData, int], Scores]] = {
    "tfidf with table": fit_tfidf,
    "tfidf of text": fit_tfidf_text,
    "boosting of table and text": fit_boosting,
    "boosting of table": fit_boosting_table,
}


def weight_terms(data: TrainingData) -> dict[str, Any]:
    """Return TF-IDF weights of words and pairs of words by split, sparse [rows, terms], fitted on train."""
    vectorizer = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    train, val = (join_tokens(data.splits[name]) for name in ("train", "val"))
    return {"train": vectorizer.fit_transform(train), "val": vectorizer.transform(val)}


def join_tokens(split: EncodedSplit) -> list[str]:
    """Return the token ids of each row as words of one text."""
    ends = split.chunk_starts[split.row_starts]
    return [" ".join(map(str, split.tokens[a:b].tolist())) for a, b in pairwise(ends)]


def encode_table(data: TrainingData) -> dict[str, Any]:
    """Return standardized numbers, their missing values and one-hot categories by split, sparse [rows, columns]."""
    cardinalities = [field.cardinality for field in data.spec.categories]

    def encode(split: EncodedSplit) -> Any:
        hot = [np.eye(size, dtype=np.float32)[split.categories[:, k]] for k, size in enumerate(cardinalities)]
        numbers = np.where(split.numbers_missing, 0, split.numbers)
        return sparse.csr_matrix(np.concatenate([numbers, split.numbers_missing, *hot], axis=1))

    return {name: encode(data.splits[name]) for name in ("train", "val")}


def _fit_linear(data: TrainingData, inputs: Mapping[float, Mapping[str, Any]]) -> Scores:
    """Fit a model for each regularization and weight of the table, and return the scores of the best one on val.

    Args:
        data: the splits.
        inputs: those of each split, by the weight of the table.
    """
    fitted = [
        (*_fit_one(data, splits, c), {"C": c, "table_weight": weight})
        for weight, splits in inputs.items()
        for c in REGULARIZATION
    ]
    scores, _, chosen = min(fitted, key=lambda one: one[1])
    return scores, chosen


def _fit_one(data: TrainingData, inputs: Mapping[str, Any], c: float) -> tuple[np.ndarray, float]:
    """Return the scores of val, and the log-loss or squared error of val."""
    target, (train, val) = data.preprocessor.target, (_get_labels(data.splits[name]) for name in ("train", "val"))
    if isinstance(target, NumericTarget):
        ridge = Ridge(alpha=1 / c).fit(inputs["train"], target.standardize(train))
        scores = target.restore_units(ridge.predict(inputs["val"]).reshape(len(val), -1))
        return scores, float(np.mean((scores - val) ** 2))
    model = LogisticRegression(C=c, max_iter=1_000).fit(inputs["train"], train)
    scores = np.zeros((len(val), target.num_outputs))
    scores[:, model.classes_] = model.predict_proba(inputs["val"])
    return scores, float(-np.log(np.maximum(scores[np.arange(len(val)), val], 1e-15)).mean())


def _get_labels(split: EncodedSplit) -> np.ndarray:
    if split.labels is None:
        raise ValueError("the split has no labels")
    return split.labels
