"""A training job from its folders to its artifacts. This page is the table of contents: read it first."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from fusionzoo import errors, hyperparameters
from fusionzoo.architecture import Architecture, Built, choose
from fusionzoo.artifacts import bundle, onnx, predictions
from fusionzoo.artifacts.files import check_writable, staged, writing
from fusionzoo.artifacts.names import ONNX_FILE, PREDICT_RESULTS_FILE
from fusionzoo.data import encoding, splitting
from fusionzoo.data.cache import Cache
from fusionzoo.data.digests import seen_before
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import Label
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading import Channel, open_channel
from fusionzoo.data.splitting import Part
from fusionzoo.evaluation.report import Report, Scored, evaluate
from fusionzoo.nn.schema import InputSpec
from fusionzoo.nn.scoring import score
from fusionzoo.sagemaker import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import (
    averaging,
    checkpoints,
    features,
    guards,
    learning,
    losses,
    memory,
    optimizers,
    precision,
    progress,
)
from fusionzoo.training.datamodule import SplitsModule
from fusionzoo.training.features import SplitFeatures
from fusionzoo.training.module import Classifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """The encoded splits, `train`, `val` and perhaps `test`, and what encoded them."""

    preprocessor: Preprocessor
    splits: Mapping[str, EncodedSplit]
    channels: Mapping[str, Channel | Part]

    @property
    def spec(self) -> InputSpec:
        """What the model is built from."""
        return InputSpec.of(self.preprocessor)


def train(paths: Paths) -> Report:
    """Run the job whose folders are `paths`; returns the evaluation of the best checkpoint.

    Raises:
        errors.ZooError: something a user can mend; nothing half-written is left.
    """
    architecture = choose(hyperparameters.read(paths))
    job = architecture.job
    for folder in (paths.model, paths.output_data, paths.checkpoints):
        check_writable(folder)
    if warning := learning.rate_warning(job, architecture.encoder_is_tuned):
        log.warning(warning)
    data = prepare(paths, architecture)
    seed_everything(job.seed, verbose=False)
    built = architecture.build(data.spec, pretrained=True)
    rehearse(paths, built.model, data)
    summary = fit(paths, architecture, built, data)
    checkpoints.load_best(paths.checkpoints, built.model)
    built.model.to("cuda" if torch.cuda.is_available() else "cpu")  # Lightning leaves it on the CPU
    if top := summary["top_checkpoints"]:
        weights = summary["class_weights"]
        soup = averaging.average(paths.checkpoints, built.model, data.splits["val"], job, top, weights)
        summary = {**summary, "averaging": soup}
    scored = {name: split for name, split in data.splits.items() if name != "train"}
    with memory.scoring_advice(scored.values(), job, next(built.model.parameters()).device):
        scores = {
            name: score(built.model, split, job.batch_size, max_tokens=job.max_batch_tokens)
            for name, split in scored.items()
        }
    return write(paths, architecture, built.model, data, scores, summary)


def prepare(paths: Paths, architecture: Architecture) -> Data:
    """Open the channels, fit on train alone, encode every split, and check what only the data can tell."""
    settings, job = architecture.data_settings, architecture.job
    channels = open_channels(paths, job, settings.columns)

    def check(rows: int) -> None:
        if job.max_batch_tokens is None:  # otherwise the number of steps is not known yet
            steps = optimizers.steps_of(-(-rows // job.batch_size), job)
            hyperparameters.check_warmup(job, steps * job.max_epochs)

    encoded = encoding.encode(settings, channels, cache_of(paths, job), job.seed, check)
    for warning in encoded.warnings:
        log.warning(warning)
    for name, split in encoded.splits.items():
        describe(name, split, encoded.splits["train"])
    check_splits(encoded.splits, architecture, encoded.preprocessor.labels.classes)
    return Data(encoded.preprocessor, encoded.splits, channels)


def cache_of(paths: Paths, job: JobSettings) -> Cache:
    """Where encoded data and features are kept."""
    return Cache(paths.cache, int(job.cache_limit_gb * 1e9))


def open_channels(paths: Paths, job: JobSettings, columns: Sequence[str]) -> dict[str, Channel | Part]:
    """Train, val, and test where the job has it: channels of their own, or parts of train; all faults together."""
    fractions = {"val": job.val_fraction, "test": job.test_fraction}
    shares = {name: share for name, share in fractions.items() if share is not None}
    declared = paths.channels_declared() or {}
    there = {name for name in fractions if paths.channel(name).exists() or name in declared}
    faults = errors.FaultLog()
    for name in [name for name in shares if name in there]:
        faults.keep(errors.split_twice(name, paths.channel(name)))
    opened: dict[str, Channel] = {}
    for name in sorted({"train", "val", *there} - shares.keys()):
        also = [job.group_field] if name == "train" and job.group_field is not None else []
        with faults.kept():
            opened[name] = open_channel(name, paths.channel(name), list(dict.fromkeys([*columns, *also])))
    faults.raise_if_any()
    train = replace(opened["train"], columns=tuple(columns))
    channels: dict[str, Channel | Part] = {**opened, "train": train}
    if shares:
        channels |= splitting.divide(train, shares, job.label_name, job.seed, job.group_field)
    if "test" not in channels:
        log.warning(errors.no_test_channel(paths.channel("test")))
    return {name: channels[name] for name in ("train", *fractions) if name in channels}


def describe(name: str, split: EncodedSplit, train: EncodedSplit) -> None:
    """Log a split's size and what a user should know about its rows."""
    log.info("%s: %d rows, %d chunks, %d tokens", name, len(split), len(split.chunk_starts) - 1, len(split.tokens))
    if split.empty_texts:
        log.info("%s: %d rows have no text; they are used with an empty one", name, split.empty_texts)
    if split.dropped_tokens:
        log.warning(errors.tokens_dropped(name, split.dropped_share))
    if split.doubled_ids:
        log.warning(errors.ids_doubled(name, split.doubled_ids))
    if name != "train" and (seen := seen_before(split, train)):
        log.warning(errors.rows_seen_in_train(name, seen, len(split)))


