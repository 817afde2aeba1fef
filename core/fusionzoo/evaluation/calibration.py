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
    """The reliability of `of`: the probability of the positive class (two classes) or of the predicted class (more).

    One set of bins has equal width, the other has equal mass (rows). Both are None if the split has no rows.
    """

    of: Literal["positive_class", "predicted_class"]
    equal_width: Reliability | None
    equal_mass: Reliability | None


def compute_calibration(
    y_true: NDArray[np.integer], probabilities: NDArray[np.floating], bins: int = BINS
) -> Calibration:
    """Compute the calibration of class indices [rows] and probabilities [rows, classes].

    Two classes: P(class 1) against being class 1 (Naeini et al. 2015). More: the highest probability against being
    correct (Guo et al. 2017).
    """
    of: Literal["positive_class", "predicted_class"]
    if probabilities.shape[1] == 2:
        of, score, outcome = "positive_class", probabilities[:, 1], y_true == 1
    else:
        of, score = "predicted_class", probabilities.max(axis=1)
        outcome = np.argmax(probabilities, axis=1) == y_true
    if not len(score):
        return Calibration(of, None, None)
    probability: NDArray[np.float64] = score.astype(np.float64)
    equal_width = compute_reliability(probability, outcome, np.linspace(0, 1, bins + 1))
    return Calibration(of, equal_width, compute_reliability(probability, outcome, equal_mass_edges(probability, bins)))


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
