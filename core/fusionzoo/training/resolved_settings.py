"""The settings of a training, in which the defaults that depend on the rows have values."""

from __future__ import annotations

from typing import Any

from fusionzoo.settings import JobSettings


class ResolvedJobSettings(JobSettings):
    """The settings of a job without the nulls for which the rows of the job matter."""

    max_epochs: int
    early_stop_metric: str
    val_check_interval: float
    average_checkpoints: int

    def choices(self) -> dict[str, Any]:
        """Return the values of the settings for which null stands for a choice, for metrics.json."""
        return {name: getattr(self, name) for name in ResolvedJobSettings.__annotations__}
