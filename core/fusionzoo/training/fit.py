"""Fit one model: from a training run to the best checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import Strategy

from fusionzoo.hyperparameters import consistency
from fusionzoo.training import lightning_compat, optimizers, torch_compile
from fusionzoo.training.checkpointing import best_checkpoints, checkpoint_io, greedy_soup
from fusionzoo.training.checkpointing.early_end import EndedEarlyError
from fusionzoo.training.checkpointing.last_checkpoint import STEPS_BETWEEN_SYNCS, LastCheckpoint
from fusionzoo.training.checkpointing.plugin_code import fingerprint_code
from fusionzoo.training.checkpointing.restore_check import RestoreCheck
from fusionzoo.training.checkpointing.time_limit import TimeBudget, TimeLimit
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.device import find_device
from fusionzoo.training.distributed import collectives
from fusionzoo.training.frozen import features
from fusionzoo.training.frozen.encoder_run import EncoderRun
from fusionzoo.training.frozen.feature_batches import SplitFeatures, replace_encoder
from fusionzoo.training.guards import memory
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.monitoring import log_lines
from fusionzoo.training.monitoring.learning_curve import LearningCurve
from fusionzoo.training.monitoring.progress_bar import ProgressBar, can_show_progress_bar
from fusionzoo.training.precision import Precision
from fusionzoo.training.prepare_data import make_cache
from fusionzoo.training.trainer import choose_strategy, ignore_expected_warnings, make_callbacks, make_trainer
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)


def fit(run: TrainingRun, budget: TimeBudget | None = None) -> dict[str, Any]:
    """Train, and leave the best checkpoint in `run.paths.checkpoints`; return the training summary for metrics.json.

    Afterwards, `run.throughput` holds what this run has trained, and in how much time. A training that SIGTERM or
    `max_minutes` has ended has not finished: its last checkpoint is in the middle of the training.

    Args:
        run: the run.
        budget: when the training has to end because of `max_minutes`; only the first process has it.
    """
    job, train = run.job, run.data.splits["train"]
    precision = run.precision.precision
    frozen_features = encode_frozen_text(run, precision)
    splits = make_data_module(run, frozen_features)
    consistency.check_warmup(job, count_steps(run, splits))
    module, strategy = make_module(run, splits)
    if run.resume_point is None and collectives.is_first_process():
        delete_stale_checkpoints(run.paths.checkpoints)
    last_checkpoint = make_last_checkpoint(run, budget)
    progress_bar = ProgressBar(run.throughput) if run.world.is_first and can_show_progress_bar() else None
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # without its tips and lists of devices
    learning_curve = LearningCurve(job.early_stop_metric)
    restore_check = RestoreCheck(None if run.resume_point is None else run.resume_point.file)
    callbacks = [*make_callbacks(run, splits, last_checkpoint, learning_curve, progress_bar), restore_check]
    trainer = make_trainer(run, splits.steps, precision, strategy, callbacks)
    log_lines.log_model_size(job, run.built.model)
    log_lines.log_training_start(job, train, run.task, splits.steps, precision, run.world.size)
    module.train()  # Lightning keeps the mode of a module, and a pretrained encoder comes in evaluation mode
    early_end: EndedEarlyError | None = None
    with run.termination.defer_stop(finishes=job.ship_on_stop):
        try:
            with restore_check.report_failed_restore(), fit_contexts(run, trainer, splits, progress_bar):
                trainer.fit(module, datamodule=splits, ckpt_path=run.resume_point.file if run.resume_point else None)
            lightning_compat.raise_if_interrupted(trainer)
        except EndedEarlyError as end:
            early_end = end
            log.warning("%s has ended the training after step %d of epoch %d.", end.reason, end.step, end.epoch)
        summary = {
            **run.describe(),
            "ended_by": best_checkpoints.find_end_reason(trainer) if early_end is None else early_end.reason,
            "steps": trainer.global_step,
            "epochs": trainer.current_epoch if early_end is None else early_end.epoch,
            "best": best_checkpoints.describe_best(trainer),
            "validations": learning_curve.validations,
            "top_checkpoints": greedy_soup.list_top_checkpoints(trainer),
        }
        if early_end is None:
            last_checkpoint.save_finished(trainer, summary)
    return summary


def make_last_checkpoint(run: TrainingRun, budget: TimeBudget | None) -> LastCheckpoint:
    """Return the callback that saves the training state and ends the training in time."""
    exchanges_rarely = run.world.size > 1 and torch.cuda.is_available()
    time_limit = TimeLimit(budget, STEPS_BETWEEN_SYNCS if exchanges_rarely else 1)
    stored = {"precision": asdict(run.precision), "init_report": run.init_report, "choices": run.job.choices()}
    return LastCheckpoint(run.paths.checkpoints, run.job, run.termination, stored, time_limit)


def encode_frozen_text(run: TrainingRun, precision: Precision) -> dict[str, SplitFeatures]:
    """Return the features of train and val, computed or from the cache, if the text encoder is frozen; else none."""
    job, encoder, plugin = run.job, run.built.text_encoder, run.architecture.encoder
    if encoder is None or plugin is None or not job.encode_once or not features.is_frozen(encoder):
        return {}
    if job.modality_dropout:
        return {}  # the features of a dropped text are not those of the row's own text
    encoder_run = EncoderRun(run.built.model, encoder, precision, find_device(), job.batch_size, job.max_batch_tokens)
    splits = {name: run.data.splits[name] for name in ("train", "val")}
    identity = {**run.architecture.describe_encoder(run.data.spec), "code": fingerprint_code(encoder, [plugin])}
    return features.prepare_features(encoder_run, splits, make_cache(run.paths, job), identity)


def make_data_module(run: TrainingRun, frozen_features: Mapping[str, SplitFeatures]) -> SplitsDataModule:
    """Return the data module that feeds this process's share of train and val."""
    splits, text = run.data.splits, run.data.preprocessor.text
    return SplitsDataModule(
        splits["train"],
        splits["val"],
        run.job,
        world=run.world,
        features=frozen_features,
        empty_text=None if text is None else text.chunker.empty_text,
    )


