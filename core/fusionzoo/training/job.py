"""A training job from its folders to its artifacts. This page is the table of contents: read it first."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.artifacts import model_folder, onnx_export, prediction_files
from fusionzoo.artifacts.file_names import ONNX_FILE, PREDICT_RESULTS_FILE
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.atomic_files import check_writable, staged_folder, translate_write_errors
from fusionzoo.evaluation.report import Report, ScoredSplit, evaluate
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import precision, torch_compile
from fusionzoo.training.checkpointing import best_checkpoints, fingerprint, greedy_soup, resume_point
from fusionzoo.training.checkpointing.resume_point import LastCheckpoint, ResumePoint
from fusionzoo.training.distributed import collectives, fsdp_support, split_scoring
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.fit import fit
from fusionzoo.training.frozen import features
from fusionzoo.training.guards import convergence, memory
from fusionzoo.training.monitoring import log_lines, resource_usage
from fusionzoo.training.monitoring.phases import BUILD, EVALUATE, PREPARE, Phases
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.prepare_data import TrainingData, prepare_data
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

CHANNELS = ("train", "val", "test")
MIN_ROWS_PER_GPU = 8  # per step and GPU


def train(
    paths: Paths, architecture: Architecture, world: World = SINGLE_PROCESS, termination: Termination | None = None
) -> Report | None:
    """Train the architecture, whose settings are resolved, in the folders `paths`, as one process of the job.

    `termination` may request a stop.

    Returns:
        The evaluation of the best checkpoint; None but in the first process, which writes it.

    Raises:
        errors.ZooError: something a user can mend; nothing half-written is left.
    """
    phases = Phases()
    phases.begin(PREPARE)
    for told in architecture.hyperparameters.warnings:
        log.warning(told)
    job = architecture.job
    torch_compile.check_torch_compile(job)
    fsdp_support.check_fsdp(job)
    check_processes(paths, job, world)
    whose = fingerprint.fingerprint_settings(architecture, precision.decide_precision(job).precision)
    earlier = collectives.broadcast_from_first(lambda: find_earlier_run(paths, whose))
    data = prepare_data(paths, architecture, world)
    phases.begin(BUILD)
    resume_point.seed_everything(job.seed)
    built = architecture.build(data.spec, pretrained=True)
    encoder = built.text_encoder if architecture.encoder_is_pretrained else None
    if warning := convergence.check_learning_rate(job, tuned=encoder is not None and not features.is_frozen(encoder)):
        log.warning(warning)
    whose |= {**fingerprint.fingerprint_data(data.contents, data.splits), **fingerprint.fingerprint_code(built.model)}
    check_same_job(whose, world)
    resume_point.check_same_fingerprint(earlier, whose)
    if world.is_first and earlier is None:
        check_export(paths, built.model, data)
    torch.manual_seed(job.seed + world.rank)  # dropout differs between processes, weights do not
    throughput = Throughput(phases)
    if earlier is None or earlier.finished is None:
        last = LastCheckpoint(paths.checkpoints, job, whose, termination)
        summary = fit(paths, architecture, built, data, last, world, earlier, throughput)
    else:
        log.warning(errors.training_finished(earlier.file))
        summary = dict(earlier.finished)
    phases.begin(EVALUATE)
    if fsdp_support.uses_fsdp(job, world):
        built = architecture.build(data.spec)  # whole again
    summary = choose_weights(paths, job, built.model, data, summary)
    scored = [name for name in data.splits if name != "train"]  # every process in the same order
    with memory.explain_scoring_memory(
        [data.splits[name] for name in scored], job, next(built.model.parameters()).device
    ):
        scores = {name: split_scoring.score_split(built.model, data.splits[name], job, world) for name in scored}
    usages = collectives.all_gather(resource_usage.measure_usage(throughput.read()))
    if not world.is_first:
        return None
    report = write_artifacts(
        paths, architecture, built.model, data, scores, summary, resource_usage.merge_usage(usages, phases.seconds)
    )
    log_summary(summary, resource_usage.merge_usage(usages, phases.seconds))
    return report


def check_processes(paths: Paths, job: JobSettings, world: World) -> None:
    """Find out before any data is read whether the job's folders can be written, and its processes have work.

    Raises:
        errors.OutputError: a folder cannot be written.
        errors.ProcessesError: a step has fewer rows than processes, or hosts see parts of a channel only.
    """
    if world.is_first:
        for folder in (paths.model, paths.output_data, paths.checkpoints):
            check_writable(folder)
    if world.size > 1 and job.max_batch_tokens is None:
        if job.batch_size < world.size:
            raise errors.ProcessesError.too_few_rows(job.batch_size, world.size)
        if torch.cuda.is_available() and job.batch_size < MIN_ROWS_PER_GPU * world.size:
            log.warning(errors.rows_per_process(job.batch_size, world.size))
    for name, channel in (paths.read_channel_configs() or {}).items():
        sharded = isinstance(channel, dict) and channel.get("S3DistributionType") == "ShardedByS3Key"
        if sharded and world.hosts > 1 and name in CHANNELS:
            raise errors.ProcessesError.sharded(name, world.hosts)


def find_earlier_run(paths: Paths, whose: Mapping[str, str]) -> ResumePoint | None:
    """The checkpoint that the job goes on from, if there is one; it must be this job's."""
    earlier = resume_point.find_resume_point(paths.checkpoints)
    resume_point.check_same_fingerprint(earlier, whose)
    if earlier is not None and earlier.finished is None:
        log.warning(errors.resumed(earlier.file, earlier.epoch + 1, earlier.step))
    return earlier


