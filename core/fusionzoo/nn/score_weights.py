"""By how much linear scores move the outputs of a model before its training, from scores out of fold."""

from __future__ import annotations

import numpy as np

MIN_CORRELATION, MAX_CORRELATION = 0.1, 0.95  # useless scores keep a gradient, perfect ones have finite logits
MAX_LOGITS = 10_000_000  # rows times classes that a logistic regression is fitted on


def fit_score_weights(
    scores: np.ndarray, targets: np.ndarray, labels: np.ndarray, outputs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights [outputs, width] and the biases [outputs] with which scores become outputs.

    Of more than two classes, they are those of a multinomial logistic regression on all scores: what speaks for one
    class speaks against the others, and some classes are rare. One row of each class without scores is added (Laplace's
    rule of succession), so a class without rows gets a small probability. Of other outputs, each score moves its own
    output, by `compute_strength`.

    Args:
        scores: the scores of rows out of fold, [rows, width], with mean 0 and deviation 1.
        targets: what each score predicts, [rows, width].
        labels: the labels of the rows: classes [rows], or labels or numbers [rows, outputs].
        outputs: the number of outputs.
    """
    are_numbers = labels.dtype.kind == "f"
    if outputs > 2 and labels.ndim == 1 and not are_numbers:
        return _fit_classes(scores, labels, outputs)
    strength = compute_strength(scores, targets, are_numbers)
    return make_mixtures(outputs, scores.shape[1]) * strength, np.zeros(outputs)


def _fit_classes(scores: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights [classes, width] and biases [classes] of a multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression

    step = max(1, -(-len(scores) * classes // MAX_LOGITS))
    rows = np.concatenate([scores[::step], np.zeros((classes, scores.shape[1]), scores.dtype)])
    fitted = LogisticRegression(max_iter=200).fit(rows, np.concatenate([labels[::step], np.arange(classes)]))
    return fitted.coef_, fitted.intercept_


def make_mixtures(outputs: int, width: int) -> np.ndarray:
    """Return orthonormal directions of the outputs, [outputs, width]; each output itself if there is one for each."""
    if outputs == width:
        return np.eye(outputs)
    return np.linalg.qr(np.random.default_rng(0).normal(size=(outputs, width)))[0]


def compute_strength(scores: np.ndarray, targets: np.ndarray, are_numbers: bool) -> np.ndarray:
    """Return by how much each column of scores should move its output [width].

    With the correlation r of score and target out of fold, r is the slope of a number, and about r / (1 - r^2) that of
    a logit (linear discriminant analysis). Both are shrunk by the factor r, because the rest of a model predicts, too.
    Two logits one deviation away from their means differ by at most log(rows + 1): even n rows without an error only
    show that about one row in n + 2 is wrong at most (Laplace's rule of succession).
    """
    products = (scores * targets).mean(axis=0) if len(scores) else np.zeros(scores.shape[1])
    correlation = np.clip(
        products * invert_deviation(scores) * invert_deviation(targets), MIN_CORRELATION, MAX_CORRELATION
    )
    explained: np.ndarray = correlation**2
    if are_numbers:
        return explained
    strength: np.ndarray = np.minimum(explained / (1 - explained), np.log(len(scores) + 1) / 2)
    return strength


def invert_deviation(values: np.ndarray) -> np.ndarray:
    """Return 1 / standard deviation of each column; 1 for a constant one."""
    deviation = values.std(axis=0) if len(values) else np.zeros(values.shape[1])
    inverse: np.ndarray = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 1.0)
    return inverse
