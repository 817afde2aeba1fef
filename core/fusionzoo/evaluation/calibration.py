"""Calibration: of the rows with probability 0.8, how many are correct?

Reliability bins and the expected calibration error: Naeini et al. 2015 ("Obtaining Well Calibrated Probabilities Using
Bayesian Binning"), Guo et al. 2017 ("On Calibration of Modern Neural Networks", arXiv 1706.04599), who use 15 bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BINS = 15
ProbabilityKind = Literal["positive_class", "predicted_class", "labels"]


@dataclass(frozen=True)
class Reliability:
    """The bins that are not empty, in ascending order. A bin holds probabilities p with `lower` < p <= `upper`."""

    expected_calibration_error: float
    lower: list[float]
    upper: list[float]
    rows: list[int]
    mean_probability: list[float]
    observed_rate: list[float]


@dataclass(frozen=True)
class Calibration:
    """The reliability of one kind of probability.

    `of` says which: of the positive class (two classes), of the predicted class (more), or of all labels together. One
    set of bins has equal width, the other has equal mass (rows). Both are None if the split has no rows.
    """

    of: ProbabilityKind
    equal_width: Reliability | None
    equal_mass: Reliability | None

    @classmethod
    def measure(cls, of: ProbabilityKind, score: NDArray[np.floating], outcome: NDArray[np.bool_]) -> Calibration:
        """Return the calibration of probabilities [rows] and outcomes [rows]."""
        if not len(score):
            return cls(of, None, None)
        probability: NDArray[np.float64] = score.astype(np.float64)
        edges = np.linspace(0, 1, BINS + 1), equal_mass_edges(probability, BINS)
        equal_width, equal_mass = (compute_reliability(probability, outcome, ends) for ends in edges)
        return cls(of, equal_width, equal_mass)


def compute_calibration(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Calibration:
    """Compute the calibration of class indices [rows] and probabilities [rows, classes].

    Two classes: P(class 1) against being class 1 (Naeini et al. 2015). More: the highest probability against being
    correct (Guo et al. 2017).
    """
    if probabilities.shape[1] == 2:
        return Calibration.measure("positive_class", probabilities[:, 1], y_true == 1)
    is_correct = np.argmax(probabilities, axis=1) == y_true
    return Calibration.measure("predicted_class", probabilities.max(axis=1), is_correct)


def equal_mass_edges(probability: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the edges of at most `bins` bins with equal numbers of rows. Equal probabilities share a bin."""
    edges: NDArray[np.float64] = np.quantile(probability, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    return edges


def compute_reliability(
    probability: NDArray[np.float64], outcome: NDArray[np.bool_], edges: NDArray[np.float64]
) -> Reliability:
    """Group probabilities [rows], at least one, and outcomes [rows] into the bins between `edges` (ascending).

    The expected calibration error is the mean over rows of the difference between the mean probability and the
    observed rate of their bin.
    """
    bin_of_row = np.searchsorted(edges[1:-1], probability, side="left")
    count = len(edges) - 1
    rows = np.bincount(bin_of_row, minlength=count)
    nonempty = np.flatnonzero(rows)
    mean = np.bincount(bin_of_row, weights=probability, minlength=count)[nonempty] / rows[nonempty]
    rate = np.bincount(bin_of_row, weights=outcome, minlength=count)[nonempty] / rows[nonempty]
    error = float(np.sum(rows[nonempty] * np.abs(mean - rate)) / len(probability))
    return Reliability(
        error,
        edges[nonempty].tolist(),
        edges[nonempty + 1].tolist(),
        rows[nonempty].tolist(),
        mean.tolist(),
        rate.tolist(),
    )
