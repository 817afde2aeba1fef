"""How many epochs a training has if `max_epochs` does not say it: enough optimizer steps for weights that are new."""

from __future__ import annotations

import math

from fusionzoo.architecture import Architecture
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers

DEFAULT_EPOCHS = 3
MAX_DEFAULT_EPOCHS = 30  # on a few rows, more epochs mean more validations and checkpoints, and no better model


def choose_epochs(architecture: Architecture, is_tuned: bool, rows: int, tokens: int) -> int:
    """Return `max_epochs`, or what replaces null.

    A pretrained text encoder is trained for 3 epochs. Other models, and those over a frozen one, take at least the
    `min_steps` of their settings class, in at most 30 epochs: on a few thousand rows, 3 epochs are too few steps for
    new weights.

    Args:
        architecture: the chosen plugins and settings.
        is_tuned: `Architecture.tunes_encoder` of the built model.
        rows: the rows of train.
        tokens: the tokens of train. They matter with `max_batch_tokens` only.
    """
    job = architecture.job
    if job.max_epochs is not None:
        return job.max_epochs
    if is_tuned:
        return DEFAULT_EPOCHS
    epochs = math.ceil(architecture.min_steps / estimate_steps_per_epoch(job, rows, tokens))
    return min(max(epochs, DEFAULT_EPOCHS), MAX_DEFAULT_EPOCHS)


def estimate_steps_per_epoch(job: JobSettings, rows: int, tokens: int) -> int:
    """Return the optimizer steps of an epoch; with `max_batch_tokens` those of batches without padding."""
    batches = -(-rows // job.batch_size) if job.max_batch_tokens is None else -(-tokens // job.max_batch_tokens)
    return max(1, optimizers.steps_per_epoch(batches, job))
