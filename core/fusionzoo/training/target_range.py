"""Find numbers to predict in val and test that are too far from those of train: their loss overflows in float32."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.targets.numeric_target import NumericTarget
from fusionzoo.data.targets.target import Target
from fusionzoo.errors import target_errors
from fusionzoo.errors.value_problems import MAX_EXAMPLES, Example

log = logging.getLogger(__name__)

MAX_SQUARED = 1e18  # standard deviations of train: the sum of some squares is still below 3.4e38, float32's maximum
MAX_ABSOLUTE = 1e36  # of a loss that is not squared


def check_target_range(
    splits: Mapping[str, EncodedSplit], channels: Mapping[str, Iterable[Rows]], target: Target, loss: str | None
) -> None:
    """Check the numbers to predict in val, and warn of those in test; other targets need no check.

    The rows of a split with such numbers are read again, to name them.

    Args:
        splits: the encoded splits.
        channels: the rows of each split.
        target: the fitted target.
        loss: the setting `loss`; None for the mean squared error.

    Raises:
        errors.DataError: the loss of values of val would be infinite, so no checkpoint could be selected.
    """
    if not isinstance(target, NumericTarget):
        return
    limit, problems = MAX_SQUARED if loss in (None, "mse") else MAX_ABSOLUTE, ProblemLog()
    for name, split in splits.items():
        if name == "train" or split.labels is None:
            continue
        is_too_far = np.abs(target.standardize(split.labels)) > limit  # False for missing labels
        for k in np.flatnonzero(is_too_far.any(axis=0)):
            rows = np.flatnonzero(is_too_far[:, k])
            examples = _locate(channels[name], rows[:MAX_EXAMPLES], split.labels[:, k])
            problem = target_errors.target_too_far_from_train(name, target.names[k], len(rows), examples, limit)
            if name == "val":
                problems.add(problem)
            else:
                log.warning("%s: %s. The metrics of %s show little else.", problem.where, problem.message, name)
    problems.raise_if_any()


def _locate(channel: Iterable[Rows], indices: np.ndarray, values: np.ndarray) -> list[Example]:
    """Return the file and row of the rows with these indices in a split, each with its value."""
    examples: list[Example] = []
    start = 0
    for rows in channel:
        end = start + len(rows)
        examples += [(rows.locate(int(i - start)), float(values[i])) for i in indices if start <= i < end]
        if end > indices[-1]:
            break
        start = end
    return examples
