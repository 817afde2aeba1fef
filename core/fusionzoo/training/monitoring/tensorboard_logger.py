"""The TensorBoard logger of a training: its steps and epochs are those of the log, and it holds the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class TrainingLogger(TensorBoardLogger):
    """Logs each value at the number of optimizer steps done, and epochs from 1.

    Lightning itself counts both from 0, and a validation in the middle of gradient accumulation at the next step.

    Args:
        folder: the folder that gets the folder `tensorboard`.
        steps_done: the steps of the checkpoint that the training resumes from. TensorBoard hides later points of
            earlier runs, which this run repeats.
    """

    def __init__(self, folder: Path, steps_done: int = 0) -> None:
        super().__init__(folder, name="tensorboard", version="", default_hp_metric=False, purge_step=steps_done + 1)
        self.trainer: Trainer | None = None  # set it as soon as the trainer exists

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars. `step` is ignored once the logger has its trainer, which knows the number of steps done."""
        if "epoch" in metrics:
            metrics = {**metrics, "epoch": metrics["epoch"] + 1}
        super().log_metrics(metrics, step if self.trainer is None else self.trainer.global_step)

    @rank_zero_only
    def log_settings(self, settings: Mapping[str, Any], metrics: Mapping[str, None]) -> None:
        """Log the settings for TensorBoard's HPARAMS tab, and in hparams.yaml; `metrics` are the names to compare."""
        from torch.utils.tensorboard.summary import hparams

        (Path(self.log_dir) / self.NAME_HPARAMS_FILE).unlink(missing_ok=True)  # of an earlier run
        self.hparams = dict(settings)
        plain = {name: v if isinstance(v, bool | int | float | str) else json.dumps(v) for name, v in settings.items()}
        writer = self.experiment._get_file_writer()
        for summary in hparams(plain, dict(metrics)):  # type: ignore[no-untyped-call]
            writer.add_summary(summary)
