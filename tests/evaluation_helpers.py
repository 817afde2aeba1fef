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


VALIDATIONS = [
    {"epoch": 1, "step": 10, "train_loss": 0.7, "val_loss": 0.6, "val/auroc": 0.6},
    {"epoch": 2, "step": 20, "train_loss": 0.5, "val_loss": 0.5, "val/auroc": 0.9},
    {"epoch": 3, "step": 30, "train_loss": 0.3, "val_loss": 0.8, "val/auroc": 0.8},
]
