"""Which class or which labels are predicted for a row. Needs NumPy only, because serving decides too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.targets.score_rules import DecisionRule

THRESHOLD = 0.5


def predict_classes(probabilities: NDArray[np.floating], rule: DecisionRule | None = None) -> NDArray[np.int64]:
    """Return the predicted class [rows] int64 for probabilities [rows, classes].

    By default it is the class with the highest probability; of equal ones the class with the lower index.
    """
    predicted: NDArray[np.integer] | NDArray[np.bool_]
    if rule is None:
        predicted = np.argmax(probabilities, axis=1)
    elif rule.costs:
        predicted = np.argmin(_expected_costs(probabilities, np.array(rule.costs)), axis=1)
    else:
        predicted = predict_labels(probabilities[:, 1:], rule)[:, 0]
    return predicted.astype(np.int64)


def predict_labels(probabilities: NDArray[np.floating], rule: DecisionRule | None = None) -> NDArray[np.bool_]:
    """Return which labels are predicted [rows, labels] bool: those with a probability above 0.5, or the threshold."""
    thresholds = np.array([THRESHOLD] if rule is None else rule.thresholds, np.float32)
    is_predicted: NDArray[np.bool_] = probabilities.astype(np.float32, copy=False) > thresholds
    return is_predicted


def _expected_costs(probabilities: NDArray[np.floating], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the expected cost of predicting each class [rows, classes], the same for a row in any batch.

    A matrix product would sum in an order that depends on the number of rows.
    """
    expected = np.zeros(probabilities.shape, np.float64)
    for true_class, row in enumerate(costs):
        expected += probabilities[:, true_class, None].astype(np.float64) * row
    return expected
