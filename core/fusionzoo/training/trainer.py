"""The Lightning trainer of a run: its options, its callbacks, and how it shares the work among processes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, Strategy

from fusionzoo.evaluation.metric_directions import LOSS_METRIC
from fusionzoo.settings import JobSettings
from fusionzoo.training import lightning_compat
from fusionzoo.training.checkpointing import best_checkpoints, checkpoint_io, greedy_soup
from fusionzoo.training.checkpointing.last_checkpoint import LastCheckpoint
from fusionzoo.training.checkpointing.random_state import RestoreRandomState
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.distributed import fsdp_support, process_group
from fusionzoo.training.distributed.world import World
from fusionzoo.training.guards.callbacks import guard_callbacks
from fusionzoo.training.guards.gradient_check import GradientCheck
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.monitoring import log_lines, tensorboard_scalars
from fusionzoo.training.monitoring.learning_curve import LearningCurve
from fusionzoo.training.monitoring.progress_bar import ProgressBar
from fusionzoo.training.monitoring.tensorboard_logger import TrainingLogger
from fusionzoo.training.precision import Precision
from fusionzoo.training.training_run import TrainingRun


def make_trainer(
    run: TrainingRun, batches: int, precision: Precision, strategy: str | Strategy, callbacks: Sequence[Callback]
) -> Trainer:
    """Return the trainer of a run, which has `batches` training batches per epoch and process."""
    job = run.job
    logger = TrainingLogger(run.paths.output_data, 0 if run.resume_point is None else run.resume_point.step)
    trainer = Trainer(
        default_root_dir=run.paths.output_data,
        accelerator="auto",
        devices=run.world.local_size,
        num_nodes=run.world.hosts,
        strategy=strategy,
        precision=precision,
        max_epochs=job.max_epochs,
        accumulate_grad_batches=job.accumulate_grad_batches,
        gradient_clip_val=job.gradient_clip_val or None,
        val_check_interval=job.count_batches_between_validations(batches),
        log_every_n_steps=max(1, min(50, batches // 20)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=logger,
        plugins=[checkpoint_io.AtomicCheckpoints(run.job_fingerprint)],
        profiler=run.throughput.data_wait,
        callbacks=list(callbacks),
    )
    logger.trainer = trainer
    logger.log_settings(
        run.architecture.hyperparameters.as_flat_dict(), {job.early_stop_metric: None, LOSS_METRIC: None}
    )
    return trainer


def make_callbacks(
    run: TrainingRun,
    splits: SplitsDataModule,
    last_checkpoint: LastCheckpoint,
    learning_curve: LearningCurve,
    progress_bar: ProgressBar | None,
) -> list[Callback]:
    """Return the callbacks of a run in the order in which Lightning calls them.

    Random states are restored before anything draws from them, and guards stop a training before anything is saved.
    Lightning itself moves the callbacks that save checkpoints to the end.
    """
    job, folder, architecture = run.job, run.paths.checkpoints, run.architecture
    return [
        RestoreRandomState(),
        *lightning_compat.make_compat_callbacks(),
        GradientCheck(architecture.model.claim),
        *guard_callbacks(job, splits, run.label_limits),
        *best_checkpoints.make_checkpoint_callbacks(folder, job, architecture.metric_directions),
        *greedy_soup.make_soup_callbacks(folder, job, architecture.metric_directions),
        run.throughput,
        tensorboard_scalars.TensorBoardScalars(run.throughput),
        learning_curve,
        log_lines.ValidationLogger(learning_curve),
        progress_bar or log_lines.IntervalLogger(run.throughput),
        *architecture.model.callbacks(architecture.hyperparameters.model),
        last_checkpoint.time_limit,
        last_checkpoint,
    ]


def choose_strategy(job: JobSettings, world: World) -> tuple[type[TrainingModule], str | Strategy]:
    """Return the LightningModule's class and Lightning's strategy for this number of processes."""
    if world.size == 1:
        return TrainingModule, "auto"
    if fsdp_support.uses_fsdp(job, world):
        # Importing this needs newer libraries than the rest of the package.
        from fusionzoo.training.distributed.fsdp import ShardedTrainingModule, make_fsdp_strategy

        return ShardedTrainingModule, make_fsdp_strategy(world)
    # An architecture may leave parameters out of a step, such as those of an idle expert.
    return TrainingModule, DDPStrategy(find_unused_parameters=True, timeout=process_group.COLLECTIVE_TIMEOUT)


@contextmanager
def ignore_expected_warnings() -> Iterator[None]:
    """Suppress warnings of libraries about what is intended."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # each process computes the metrics of all rows
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before.*")  # the data resumes too
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")  # the lock is in it
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # raised inside Lightning
        warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start of training.*")  # a frozen encoder
        yield