def count_steps(run: TrainingRun, splits: SplitsDataModule) -> int:
    """Return the number of optimizer steps of the whole training."""
    return optimizers.steps_per_epoch(splits.steps, run.job) * run.job.max_epochs


def make_module(run: TrainingRun, splits: SplitsDataModule) -> tuple[TrainingModule, str | Strategy]:
    """Return the LightningModule around the model, and the strategy that trains it."""
    plugin_groups = run.architecture.model.parameter_groups(run.built.model, run.architecture.hyperparameters.model)
    groups = optimizers.parameter_groups(
        run.built.model, run.pretrained_encoder, run.job, plugin_groups, run.built.adapters
    )
    module_class, strategy = choose_strategy(run.job, run.world)
    steps, compute_metrics = count_steps(run, splits), run.evaluator.compute_metrics
    return module_class(run.built.model, run.job, groups, run.objective, compute_metrics, steps), strategy


def delete_stale_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of an earlier run, which a training from the beginning cannot use, with a warning."""
    names = [*checkpoint_io.delete_checkpoints(folder), *greedy_soup.delete_top_checkpoints(folder)]
    if names:
        log.warning(
            "Deleted the checkpoints %s of an earlier run from %s. Training starts from the beginning.",
            *(", ".join(names), folder),
        )


@contextmanager
def fit_contexts(
    run: TrainingRun, trainer: Trainer, splits: SplitsDataModule, progress_bar: ProgressBar | None
) -> Iterator[None]:
    """Enter what holds only while the trainer fits: compiled code, error handling, the progress bar."""
    job, model, encoder = run.job, run.built.model, run.built.text_encoder
    has_features = bool(splits.features)  # then the text encoder does not run
    running_encoder = None if has_features else encoder
    with ExitStack() as stack:
        stack.enter_context(replace_encoder(encoder if has_features else None))
        stack.enter_context(torch_compile.compile_for_training(model, running_encoder, job))
        stack.enter_context(ignore_expected_warnings())
        stack.enter_context(memory.explain_training_memory(trainer, job))
        is_one_graph = torch_compile.is_one_graph(model, running_encoder, job)
        stack.enter_context(run.throughput.count_tokens(running_encoder, is_one_graph))
        if progress_bar is not None:
            stack.enter_context(progress_bar.show())
        yield
