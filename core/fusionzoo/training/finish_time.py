"""Estimate how long a job needs after its training, so that `max_minutes` covers the whole job."""

from __future__ import annotations

import time

import numpy as np
import torch

from fusionzoo.nn.inference import predict_scores
from fusionzoo.tasks.objectives import make_link
from fusionzoo.training.checkpointing.time_limit import SAFETY_FACTOR, TimeBudget
from fusionzoo.training.training_run import TrainingRun

MIN_RESERVED_SECONDS = 10.0  # for plots, prediction files and whatever is not measured
EXPORTS = 2  # the export at the end, and reading the model folder back
SAMPLED_BATCHES = 4


def make_time_budget(run: TrainingRun, batches: int, finish_seconds: float) -> TimeBudget | None:
    """Return when the training of a run has to end; None without `max_minutes`.

    Args:
        batches: the training batches of an epoch, on each process.
        finish_seconds: the result of `estimate_finish_seconds`.
    """
    minutes, splits = run.job.max_minutes, run.data.splits
    if minutes is None:
        return None
    end = run.paths.started + 60 * minutes
    return TimeBudget(end, finish_seconds, len(splits["val"]) * batches / len(splits["train"]))


def estimate_finish_seconds(run: TrainingRun, export_seconds: float) -> float:
    """Return the estimated time of the evaluation and the export; scores some rows of val to measure the speed.

    Args:
        export_seconds: the measured time of one ONNX export and its check.
    """
    job, val = run.job, run.data.splits["val"]
    count = min(len(val), SAMPLED_BATCHES * job.batch_size)
    rows = np.linspace(0, len(val) - 1, count).astype(np.int64)
    model, link = run.built.model, make_link(run.task)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    started = time.monotonic()
    predict_scores(model, link, val, job.batch_size, rows, job.max_batch_tokens)
    seconds_per_row = (time.monotonic() - started) / count
    model.cpu()
    scored = sum(len(split) for name, split in run.data.splits.items() if name != "train") / run.world.size
    averaged = len(val) * job.average_checkpoints if job.average_checkpoints > 1 else 0
    measured = EXPORTS * export_seconds + seconds_per_row * (scored + averaged)
    return MIN_RESERVED_SECONDS + SAFETY_FACTOR * measured
