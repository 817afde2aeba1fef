"""The callbacks that guard every training."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.callbacks import Callback

from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.guards.convergence import FirstEpochCheck
from fusionzoo.training.guards.divergence import DivergenceGuard
from fusionzoo.training.guards.memory import CurrentBatch
from fusionzoo.training.guards.validation import ValidationGuard
from fusionzoo.training.resolved_settings import ResolvedJobSettings


def guard_callbacks(
    settings: ResolvedJobSettings, splits: SplitsDataModule, limits: Sequence[LabelLimit] = ()
) -> list[Callback]:
    """Return the guards of a training. They must come before the callbacks that read metrics or save checkpoints.

    `limits` are what about the labels limits any model.
    """
    return [
        DivergenceGuard(settings, splits.train.ids),
        ValidationGuard(settings, splits.val),
        FirstEpochCheck(splits.val.labels, limits),
        CurrentBatch(),
    ]
