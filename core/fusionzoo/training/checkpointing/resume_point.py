"""Find the checkpoint that a restarted job resumes from, and check that the same job wrote it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.errors.wording import pluralize, short
from fusionzoo.settings import JobSettings
from fusionzoo.training import lightning_compat
from fusionzoo.training.checkpointing.best_checkpoints import find_best_step, list_best_files
from fusionzoo.training.checkpointing.checkpoint_io import (
    BEST_FILE,
    INCOMING_FILE,
    LAST_FILE,
    PREVIOUS_FILE,
    STATE_KEY,
    TOP_FILES,
    check_intact,
    check_regular,
    get_job_fingerprint,
    read_checkpoint_lazily,
)
from fusionzoo.training.checkpointing.fingerprint import compare_fingerprints
from fusionzoo.training.precision import PrecisionChoice

log = logging.getLogger(__name__)

TRAINING_KEYS = {"state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks"}  # what Lightning restores
SUMMARY_KEYS = {
    "steps",
    "epochs",
    "best",
    "validations",
    "top_checkpoints",
}  # what the end of a job reads


@dataclass(frozen=True)
class ResumePoint:
    """An intact checkpoint of an earlier run, and the fingerprint of the job that wrote it."""

    file: Path
    job_fingerprint: Mapping[str, str]
    processes: int
    epoch: int  # counts from 0
    step: int  # optimizer steps done
    max_epochs: int  # of the job that wrote it
    training_summary: Mapping[str, Any] | None  # None: the training has not finished
    init_report: Mapping[str, Any] | None = None  # what the training took from the model of `init_from`
    precision: PrecisionChoice | None = None  # None: the checkpoint does not say why its precision was chosen
    choices: Mapping[str, Any] = field(default_factory=dict)  # what the job chose for settings that are null
    has_newer_best: bool = False  # whether best.ckpt was written after this checkpoint


def find_resume_point(folder: Path) -> ResumePoint | None:
    """Return the newest intact checkpoint in the folder, or None; log a warning for each damaged one.

    A checkpoint that cannot be read is not called damaged: a training from the beginning would delete it.

    Raises:
        errors.CheckpointFileError: a checkpoint cannot be read, or is not a file.
        errors.ForeignCheckpointError: another program wrote the checkpoint, or it lacks a part.
    """
    present, last, previous = _list_checkpoints(folder), folder / LAST_FILE, folder / PREVIOUS_FILE
    for file in (last, previous):
        if file not in present:
            continue
        try:
            resume_point = _read_resume_point(file)
        except (FileNotFoundError, ValueError) as cause:
            log.warning("Ignoring the damaged checkpoint %s: %s", file, short(cause))
            continue
        if file is previous:
            log.warning(
                "%s is not usable. Falling back to the checkpoint before it, %s: epoch %d, step %d.",
                *(last.name, previous, resume_point.epoch + 1, resume_point.step),
            )
        return resume_point
    if last in present or previous in present:
        log.warning("No checkpoint in %s is intact. Training starts from the beginning.", folder)
    return None


def _list_checkpoints(folder: Path) -> set[Path]:
    """Return the checkpoints in a folder, which are all files.

    Raises:
        errors.CheckpointFileError: one is a folder, pipe, socket or device, or cannot be examined.
    """
    present = set()
    names = (LAST_FILE, PREVIOUS_FILE, INCOMING_FILE, BEST_FILE)
    for file in (*(folder / name for name in names), *sorted(folder.glob(TOP_FILES))):
        with suppress(FileNotFoundError):
            check_regular(file)
            present.add(file)
    return present


def _read_resume_point(file: Path) -> ResumePoint:
    """Read a checkpoint after verifying it and the files of best weights that it refers to."""
    check_intact(file)
    content = read_checkpoint_lazily(file)
    try:
        best_files = list_best_files(content["callbacks"].values())
        state = content[STATE_KEY]
        resume_point = ResumePoint(
            file,
            job_fingerprint=dict(state["job_fingerprint"]),
            processes=len(state["random_states"]),
            epoch=int(content["epoch"]),
            step=int(content["global_step"]),
            max_epochs=int(state["max_epochs"]),
            training_summary=None if state["training_summary"] is None else dict(state["training_summary"]),
            init_report=state.get("init_report"),
            precision=None if state.get("precision") is None else PrecisionChoice(**state["precision"]),
            choices=dict(state.get("choices", {})),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as cause:
        raise errors.ForeignCheckpointError(file) from cause
    summary = resume_point.training_summary
    if (
        not content.keys() >= TRAINING_KEYS
        or not lightning_compat.has_loop_counters(content["loops"])
        or (summary is not None and not summary.keys() >= SUMMARY_KEYS)
    ):
        raise errors.ForeignCheckpointError(file)
    for name in best_files:
        best = file.with_name(name)
        check_intact(best)
        if get_job_fingerprint(read_checkpoint_lazily(best)) != resume_point.job_fingerprint:
            raise ValueError(f"another job wrote {name}, to which it refers")
    if BEST_FILE not in best_files:
        return resume_point
    expected, step = find_best_step(content["callbacks"].values()), _read_step(file.with_name(BEST_FILE))
    if expected is not None and step != expected and step <= resume_point.step:
        raise ValueError(f"{BEST_FILE} holds the weights of step {step} instead of those of step {expected}")
    return replace(resume_point, has_newer_best=step > resume_point.step)


def _read_step(file: Path) -> int:
    return int(read_checkpoint_lazily(file)["global_step"])


def check_same_fingerprint(resume_point: ResumePoint | None, job_fingerprint: Mapping[str, str]) -> None:
    """Check that the resume point, if there is one, agrees with this job in every entry of `job_fingerprint`.

    Raises:
        errors.AnotherJobError: names the entries that differ.
    """
    if resume_point is None:
        return
    if differences := compare_fingerprints(resume_point.job_fingerprint, job_fingerprint):
        raise errors.AnotherJobError(resume_point.file, differences)


def check_same_batches(resume_point: ResumePoint, job: JobSettings, processes: int) -> None:
    """Check that the training continues with the batches that it would have had without the interruption.

    With `max_batch_tokens`, they depend on the number of processes; without it, the rows of a step do not.

    Raises:
        errors.AnotherJobError: names both numbers of processes.
    """
    is_finished = resume_point.training_summary is not None
    if not is_finished and job.max_batch_tokens is not None and resume_point.processes != processes:
        entry = "processes, on which the batches of max_batch_tokens depend"
        raise errors.AnotherJobError(resume_point.file, {entry: (str(resume_point.processes), str(processes))})


def continue_with_more_epochs(resume_point: ResumePoint, job: JobSettings, max_epochs: int) -> ResumePoint:
    """Return the resume point for a training with `max_epochs`: a finished training with fewer epochs has not finished.

    Raises:
        errors.FewerEpochsError: `max_epochs` is smaller than in the job that wrote the checkpoint.
    """
    if max_epochs < resume_point.max_epochs:
        raise errors.FewerEpochsError(resume_point.file, resume_point.max_epochs, max_epochs)
    if max_epochs == resume_point.max_epochs:
        return resume_point
    log.warning("max_epochs is raised from %d to %d. The training continues.", resume_point.max_epochs, max_epochs)
    new_length = pluralize(max_epochs, "epoch")
    if job.schedule != "constant" or (job.warmup_steps is None and job.warmup_fraction):
        log.warning(
            "From here on, the learning rate is that of a training with %s. So far it was that of %s, so the result "
            "differs from a training with %s from the beginning.",
            *(new_length, pluralize(resume_point.max_epochs, "epoch"), new_length),
        )
    return replace(resume_point, training_summary=None)
