"""Which rows stand together in a batch: grouped by length, so that little is padded, and still shuffled."""

from __future__ import annotations

import numpy as np

POOL_BATCHES = 50


def training_batches(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Every row once, in batches of rows of similar length, in an order that (seed, epoch) decides.

    Rows are shuffled, sorted by length within pools of `POOL_BATCHES` batches, cut, and the batches shuffled.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths))
    pool = batch_size * POOL_BATCHES
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        ordered = members[np.argsort(lengths[members], kind="stable")]
        batches += [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def scoring_batches(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Every row once, longest first; each batch carries its rows' positions, so the order is never lost."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
