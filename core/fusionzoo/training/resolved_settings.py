"""The settings of a training, in which the defaults that depend on the rows have values."""

from __future__ import annotations

import math
from typing import Any

from fusionzoo.settings import JobSettings


class ResolvedJobSettings(JobSettings):
    """The settings of a job without the nulls for which the rows of the job matter."""

    max_epochs: int
    early_stop_metric: str
    early_stop_patience: int
    val_check_interval: float
    average_checkpoints: int

    def count_batches_between_validations(self, batches: int) -> int:
        """Return the batches between validations of an epoch with `batches` batches.

        It is rounded down: Lightning validates after each multiple of it within the epoch, so with half of an odd
        number, rounded up, the second validation would be missing. At least one optimizer step is between validations.
        """
        between = math.floor(batches * self.val_check_interval + 1e-9)  # 0.1 of 30 batches are 3
        return max(1, between, min(batches, self.accumulate_grad_batches))

    def choices(self) -> dict[str, Any]:
        """Return the values of the settings for which null stands for a choice, for metrics.json."""
        return {name: getattr(self, name) for name in ResolvedJobSettings.__annotations__}
