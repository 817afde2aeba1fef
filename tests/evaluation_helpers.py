"""Helpers of the tests of evaluation."""

from __future__ import annotations

import numpy as np

from fusionzoo.evaluation.report import ScoredSplit


def random_scores(rows: int, classes: int, seed: int = 0, present: list[int] | None = None) -> ScoredSplit:
    """Return random classes, and float32 probabilities that are higher for the true class."""
    rng = np.random.default_rng(seed)
    y_true = rng.choice(range(classes) if present is None else present, size=rows)
    logits = rng.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), y_true] += 1.5
    odds = np.exp(logits)
    return ScoredSplit(y_true, odds / odds.sum(axis=1, keepdims=True))
