"""Finish a job that SIGTERM stops, in the time before it is killed: the best weights so far become the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from fusionzoo import errors
from fusionzoo.artifacts import model_folder
from fusionzoo.artifacts.file_names import WEIGHTS_FILE
from fusionzoo.nn.inference import predict_scores
from fusionzoo.sagemaker.folder_lock import is_taken
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objectives import make_link
from fusionzoo.training.checkpointing.checkpoint_io import LAST_FILE
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import World
from fusionzoo.training.monitoring import log_lines
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)

TORCHRUN_TIMEOUT_VARIABLE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
TORCHRUN_SECONDS = 30.0  # after SIGTERM, before torchrun kills its processes
SECONDS_TO_EXIT = 5.0  # of them, to end after the last file is written


def is_stopped(summary: Mapping[str, Any]) -> bool:
    """Return whether SIGTERM ended the training that a summary describes."""
    return summary.get("ended_by") == "sigterm"


def choose_stop_seconds(job: JobSettings, world: World, environ: Mapping[str, str]) -> float:
    """Return the seconds after SIGTERM in which the job may finish; 0 if it stops immediately.

    torchrun kills its processes after 30 s, or after the time that its variable states.
    """
    if not job.ship_on_stop:
        return 0.0
    if world.size == 1:
        return job.ship_on_stop_seconds
    granted = float(environ.get(TORCHRUN_TIMEOUT_VARIABLE) or TORCHRUN_SECONDS)
    return max(1.0, min(job.ship_on_stop_seconds, granted - SECONDS_TO_EXIT))


@contextmanager
def finish_in_time(run: TrainingRun, summary: Mapping[str, Any]) -> Iterator[None]:
    """In the block, which writes the results, SIGTERM gives the job the seconds of `choose_stop_seconds`.

    Raises:
        errors.TerminatedError: the time has passed; or SIGTERM had ended the training, and the block is complete.
    """
    stopped, seconds = is_stopped(summary), choose_stop_seconds(run.job, run.world, os.environ)
    folders = (run.paths.checkpoints, run.paths.output_data)

    def owns_folders() -> bool:
        """The heartbeat of a folder sends SIGTERM, too, when another job has taken the folder."""
        return not any(is_taken(folder, run.paths.job_id) for folder in folders)

    try:
        with run.termination.translate_stop_signal(), run.termination.finish_within(seconds, owns_folders):
            yield
            collectives.broadcast_from_first(lambda: None)  # wait until the first process has written everything
            if not stopped:
                run.termination.ignore_signals()
    except errors.TerminatedError:
        raise describe_stop(run, summary) from None
    if stopped:
        raise describe_stop(run, summary)


def describe_stop(run: TrainingRun, summary: Mapping[str, Any]) -> errors.TerminatedError:
    """Return the error of a job that SIGTERM has stopped: where its state is, and which model it has written."""
    shipped = ""
    if (run.paths.model / WEIGHTS_FILE).exists():
        shipped = f" {run.paths.model} holds the best model so far: {log_lines.format_best(summary['best'])}."
    return errors.TerminatedError(run.paths.checkpoints / LAST_FILE, summary["epochs"], summary["steps"], shipped)


def ship_weights(run: TrainingRun, model: nn.Module) -> None:
    """Write the model folder without `model.onnx`, which takes seconds; the complete one replaces it if time remains.

    Its hyperparameters.json states `onnx: off`, and its manifest.json has no metrics.
    """
    val, architecture = run.data.splits["val"], run.architecture
    rows = np.arange(min(model_folder.VERIFIED_ROWS, len(val)))
    scores = predict_scores(model, make_link(run.task), val, len(rows), rows)
    job = architecture.job.model_copy(update={"onnx": "off"})
    without_onnx = replace(architecture, hyperparameters=replace(architecture.hyperparameters, job=job))
    trained = model_folder.TrainedModel(
        without_onnx, run.data.preprocessor, model, run.data.describe_splits(), metrics={}
    )
    model_folder.write_model_folder(run.paths.model, trained, val, scores)
    log.info("Wrote %s without model.onnx", run.paths.model)