def check_splits(splits: Mapping[str, EncodedSplit], architecture: Architecture, classes: Sequence[Label]) -> None:
    """Find out before training what would make it useless, or its outputs impossible to write.

    Raises:
        errors.DataError: train has no text at all, or val cannot give the early-stopping metric.
        errors.PredictionColumnsError: columns of the prediction files would share a name.
    """
    train, val, job = splits["train"], splits["val"], architecture.job
    if train.has_text and train.empty_texts == len(train):
        raise errors.DataError([errors.no_text(architecture.data_settings.text_columns)])
    predictions.prediction_columns(job.id_name, job.label_name, classes)
    if val.labels is not None and len(np.unique(val.labels)) < 2 and job.early_stop_metric.startswith("val/"):
        raise errors.DataError([errors.val_has_one_class(job.early_stop_metric)])


def rehearse(paths: Paths, model: nn.Module, data: Data) -> None:
    """Export the untrained model once, so that one which cannot be shipped fails before it costs anything."""
    with writing(paths.model), tempfile.TemporaryDirectory(dir=paths.model, prefix=".rehearsal-") as folder:
        onnx.export(model, data.splits["val"], Path(folder) / ONNX_FILE)


def fit(paths: Paths, architecture: Architecture, built: Built, data: Data) -> dict[str, Any]:
    """Train to the best checkpoint in `paths.checkpoints`; returns how it went, for metrics.json."""
    job, train_split, chosen = architecture.job, data.splits["train"], precision.choose(architecture.job)
    text, labels = data.preprocessor.text, data.preprocessor.labels
    encoded = encode_once(paths, architecture, built, data, chosen)
    empty_text = None if text is None else text.chunker.empty_text
    splits = SplitsModule(train_split, data.splits["val"], job, features=encoded, empty_text=empty_text)
    batches = splits.steps
    steps = optimizers.steps_of(batches, job) * job.max_epochs
    hyperparameters.check_warmup(job, steps)
    weights = losses.class_weights(job, train_split, labels)
    pretrained = built.text_encoder if architecture.encoder_is_pretrained else None
    own = architecture.model.parameter_groups(built.model, architecture.hyperparameters.model)
    groups = optimizers.parameter_groups(built.model, pretrained, job, own)
    module = Classifier(built.model, job, groups, weights, steps)
    if stale := [*checkpoints.clear(paths.checkpoints), *averaging.clear(paths.checkpoints)]:
        log.warning(errors.stale_checkpoints(paths.checkpoints, stale))
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips and device lists
    terminal = sys.stdout.isatty()
    trainer = Trainer(
        default_root_dir=paths.output_data,
        accelerator="auto",
        devices=1,
        precision=chosen,
        max_epochs=job.max_epochs,
        accumulate_grad_batches=job.accumulate_grad_batches,
        gradient_clip_val=job.gradient_clip_val or None,
        val_check_interval=max(1, round(batches * job.val_check_interval)),
        log_every_n_steps=max(1, min(50, batches)),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        logger=TensorBoardLogger(paths.output_data, name="tensorboard", version=""),
        plugins=[checkpoints.AtomicCheckpoints()],
        callbacks=[
            *guards.callbacks(job, splits),
            *checkpoints.callbacks(paths.checkpoints, job),
            *averaging.callbacks(paths.checkpoints, job),
            *progress.callbacks(terminal),
            *architecture.model.callbacks(architecture.hyperparameters.model),
        ],
    )
    log.info("Training %s: %d batches per epoch, precision %s", job.model_class, batches, chosen)
    module.train()  # Lightning keeps the mode it finds, and a pretrained encoder comes in evaluation mode
    with features.in_place_of(built.text_encoder if encoded else None), memory.advice(trainer, job, splits):
        trainer.fit(module, datamodule=splits)
    return {
        **precision.decide(job).told(),
        "steps": trainer.global_step,
        "epochs": trainer.current_epoch,
        "class_weights": weights,
        "top_checkpoints": averaging.kept_by(trainer),
    }


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


