"""From channels to encoded splits, and what only the data can tell about a job, before it costs anything."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.artifacts.predictions import prediction_columns
from fusionzoo.data import encoding, splitting
from fusionzoo.data.cache import Cache
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import hash_files
from fusionzoo.data.labels import Label
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.channel import Channel, open_channel
from fusionzoo.data.row_digests import count_rows_seen_in_train
from fusionzoo.data.splitting import SplitPart
from fusionzoo.hyperparameters import consistency
from fusionzoo.nn.schema import InputSpec
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """The encoded splits, `train`, `val` and perhaps `test`, and what encoded them; `contents` as `encoding` has it."""

    preprocessor: Preprocessor
    splits: Mapping[str, EncodedSplit]
    channels: Mapping[str, Channel | SplitPart]
    contents: Mapping[str, str]

    @property
    def spec(self) -> InputSpec:
        """What the model is built from."""
        return InputSpec.from_preprocessor(self.preprocessor)


def prepare_data(paths: Paths, architecture: Architecture, world: World = SINGLE_PROCESS) -> TrainingData:
    """Open the channels, fit on train alone, encode every split, and check what only the data can tell."""
    settings, job = architecture.data_settings, architecture.job
    channels = open_channels(paths, job, settings.columns)

    def check(rows: int) -> None:
        if job.max_batch_tokens is None:  # otherwise the number of steps is not known yet
            steps = optimizers.steps_per_epoch(-(-rows // job.batch_size), job)
            consistency.check_warmup(job, steps * job.max_epochs)

    encoded = encoding.encode_channels(
        settings, channels, make_cache(paths, job), job.seed, check, partial(_hash_files_once_per_host, world)
    )
    for warning in encoded.warnings:
        log.warning(warning)
    for name, split in encoded.splits.items():
        log_split(name, split, encoded.splits["train"])
    check_splits(encoded.splits, architecture, encoded.preprocessor.labels.classes)
    return TrainingData(encoded.preprocessor, encoded.splits, channels, encoded.content_hashes)


def _hash_files_once_per_host(world: World, files: Sequence[Path]) -> Mapping[Path, str]:
    """Return the SHA-256 of each file. Only one process of each host reads the files."""
    return collectives.run_once_per_host(world, lambda: hash_files(files))


def make_cache(paths: Paths, job: JobSettings) -> Cache:
    """Where encoded data and features are kept."""
    return Cache(paths.cache, int(job.cache_limit_gb * 1e9))


def open_channels(paths: Paths, job: JobSettings, columns: Sequence[str]) -> dict[str, Channel | SplitPart]:
    """Train, val, and test where the job has it: channels of their own, or parts of train; all faults together."""
    fractions = {"val": job.val_fraction, "test": job.test_fraction}
    shares = {name: share for name, share in fractions.items() if share is not None}
    declared = paths.read_channel_configs() or {}
    there = {name for name in fractions if paths.channel(name).exists() or name in declared}
    problems = errors.ProblemLog()
    for name in [name for name in shares if name in there]:
        problems.keep(errors.split_twice(name, paths.channel(name)))
    opened: dict[str, Channel] = {}
    for name in sorted({"train", "val", *there} - shares.keys()):
        also = [job.group_field] if name == "train" and job.group_field is not None else []
        with problems.kept():
            opened[name] = open_channel(name, paths.channel(name), list(dict.fromkeys([*columns, *also])))
    problems.raise_if_any()
    train = replace(opened["train"], columns=tuple(columns))
    channels: dict[str, Channel | SplitPart] = {**opened, "train": train}
    if shares:
        channels |= splitting.split_channel(train, shares, job.label_name, job.seed, job.group_field)
    if "test" not in channels:
        log.warning(errors.no_test_channel(paths.channel("test")))
    return {name: channels[name] for name in ("train", *fractions) if name in channels}


def log_split(name: str, split: EncodedSplit, train: EncodedSplit) -> None:
    """Log a split's size and what a user should know about its rows."""
    log.info("%s: %d rows, %d chunks, %d tokens", name, len(split), len(split.chunk_starts) - 1, len(split.tokens))
    if split.empty_texts:
        log.info("%s: %d rows have no text; they are used with an empty one", name, split.empty_texts)
    if split.dropped_tokens:
        log.warning(errors.tokens_dropped(name, split.dropped_share))
    if split.duplicate_ids:
        log.warning(errors.ids_doubled(name, split.duplicate_ids))
    if name != "train" and (seen := count_rows_seen_in_train(split, train)):
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
    prediction_columns(job.id_name, job.label_name, classes)
    if val.labels is not None and len(np.unique(val.labels)) < 2 and job.early_stop_metric.startswith("val/"):
        raise errors.DataError([errors.val_has_one_class(job.early_stop_metric)])
