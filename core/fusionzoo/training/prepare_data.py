"""From the channels to encoded splits, and the checks that only the data allows, before the expensive steps begin."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.artifacts.manifest import SplitFingerprint
from fusionzoo.artifacts.predictions import prediction_columns
from fusionzoo.data import encoding, splitting
from fusionzoo.data.cache import Cache
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import hash_files
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import Channel, open_channel, warn_of_similar_columns, with_numbered_columns
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.row_digests import count_rows_seen_in_train
from fusionzoo.data.split_report import SplitReport, report_split, warn_of_shares
from fusionzoo.data.splitting import SplitPart
from fusionzoo.data.targets.target import SPLITS_WITH_OPTIONAL_LABELS, find_labeled_rows
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.errors.wording import pluralize
from fusionzoo.hyperparameters import consistency
from fusionzoo.nn.schema import InputSpec
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.decision_settings import find_threshold_count_problem
from fusionzoo.tasks.task import Task
from fusionzoo.tasks.task_choice import choose_task
from fusionzoo.training import optimizers
from fusionzoo.training.channel_folders import find_channel_folders, list_unused_channels
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.target_range import check_target_range
from fusionzoo.training.training_length import choose_epochs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """The encoded splits (`train`, `val` and perhaps `test`) and the preprocessor that encoded them.

    `contents` holds a hash of each split's files and of the tokenizer's files, `reports` the shares of what the
    preprocessor does not know of each split.
    """

    preprocessor: Preprocessor
    splits: Mapping[str, EncodedSplit]
    channels: Mapping[str, Channel | SplitPart]
    contents: Mapping[str, str]
    reports: Mapping[str, SplitReport]

    @property
    def spec(self) -> InputSpec:
        """The input specification that the model is built from."""
        return InputSpec.from_preprocessor(self.preprocessor)

    @property
    def task(self) -> Task:
        """The task of the job, with its fitted target."""
        return choose_task(self.preprocessor)

    def describe_splits(self) -> dict[str, SplitFingerprint]:
        """Return the rows of each split, and the hash of the files that they were read from."""
        return {
            name: SplitFingerprint(rows=len(split), files=self.contents[name]) for name, split in self.splits.items()
        }


def prepare_data(
    paths: Paths, architecture: Architecture, world: World = SINGLE_PROCESS, *, needs_word_vectors: bool = True
) -> TrainingData:
    """Open the channels, fit the preprocessor on train, encode every split, and check the splits.

    Without `needs_word_vectors`, tokenizer `word` gets no vectors, and no network can be built from the result. It gets
    none either if the text encoder does not use them.
    """
    settings, job = architecture.data_settings, architecture.job
    channels = open_channels(paths, job, settings.columns)
    header = channels["train"].files[0].options.header
    settings = settings.model_copy(update={"csv_header": header if isinstance(header, bool) else list(header)})

    def check_row_count(rows: int) -> None:
        if job.max_batch_tokens is None:  # otherwise the number of steps is not known yet
            steps = optimizers.steps_per_epoch(-(-rows // job.batch_size), job)
            epochs = choose_epochs(architecture, is_tuned=False, rows=rows, tokens=0)  # the most that it can be
            consistency.check_warmup(job, steps * epochs)

    seed = job.seed if needs_word_vectors and architecture.uses_word_vectors else None
    encoded = encoding.encode_channels(
        settings, channels, make_cache(paths, job), seed, check_row_count, partial(_hash_files_once_per_host, world)
    )
    for warning in encoded.warnings:
        log.warning(warning)
    task = choose_task(encoded.preprocessor)
    reports = {name: report_split(split, encoded.preprocessor) for name, split in encoded.splits.items()}
    for name, split in encoded.splits.items():
        log_split(name, split, encoded.splits["train"], make_fraction(name, job))
        for warning in warn_of_shares(name, reports[name], reports["train"]):
            log.warning(warning)
        if name != "train" and split.labels is not None:
            task.warn_of_labels(name, split.labels, make_fraction(name, job))
    check_splits(encoded.splits, architecture, task)
    check_target_range(encoded.splits, channels, task.target, job.loss)
    return TrainingData(encoded.preprocessor, encoded.splits, channels, encoded.content_hashes, reports)


def _hash_files_once_per_host(world: World, files: Sequence[Path]) -> Mapping[Path, str]:
    """Return the SHA-256 of each file. Only one process of each host reads the files."""
    return collectives.run_once_per_host(world, lambda: hash_files(files))


def make_cache(paths: Paths, job: JobSettings) -> Cache:
    """Return the cache of encoded data and of a frozen text encoder's features."""
    return Cache(paths.cache, int(job.cache_limit_gb * 1e9))


def make_read_options(job: JobSettings) -> ReadOptions:
    """Return how the files of the job are read: their dialect and the limits on their size."""
    return replace(
        ReadOptions.from_settings(job),
        max_file_bytes=job.max_file_gb * 1e9,
        max_row_bytes=int(job.max_row_mb * 1e6),
        max_expansion=job.max_expansion,
    )


