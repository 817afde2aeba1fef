"""Defaults that depend on the rows of a job: how long it trains, how often it validates, and by which metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fusionzoo.evaluation.metric_directions import LOSS_METRIC
from fusionzoo.training.resolved_settings import ResolvedJobSettings
from fusionzoo.training.training_length import choose_epochs, estimate_steps_per_epoch

if TYPE_CHECKING:
    from fusionzoo.architecture import Architecture
    from fusionzoo.data.encoded import EncodedSplit
    from fusionzoo.settings import JobSettings
    from fusionzoo.tasks.task import Task

PATIENCE, PATIENCE_STEPS = 3, 150  # validations without improvement, and the optimizer steps that they have at least
AVERAGED_CHECKPOINTS = 3  # by default, if a pretrained encoder is fine-tuned
MAX_VALIDATION_SHARE = 0.2  # of the time of an epoch, for the second validation
FORWARD_SHARE = 1 / 3  # of the time of a training step: its forward pass, which is all that a validation computes


def resolve_job_settings(
    architecture: Architecture,
    task: Task,
    splits: Mapping[str, EncodedSplit],
    is_tuned: bool,
    kept: Mapping[str, Any] = MappingProxyType({}),
) -> ResolvedJobSettings:
    """Return the job's settings with each null replaced; values that the user has set stay.

    Args:
        architecture: the chosen plugins and settings.
        task: the fitted task.
        splits: the rows of train and val.
        is_tuned: `Architecture.tunes_encoder` of the built model.
        kept: `ResolvedJobSettings.choices` of the run that this one resumes. They stay, except for `max_epochs`, also
            if a setting that may change after the training, such as `calibration`, would choose others now.
    """
    job, train, val = architecture.job, splits["train"], splits["val"]
    interval = job.val_check_interval or choose_interval(len(train), len(val), is_tuned)
    steps = estimate_steps_per_epoch(job, len(train), len(train.tokens)) * interval
    chosen = {
        "max_epochs": choose_epochs(architecture, is_tuned, len(train), len(train.tokens)),
        "early_stop_metric": job.early_stop_metric or choose_metric(task, val, job),
        "early_stop_patience": job.early_stop_patience or choose_patience(steps),
        "val_check_interval": interval,
        "average_checkpoints": job.average_checkpoints,
    }
    if job.average_checkpoints is None:
        chosen["average_checkpoints"] = AVERAGED_CHECKPOINTS if is_tuned else 0
    kept = {name: value for name, value in kept.items() if name != "max_epochs"}
    return ResolvedJobSettings.model_validate({**dict(job), **chosen, **kept})


def choose_metric(task: Task, val: EncodedSplit, job: JobSettings) -> str:
    """Return the metric that selects the best weights of a job that sets none.

    A model soon fits a few thousand training rows, so its probabilities become too confident and `val_loss` rises while
    the order of the rows still improves. Calibration repairs the probabilities after the training; without it,
    `val_loss` decides.
    """
    repairs = job.calibration != "none"
    metric = task.choose_ranking_metric(val.labels) if repairs and val.labels is not None else None
    return LOSS_METRIC if metric is None else metric


def choose_patience(steps: float) -> int:
    """Return the validations without improvement after which a job stops that sets no number.

    On a few hundred rows, three epochs are a few steps, in which the score of new weights often falls before it rises.

    Args:
        steps: the optimizer steps between two validations.
    """
    return max(PATIENCE, math.ceil(PATIENCE_STEPS / max(1, steps)))


def choose_interval(train_rows: int, val_rows: int, is_tuned: bool) -> float:
    """Return the fraction of an epoch between validations of a job that sets none.

    A fine-tuned encoder is validated twice per epoch if the additional validation costs at most a fifth of the epoch:
    averaging has more checkpoints to choose from.
    """
    if not is_tuned:
        return 1.0
    return 0.5 if val_rows * FORWARD_SHARE <= MAX_VALIDATION_SHARE * train_rows else 1.0
