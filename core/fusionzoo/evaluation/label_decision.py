"""Which labels are predicted for a row. Needs NumPy only, because serving decides too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.5


def predict_labels(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which labels are predicted [rows, labels] bool: those with a probability above 0.5."""
    is_predicted: NDArray[np.bool_] = probabilities > THRESHOLD
    return is_predicted
