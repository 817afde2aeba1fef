"""Estimate how long a job needs after its training, so that `max_minutes` covers the whole job."""

from __future__ import annotations

import time

import numpy as np

from fusionzoo.nn.inference import predict_scores
from fusionzoo.tasks.objectives import make_link
from fusionzoo.training.checkpointing.time_limit import SAFETY_FACTOR, TimeBudget
from fusionzoo.training.device import find_device
from fusionzoo.training.training_run import TrainingRun

MIN_RESERVED_SECONDS = 15.0  # for plots, prediction files and whatever is not measured
EXPORTS = 2  # the export at the end, and reading the model folder back
SAMPLED_BATCHES = 4


def make_time_budget(run: TrainingRun, max_minutes: float, export_seconds: float) -> TimeBudget:
    """Return when the training of a run has to end; scores some rows of val to measure the speed.

    Args:
        run: the run; its model is not trained yet.
        max_minutes: the duration of the run.
        export_seconds: the measured time of one ONNX export and its check.
    """
    job, val = run.job, run.data.splits["val"]
    count = min(len(val), SAMPLED_BATCHES * job.batch_size)
    rows = np.linspace(0, len(val) - 1, count).astype(np.int64)
    model, link = run.built.model, make_link(run.task)
    model.to(find_device())
    predict_scores(model, link, val, job.batch_size, rows[: job.batch_size], job.max_batch_tokens)  # warms up
    started = time.monotonic()
    predict_scores(model, link, val, job.batch_size, rows, job.max_batch_tokens)
    seconds_per_row = (time.monotonic() - started) / count
    model.cpu()
    scored = len(val) * max(job.average_checkpoints, 1)  # averaging scores val once per checkpoint
    scored += sum(len(split) for name, split in run.data.splits.items() if name not in {"train", "val"})
    measured = EXPORTS * export_seconds + seconds_per_row * scored / run.world.size
    return TimeBudget(
        end=run.paths.started + 60 * max_minutes,
        finish_seconds=MIN_RESERVED_SECONDS + SAFETY_FACTOR * measured,
        validation_seconds=seconds_per_row * len(val) / run.world.size,
    )