def open_channels(paths: Paths, job: JobSettings, columns: Sequence[str]) -> dict[str, Channel | SplitPart]:
    """Return train, val and, if the job has it, test: each a channel of its own or a part of the train channel.

    Raises:
        errors.DataError: lists the problems of all channels.
    """
    fractions = {"val": job.val_fraction, "test": job.test_fraction}
    split_off = {name: fraction for name, fraction in fractions.items() if fraction is not None}
    problems, options = ProblemLog(), make_read_options(job)
    folders = find_channel_folders(paths, problems)
    for name in sorted(split_off.keys() & folders.keys()):
        problems.add(errors.split_from_two_sources(name, folders[name].path))
    for name in sorted({"train", "val"} - split_off.keys() - folders.keys()):
        problems.add(errors.missing_channel(name, paths.channel(name), list_unused_channels(paths, folders)))
    opened: dict[str, Channel] = {}
    for name, folder in folders.items():
        if folder.is_pipe or name in split_off:
            continue  # already a problem
        extra_columns = [job.group_field] if name == "train" and job.group_field is not None else []
        all_columns = list(dict.fromkeys([*columns, *extra_columns]))
        if folder.name != name:
            log.info("The channel '%s' is used as %s.", folder.name, name)
        optional = tuple(job.label_columns) if name in SPLITS_WITH_OPTIONAL_LABELS else ()
        use = replace(options, content_type=folder.content_type, folder_name=folder.name, optional_names=optional)
        with problems.collect():
            channel = open_channel(name, folder.path, all_columns, use, optional)
            opened[name] = with_numbered_columns(channel) if name == "train" else channel
            options = replace(options, header=opened[name].files[0].options.header)
    problems.raise_if_any()
    for channel in opened.values():
        warn_of_similar_columns(channel)
    train = replace(opened["train"], columns=tuple(columns))
    channels: dict[str, Channel | SplitPart] = {**opened, "train": train}
    if split_off:
        channels |= splitting.split_channel(train, split_off, choose_target(job).strata(), job.seed, job.group_field)
    if "test" not in channels:
        log.warning(
            "There is no test channel (%s). predict_results.pth will hold the predictions for val.",
            paths.channel("test"),
        )
    return {name: channels[name] for name in ("train", *fractions) if name in channels}


def make_fraction(name: str, job: JobSettings) -> float | None:
    """Return the fraction of train that the job splits off as this split; None for a channel of its own."""
    return {"val": job.val_fraction, "test": job.test_fraction}.get(name)


def log_split(name: str, split: EncodedSplit, train: EncodedSplit, fraction: float | None = None) -> None:
    """Log the size of a split, and warn of dropped tokens, duplicate ids and rows that also appear in train."""
    counts = {"row": len(split), "chunk": len(split.chunk_starts) - 1, "token": len(split.tokens)}
    log.info("%s: %s", name, ", ".join(pluralize(count, noun) for noun, count in counts.items()))
    if split.empty_texts:
        log.info("%s: %s without text; an empty text is used", name, pluralize(split.empty_texts, "row"))
    if split.dropped_tokens:
        share = 100 * split.dropped_share
        log.warning("%s: %.1f %% of the tokens exceed max_total_chunks and were dropped.", name, share)
    if split.duplicate_ids:
        log.warning("%s: %s with a duplicate id.", name, pluralize(split.duplicate_ids, "row"))
    if split.labels is not None and (unlabeled := int((~find_labeled_rows(split.labels)).sum())):
        log_unlabeled_rows(name, unlabeled, len(split))
    if name != "train" and (count := count_rows_seen_in_train(split, train)):
        log.warning(
            "%s: %s of %d also appear in train, with the same fields and label, so the metrics of %s are too "
            "optimistic. %s.",
            *(name, pluralize(count, "row"), len(split), name),
            "Remove them from one of the two"
            if fraction is None
            else "Remove the duplicate rows of train, or set group_field to a column that they share",
        )


def log_unlabeled_rows(name: str, unlabeled: int, rows: int) -> None:
    """Warn that the metrics of a split leave out its rows without a label."""
    if unlabeled == rows:
        log.warning("%s has no labels: its predictions are written, and metrics.json and the plots leave it out.", name)
    else:
        log.warning(
            "%s: %s of %d without a label. Predictions are written for all rows; the metrics of %s are computed from "
            "the others.",
            *(name, pluralize(unlabeled, "row"), rows, name),
        )


def check_splits(splits: Mapping[str, EncodedSplit], architecture: Architecture, task: Task) -> None:
    """Check that the data can train a model, and that the names of the prediction columns do not clash.

    Raises:
        errors.DataError: all texts of train are empty, the early-stopping metric is undefined on val, or there is not
            one decision threshold for each label.
        errors.PredictionColumnsError: columns of the prediction files would have the same name.
    """
    train, val, job = splits["train"], splits["val"], architecture.job
    if train.has_text and train.empty_texts == len(train):
        raise errors.DataError([errors.no_text(architecture.data_settings.text_columns)])
    prediction_columns(job.id_column, task)
    if problem := find_threshold_count_problem(job, len(task.classes)):
        raise errors.DataError([problem])
    if val.labels is not None and job.early_stop_metric is not None:
        task.check_val_labels(val.labels, job.early_stop_metric, job.val_fraction)
