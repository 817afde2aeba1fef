"""Training itself: from a model that was built to the best checkpoint."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from fusionzoo import errors
from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.hyperparameters import consistency
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import lightning_compat, losses, optimizers, precision, torch_compile
from fusionzoo.training.checkpointing import best_checkpoints, greedy_soup
from fusionzoo.training.checkpointing.resume_point import LastCheckpoint, RestoreRandomState, ResumePoint
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.distributed import collectives, fsdp_support, process_group
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.frozen import features
from fusionzoo.training.frozen.features import SplitFeatures
from fusionzoo.training.guards import divergence, memory
from fusionzoo.training.module import Classifier
from fusionzoo.training.monitoring import log_lines, progress_bar, tensorboard_scalars
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.prepare_data import TrainingData, make_cache

log = logging.getLogger(__name__)


def fit(
    paths: Paths,
    architecture: Architecture,
    built: BuiltModel,
    data: TrainingData,
    last: LastCheckpoint,
    world: World = SINGLE_PROCESS,
    earlier: ResumePoint | None = None,
    throughput: Throughput | None = None,
) -> dict[str, Any]:
    """Train to the best checkpoint in `paths.checkpoints`, from `earlier` on; returns how it went, for metrics.json.

    What it costs in this run stands in `throughput` afterwards.
    """
    job, train_split, chosen = architecture.job, data.splits["train"], precision.choose_precision(architecture.job)
    text, labels = data.preprocessor.text, data.preprocessor.labels
    encoded = encode_frozen_text(paths, architecture, built, data, chosen)
    empty_text = None if text is None else text.chunker.empty_text
    splits = SplitsDataModule(train_split, data.splits["val"], job, world.rank, world.size, encoded, empty_text)
    batches = splits.steps
    steps = optimizers.steps_per_epoch(batches, job) * job.max_epochs
    consistency.check_warmup(job, steps)
    weights = losses.class_weights(job, train_split, labels)
    pretrained = built.text_encoder if architecture.encoder_is_pretrained else None
    own = architecture.model.parameter_groups(built.model, architecture.hyperparameters.model)
    groups = optimizers.parameter_groups(built.model, pretrained, job, own)
    kind, strategy = choose_strategy(job, world)
    module = kind(built.model, job, groups, weights, steps, last.local_requests)
    if earlier is None:
        delete_stale_checkpoints(paths)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips and device lists
    throughput = throughput or Throughput(Phases())
    shown = progress_bar.ProgressBar(throughput) if world.is_first and progress_bar.can_show_progress_bar() else None
    trainer = Trainer(
        default_root_dir=paths.output_data,
        accelerator="auto",
        devices=world.local_size,
        num_nodes=world.hosts,
        strategy=strategy,
        precision=chosen,
        max_epochs=job.max_epochs,
        accumulate_grad_batches=job.accumulate_grad_batches,
        gradient_clip_val=job.gradient_clip_val or None,
        val_check_interval=max(1, round(batches * job.val_check_interval)),
        log_every_n_steps=max(1, min(50, batches // 20)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=TensorBoardLogger(paths.output_data, name="tensorboard", version=""),
        plugins=[best_checkpoints.AtomicCheckpoints()],
        profiler=throughput.wait,
        callbacks=[
            RestoreRandomState(),
            *lightning_compat.compat_callbacks(),
            *divergence.guard_callbacks(job, splits),
            *best_checkpoints.checkpoint_callbacks(paths.checkpoints, job),
            *greedy_soup.soup_callbacks(paths.checkpoints, job),
            throughput,
            tensorboard_scalars.TensorBoardScalars(throughput),
            log_lines.ValidationLogger(throughput),
            shown or log_lines.IntervalLogger(throughput),
            *architecture.model.callbacks(architecture.hyperparameters.model),
            last,
        ],
    )
    log_lines.log_training_start(job, built.model, train_split, labels.classes, batches, chosen, world.size)
    module.train()  # Lightning keeps the mode it finds, and a pretrained encoder comes in evaluation mode
    replaced, running = (built.text_encoder, None) if encoded else (None, built.text_encoder)
    with ExitStack() as stack:
        stack.enter_context(features.replaced_encoder(replaced))
        stack.enter_context(torch_compile.compiled(built.model, running, job))
        stack.enter_context(last.termination.defer_stop())
        stack.enter_context(ignore_expected_warnings())
        stack.enter_context(memory.explain_training_memory(trainer, job, splits))
        stack.enter_context(throughput.watching(running, torch_compile.is_one_graph(built.model, running, job)))
        if shown is not None:
            stack.enter_context(shown.shown())
        trainer.fit(module, datamodule=splits, ckpt_path=None if earlier is None else earlier.file)
    if trainer.interrupted:  # before 2.3, Lightning takes an interrupt for an end
        raise KeyboardInterrupt
    summary = {
        **precision.decide_precision(job).told(),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "class_weights": weights,
        "best": best_checkpoints.describe_best(trainer),
        "top_checkpoints": greedy_soup.top_checkpoint_files(trainer),
    }
    last.finish(trainer, summary)
    return summary


@contextmanager
def ignore_expected_warnings() -> Iterator[None]:
    """Without warnings of libraries about what is meant to be so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # each process computes the figures of all of them
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before.*")  # the data go on, too
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # within Lightning
        warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start of training.*")  # a frozen encoder
        yield


def delete_stale_checkpoints(paths: Paths) -> None:
    """Remove checkpoints that a training from the beginning cannot use."""
    if not collectives.is_first_process():
        return
    if stale := [
        *best_checkpoints.delete_checkpoints(paths.checkpoints),
        *greedy_soup.delete_top_checkpoints(paths.checkpoints),
    ]:
        log.warning(errors.stale_checkpoints(paths.checkpoints, stale))


def choose_strategy(job: JobSettings, world: World) -> tuple[type[Classifier], str | Strategy]:
    """What trains, and how Lightning shares its work among processes."""
    if world.size == 1:
        return Classifier, "auto"
    if fsdp_support.uses_fsdp(job, world):
        from fusionzoo.training.distributed.fsdp import (
            ShardedClassifier,
            ShardedStrategy,
        )  # wants newer libraries than core

        return ShardedClassifier, ShardedStrategy(world)
    # An architecture may leave parameters out of a step, such as an idle expert's.
    return Classifier, DDPStrategy(find_unused_parameters=True, timeout=process_group.COLLECTIVE_TIMEOUT)


def encode_frozen_text(
    paths: Paths, architecture: Architecture, built: BuiltModel, data: TrainingData, chosen: precision.Precision
) -> dict[str, SplitFeatures]:
    """Where the text encoder is frozen, the features of train and val, from the cache or made now; otherwise none."""
    job, splits = architecture.job, {name: data.splits[name] for name in ("train", "val")}
    if built.text_encoder is None or not job.encode_once or not features.is_frozen(built.text_encoder):
        return {}
    if job.modality_dropout:
        return {}  # a text that is hidden has other features than the row's own
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = features.EncoderRun(built.model, built.text_encoder, chosen, device, job.batch_size, job.max_batch_tokens)
    return features.prepare_features(run, splits, make_cache(paths, job), architecture.encoder_identity(data.spec))