def write(
    paths: Paths,
    architecture: Architecture,
    model: nn.Module,
    data: Data,
    scores: Mapping[str, np.ndarray],
    summary: Mapping[str, Any],
) -> Report:
    """Evaluate, and leave the contract's artifacts, each proven by reading it back."""
    classes = data.preprocessor.labels.classes
    truth = {name: labels for name in scores if (labels := data.splits[name].labels) is not None}
    report = evaluate({name: Scored(truth[name], values) for name, values in scores.items()}, classes)
    settings = architecture.data_settings
    shipped = "test" if "test" in scores else "val"
    with staged(paths.output_data) as folder:
        for name, values in scores.items():
            kind, split = data.channels[name].format, data.splits[name]
            predictions.write_predictions(
                folder / f"{name}_predictions.{kind}",
                kind,
                split.ids,
                settings.id_name,
                settings.label_name,
                classes,
                truth[name],
                values,
            )
        ids = data.splits[shipped].ids
        predictions.write_predict_results(
            folder / PREDICT_RESULTS_FILE, ids, truth[shipped], scores[shipped], classes, shipped
        )
        report.write(folder, {"training": dict(summary)})
        bundle.write(paths.model, architecture, data.preprocessor, model, data.splits["val"], scores["val"])
    remove_stale_predictions(paths.output_data, {f"{name}_predictions.{data.channels[name].format}" for name in scores})
    for path in sorted([*paths.model.iterdir(), *paths.output_data.iterdir()]):
        log.info("Wrote %s%s", path, os.sep if path.is_dir() else "")
    return report


def remove_stale_predictions(folder: Path, written: Collection[str]) -> None:
    """Remove prediction files of an earlier run, in another format or of a split that this job does not have."""
    for path in folder.glob("*_predictions.*"):
        if path.name not in written:
            path.unlink()
