"""Whether a probability means what it says: of rows scored 0.8, are 80 % right?

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
    """Bins that hold rows, from low to high; a bin holds the probabilities above `lower` up to `upper`."""

    expected_calibration_error: float
    lower: list[float]
    upper: list[float]
    rows: list[int]
    mean_probability: list[float]
    observed_rate: list[float]


@dataclass(frozen=True)
class Calibration:
    """Reliability of `of`: the positive class's probability, or the predicted class's where there are more than two.

    Bins are of equal width, and of equal mass (rows); both are None where the split has no rows.
    """

    of: Literal["positive_class", "predicted_class"]
    equal_width: Reliability | None
    equal_mass: Reliability | None


def calibration(y_true: NDArray[np.integer], probabilities: NDArray[np.floating], bins: int = BINS) -> Calibration:
    """The calibration of class indices [rows] and probabilities [rows, classes].

    Two classes: P(class 1) against being of class 1 (Naeini et al. 2015). More: the highest probability against being
    right (Guo et al. 2017).
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
    equal_width = reliability(probability, outcome, np.linspace(0, 1, bins + 1))
    return Calibration(of, equal_width, reliability(probability, outcome, mass(probability, bins)))


def mass(probability: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Edges of at most `bins` bins of equally many rows; equal probabilities share a bin, whatever the rows' order."""
    edges: NDArray[np.float64] = np.quantile(probability, np.linspace(0, 1, bins + 1), method="inverted_cdf")
    return edges


def reliability(
    probability: NDArray[np.float64], outcome: NDArray[np.bool_], edges: NDArray[np.float64]
) -> Reliability:
    """Bins between `edges` (ascending) of probabilities [rows], at least one, and what came of them [rows].

    The expected calibration error is the mean over rows of the distance between their bin's mean probability and its
    observed rate.
    """
    place = np.searchsorted(edges[1:-1], probability, side="left")
    count = len(edges) - 1
    rows = np.bincount(place, minlength=count)
    held = np.flatnonzero(rows)
    mean = np.bincount(place, weights=probability, minlength=count)[held] / rows[held]
    rate = np.bincount(place, weights=outcome, minlength=count)[held] / rows[held]
    error = float(np.sum(rows[held] * np.abs(mean - rate)) / len(probability))
    return Reliability(
        error, edges[held].tolist(), edges[held + 1].tolist(), rows[held].tolist(), mean.tolist(), rate.tolist()
    )