def check_same_job(whose: Mapping[str, str], world: World) -> None:
    """Raises errors.ProcessesError where this process has other settings, code or data than the first one."""
    first = collectives.broadcast_from_first(lambda: whose)
    if differing := fingerprint.fingerprint_differences(first, whose):
        raise errors.ProcessesError.other_data(differing, world.rank)


def choose_weights(
    paths: Paths, job: JobSettings, model: nn.Module, data: TrainingData, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the best weights into the model, in every process; returns the summary with what they are made of."""
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # Lightning leaves it on the CPU
    best_checkpoints.load_best(paths.checkpoints, model)
    top, weights = summary["top_checkpoints"], summary["class_weights"]
    if not top:
        return dict(summary)
    val = data.splits["val"]
    soup = collectives.broadcast_from_first(
        lambda: greedy_soup.cook_greedy_soup(paths.checkpoints, model, val, job, top, weights)
    )
    collectives.broadcast_weights(model)
    return {**summary, "averaging": soup}


def check_export(paths: Paths, model: nn.Module, data: TrainingData) -> None:
    """Export the untrained model once, so that one which cannot be shipped fails before it costs anything."""
    with (
        translate_write_errors(paths.model),
        tempfile.TemporaryDirectory(dir=paths.model, prefix=".rehearsal-") as folder,
    ):
        onnx_export.export_onnx(model, data.splits["val"], Path(folder) / ONNX_FILE)


def write_artifacts(
    paths: Paths,
    architecture: Architecture,
    model: nn.Module,
    data: TrainingData,
    scores: Mapping[str, np.ndarray],
    summary: Mapping[str, Any],
    run: Mapping[str, Any],
) -> Report:
    """Evaluate, and leave the contract's artifacts, each proven by reading it back.

    `summary` is how the training went, `run` what this run of the job has taken up to now.
    """
    classes = data.preprocessor.labels.classes
    truth = {name: labels for name in scores if (labels := data.splits[name].labels) is not None}
    report = evaluate({name: ScoredSplit(truth[name], values) for name, values in scores.items()}, classes)
    settings = architecture.data_settings
    shipped = "test" if "test" in scores else "val"
    predictions = {
        name: Predictions(settings.id_name, settings.label_name, classes, data.splits[name].ids, truth[name], values)
        for name, values in scores.items()
    }
    with staged_folder(paths.output_data) as folder:
        for name, of_split in predictions.items():
            format = data.channels[name].format
            prediction_files.write_predictions(folder / f"{name}_predictions.{format}", format, of_split)
        prediction_files.write_predict_results(folder / PREDICT_RESULTS_FILE, predictions[shipped], shipped)
        report.write(folder, {"training": dict(summary), "run": dict(run)})
        model_folder.write_model_folder(
            paths.model, architecture, data.preprocessor, model, data.splits["val"], scores["val"]
        )
    remove_stale_predictions(paths.output_data, {f"{name}_predictions.{data.channels[name].format}" for name in scores})
    for path in sorted([*paths.model.iterdir(), *paths.output_data.iterdir()]):
        log.info("Wrote %s%s", path, os.sep if path.is_dir() else "")
    for name in scores:
        log_lines.log_metrics({f"{name}_{key}": v for key, v in report.metrics(name).items() if v is not None})
    return report


def log_summary(summary: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Log how the training went, and what the run of the job took."""
    log.info(
        "%d epochs, %d steps; the best validation: %s",
        *(summary["epochs"], summary["steps"], log_lines.format_best(summary["best"])),
    )
    for line in resource_usage.format_usage(run):
        log.info(line)


def remove_stale_predictions(folder: Path, written: Collection[str]) -> None:
    """Remove prediction files of an earlier run, in another format or of a split that this job does not have."""
    for path in folder.glob("*_predictions.*"):
        if path.name not in written:
            path.unlink()
