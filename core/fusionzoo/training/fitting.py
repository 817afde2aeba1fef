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

from fusionzoo import errors, hyperparameters
from fusionzoo.architecture import Architecture, Built
from fusionzoo.sagemaker import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import (
    averaging,
    bar,
    bridging,
    checkpoints,
    compiling,
    curves,
    features,
    guards,
    losses,
    memory,
    optimizers,
    precision,
    processes,
    progress,
    sharding,
)
from fusionzoo.training.datamodule import SplitsModule
from fusionzoo.training.features import SplitFeatures
from fusionzoo.training.module import Classifier
from fusionzoo.training.phases import Phases
from fusionzoo.training.preparing import Data, cache_of
from fusionzoo.training.processes import ALONE, World
from fusionzoo.training.resuming import Earlier, LastCheckpoint, RandomStates
from fusionzoo.training.throughput import Throughput

log = logging.getLogger(__name__)


def fit(
    paths: Paths,
    architecture: Architecture,
    built: Built,
    data: Data,
    last: LastCheckpoint,
    world: World = ALONE,
    earlier: Earlier | None = None,
    throughput: Throughput | None = None,
) -> dict[str, Any]:
    """Train to the best checkpoint in `paths.checkpoints`, from `earlier` on; returns how it went, for metrics.json.

    What it costs in this run stands in `throughput` afterwards.
    """
    job, train_split, chosen = architecture.job, data.splits["train"], precision.choose(architecture.job)
    text, labels = data.preprocessor.text, data.preprocessor.labels
    encoded = encode_once(paths, architecture, built, data, chosen)
    empty_text = None if text is None else text.chunker.empty_text
    splits = SplitsModule(train_split, data.splits["val"], job, world.rank, world.size, encoded, empty_text)
    batches = splits.steps
    steps = optimizers.steps_of(batches, job) * job.max_epochs
    hyperparameters.check_warmup(job, steps)
    weights = losses.class_weights(job, train_split, labels)
    pretrained = built.text_encoder if architecture.encoder_is_pretrained else None
    own = architecture.model.parameter_groups(built.model, architecture.hyperparameters.model)
    groups = optimizers.parameter_groups(built.model, pretrained, job, own)
    kind, strategy = shared_by(job, world)
    module = kind(built.model, job, groups, weights, steps, last.wishes)
    if earlier is None:
        make_room(paths)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips and device lists
    throughput = throughput or Throughput(Phases())
    shown = bar.Bar(throughput) if world.is_first and bar.can_show() else None
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
        plugins=[checkpoints.AtomicCheckpoints()],
        profiler=throughput.wait,
        callbacks=[
            RandomStates(),
            *bridging.callbacks(),
            *guards.callbacks(job, splits),
            *checkpoints.callbacks(paths.checkpoints, job),
            *averaging.callbacks(paths.checkpoints, job),
            throughput,
            curves.Curves(throughput),
            progress.ValidationLines(throughput),
            shown or progress.IntervalLines(throughput),
            *architecture.model.callbacks(architecture.hyperparameters.model),
            last,
        ],
    )
    progress.announce(job, built.model, train_split, labels.classes, batches, chosen, world.size)
    module.train()  # Lightning keeps the mode it finds, and a pretrained encoder comes in evaluation mode
    replaced, running = (built.text_encoder, None) if encoded else (None, built.text_encoder)
    with ExitStack() as stack:
        stack.enter_context(features.in_place_of(replaced))
        stack.enter_context(compiling.compiled(built.model, running, job))
        stack.enter_context(last.termination.waits())
        stack.enter_context(quiet())
        stack.enter_context(memory.advice(trainer, job, splits))
        stack.enter_context(throughput.watching(running, compiling.in_one_graph(built.model, running, job)))
        if shown is not None:
            stack.enter_context(shown.shown())
        trainer.fit(module, datamodule=splits, ckpt_path=None if earlier is None else earlier.file)
    if trainer.interrupted:  # before 2.3, Lightning takes an interrupt for an end
        raise KeyboardInterrupt
    summary = {
        **precision.decide(job).told(),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "class_weights": weights,
        "best": checkpoints.best(trainer),
        "top_checkpoints": averaging.kept_by(trainer),
    }
    last.finish(trainer, summary)
    return summary


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of libraries about what is meant to be so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # each process computes the figures of all of them
        warnings.filterwarnings("ignore", ".*resuming from a checkpoint that ended before.*")  # the data go on, too
        warnings.filterwarnings("ignore", ".*LeafSpec.*")  # within Lightning
        warnings.filterwarnings("ignore", ".*module.s. in eval mode at the start of training.*")  # a frozen encoder
        yield


def make_room(paths: Paths) -> None:
    """Remove checkpoints that a training from the beginning cannot use."""
    if not processes.is_first():
        return
    if stale := [*checkpoints.clear(paths.checkpoints), *averaging.clear(paths.checkpoints)]:
        log.warning(errors.stale_checkpoints(paths.checkpoints, stale))


def shared_by(job: JobSettings, world: World) -> tuple[type[Classifier], str | Strategy]:
    """What trains, and how Lightning shares its work among processes."""
    if world.size == 1:
        return Classifier, "auto"
    if sharding.is_sharded(job, world):
        from fusionzoo.training.sharded import ShardedClassifier, ShardedStrategy  # wants newer libraries than core

        return ShardedClassifier, ShardedStrategy(world)
    # An architecture may leave parameters out of a step, such as an idle expert's.
    return Classifier, DDPStrategy(find_unused_parameters=True, timeout=processes.PATIENCE)


def encode_once(
    paths: Paths, architecture: Architecture, built: Built, data: Data, chosen: precision.Precision
) -> dict[str, SplitFeatures]:
    """Where the text encoder is frozen, the features of train and val, from the cache or made now; otherwise none."""
    job, splits = architecture.job, {name: data.splits[name] for name in ("train", "val")}
    if built.text_encoder is None or not job.encode_once or not features.is_frozen(built.text_encoder):
        return {}
    if job.modality_dropout:
        return {}  # a text that is hidden has other features than the row's own
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = features.Run(built.model, built.text_encoder, chosen, device, job.batch_size, job.max_batch_tokens)
    return features.prepare(run, splits, cache_of(paths, job), architecture.encoder_identity(data.spec))
