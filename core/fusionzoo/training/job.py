"""A training job, from its input folders to its artifacts. `train` is the table of contents: read it first."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.artifacts import model_folder, onnx_export, prediction_files
from fusionzoo.artifacts.file_names import ONNX_FILE, PREDICT_RESULTS_FILE
from fusionzoo.artifacts.model_folder import TrainedModel
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.atomic_files import check_writable, delete_leftovers, staged_folder, temporary_folder
from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.learning_curve_plot import draw_learning_curve
from fusionzoo.evaluation.plots import encode_png
from fusionzoo.evaluation.report import Report, ScoredSplit, evaluate
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objectives import make_link
from fusionzoo.training import torch_compile
from fusionzoo.training.checkpointing import best_checkpoints, greedy_soup
from fusionzoo.training.checkpointing.fingerprint import (
    compare_fingerprints,
    fingerprint_code,
    fingerprint_data,
    fingerprint_precision,
    fingerprint_settings,
)
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.checkpointing.restore_check import load_fitting_weights
from fusionzoo.training.checkpointing.resume_point import (
    ResumePoint,
    check_same_fingerprint,
    continue_with_more_epochs,
    find_resume_point,
)
from fusionzoo.training.distributed import collectives, fsdp_support, split_scoring
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.fit import fit
from fusionzoo.training.frozen import features
from fusionzoo.training.guards import convergence, model_memory
from fusionzoo.training.monitoring import log_lines, resource_usage
from fusionzoo.training.monitoring.phases import BUILD, EVALUATE, PREPARE, Phases
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.precision import choose_job_precision
from fusionzoo.training.prepare_data import TrainingData, prepare_data
from fusionzoo.training.termination import Termination
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)

CHANNELS = ("train", "val", "test")
MIN_ROWS_PER_GPU = 8  # per step and GPU


def train(
    paths: Paths, architecture: Architecture, world: World = SINGLE_PROCESS, termination: Termination | None = None
) -> Report | None:
    """Run a job with these folders and resolved settings, as one process of it; `termination` may request a stop.

    Returns:
        The evaluation of the best checkpoint in the first process, which writes the artifacts; None in the others.

    Raises:
        errors.ZooError: something that a user can fix; no partial artifacts are left.
    """
    phases, termination = Phases(), termination or Termination()
    phases.begin(PREPARE)
    check_before_reading_data(paths, architecture, world)
    settings_fingerprint = fingerprint_settings(architecture)
    resume_point = collectives.broadcast_from_first(lambda: find_own_resume_point(paths, architecture))
    data = prepare_data(paths, architecture, world)

    phases.begin(BUILD)
    model_memory.check_model_memory(architecture, data.spec, world)
    built = build_model(architecture, data)
    stored_precision = None if resume_point is None else resume_point.precision
    precision = choose_job_precision(architecture.job, built.model, stored_precision)
    job_fingerprint = (
        settings_fingerprint
        | fingerprint_precision(precision)
        | fingerprint_data(data.contents, data.splits)
        | fingerprint_code(built.model)
    )
    check_same_in_all_processes(job_fingerprint | {"max_epochs": str(architecture.job.max_epochs)}, world)
    check_same_fingerprint(resume_point, job_fingerprint)
    throughput = Throughput(phases)
    run = TrainingRun(
        paths, architecture, built, data, precision, world, resume_point, job_fingerprint, termination, throughput
    )
    check_before_training(run)
    summary = fit_unless_finished(run)

    phases.begin(EVALUATE)
    model, summary = load_final_model(run, summary)
    scores = score_splits(run, model)
    usages = collectives.all_gather(resource_usage.measure_usage(throughput.read()))
    if not world.is_first:
        return None
    usage = {**resource_usage.merge_usage(usages, phases.seconds), "matrix_rates": precision.rates}
    shares = {name: split_report.as_json() for name, split_report in data.reports.items()}
    report = write_artifacts(run, model, scores, {"training": summary, "run": usage, "data": shares})
    log_summary(summary, resource_usage.merge_usage(usages, phases.seconds))
    return report


def check_before_reading_data(paths: Paths, architecture: Architecture, world: World) -> None:
    """Check what can be checked without the data, and log the warnings about the settings.

    Raises:
        errors.OutputError: a folder is not writable.
        errors.ProcessesError: the processes cannot share the work.
        errors.SettingError: this machine or the installed libraries do not support a setting.
    """
    for warning in architecture.hyperparameters.warnings:
        log.warning(warning)
    torch_compile.check_torch_compile(architecture.job)
    fsdp_support.check_fsdp(architecture.job)
    if world.is_first:
        for folder in (paths.model, paths.output_data, paths.checkpoints):
            check_writable(folder)
        delete_leftovers(paths.checkpoints)
    check_processes(paths, architecture.job, world)
    model_memory.check_model_memory(architecture, model_memory.smallest_spec(architecture.data_settings), world)


def check_processes(paths: Paths, job: JobSettings, world: World) -> None:
    """Check that every process of the job has rows in each step, and that all hosts see the same data.

    Raises:
        errors.ProcessesError: a step has fewer rows than processes, or a channel is sharded over the hosts.
    """
    if world.size > 1 and job.max_batch_tokens is None:
        if job.batch_size < world.size:
            raise errors.ProcessesError.too_few_rows(job.batch_size, world.size)
        if torch.cuda.is_available() and job.batch_size < MIN_ROWS_PER_GPU * world.size:
            log.warning(
                "%d processes share a batch_size of %d, about %.0f rows per process and step, which does not use the "
                "GPUs well. Increase batch_size, and lr with it.",
                *(world.size, job.batch_size, job.batch_size / world.size),
            )
    for name, channel in (paths.read_channel_configs() or {}).items():
        is_sharded = isinstance(channel, dict) and channel.get("S3DistributionType") == "ShardedByS3Key"
        if is_sharded and world.hosts > 1 and name in CHANNELS:
            raise errors.ProcessesError.sharded(name, world.hosts)


def find_own_resume_point(paths: Paths, architecture: Architecture) -> ResumePoint | None:
    """Return the checkpoint to resume from, or None; log where the job resumes.

    Raises:
        errors.AnotherJobError: the checkpoint was written with other settings or versions.
        errors.FewerEpochsError: `max_epochs` is smaller than in the job that wrote the checkpoint.
    """
    resume_point = find_resume_point(paths.checkpoints)
    if resume_point is None:
        return None
    check_same_fingerprint(resume_point, fingerprint_settings(architecture))
    resume_point = continue_with_more_epochs(resume_point, architecture.job)
    if resume_point.training_summary is None:
        log.warning(
            "Resuming from %s: epoch %d, after step %d.",
            *(resume_point.file, resume_point.epoch + 1, resume_point.step),
        )
    return resume_point


def build_model(architecture: Architecture, data: TrainingData) -> BuiltModel:
    """Build the model, with pretrained weights if the encoder has them; warn of an unusual learning rate for them."""
    job = architecture.job
    seed_everything(job.seed)
    built = architecture.build(data.spec, pretrained=True)
    encoder = built.text_encoder if architecture.encoder_is_pretrained else None
    is_tuned = encoder is not None and not features.is_frozen(encoder)
    if warning := convergence.check_learning_rate(job, tuned=is_tuned):
        log.warning(warning)
    return built


def check_same_in_all_processes(job_fingerprint: Mapping[str, str], world: World) -> None:
    """Check that this process has the same settings, code and data as the first process.

    Raises:
        errors.ProcessesError: names the differences.
    """
    first_fingerprint = collectives.broadcast_from_first(lambda: job_fingerprint)
    if differences := compare_fingerprints(first_fingerprint, job_fingerprint):
        raise errors.ProcessesError.other_data(differences, world.rank)


def check_before_training(run: TrainingRun) -> None:
    """Check the metrics of plugins, and in the first process of a new training the export."""
    check_plugin_metrics(run)
    if run.world.is_first and run.resume_point is None:
        check_export(run)


def check_export(run: TrainingRun) -> None:
    """Export the untrained model to ONNX once, so that a model that cannot be exported fails before it is trained."""
    folder = run.paths.model
    if run.job.onnx == "off":
        return
    with model_folder.allow_failed_export(run.job), temporary_folder(folder) as temporary:
        path, max_tokens = temporary / ONNX_FILE, run.data.preprocessor.max_tokens
        onnx_export.export_onnx(run.built.model, run.objective.link, run.data.splits["val"], path, max_tokens)


def check_plugin_metrics(run: TrainingRun) -> None:
    """Compute the metrics of plugins once, for the labels of val and random outputs, before the training.

    Raises:
        errors.PluginMetricError: the function of a metric fails, or val does not define the `early_stop_metric`.
    """
    val = run.data.splits["val"]
    if not run.evaluator.plugin_metrics or val.labels is None:
        return
    generator = torch.Generator().manual_seed(run.job.seed)  # the random state of the training does not change
    outputs = torch.randn(len(val), run.data.spec.num_outputs, generator=generator)
    scores = run.objective.link(outputs).numpy()
    for one in run.evaluator.plugin_metrics:
        value = one.compute(val.labels, scores)
        if value is None and run.job.early_stop_metric == f"val/{one.name}":
            raise errors.PluginMetricError.undefined_on_val(one.claim, one.name)


def fit_unless_finished(run: TrainingRun) -> dict[str, Any]:
    """Train the model and return the training summary, or return the one of a training that has already finished."""
    torch.manual_seed(run.job.seed + run.world.rank)  # processes must differ in dropout, but not in initial weights
    if run.resume_point is None or run.resume_point.training_summary is None:
        return fit(run)
    log.warning(
        "According to %s, training has already finished. The model is evaluated and written again.",
        run.resume_point.file,
    )
    return dict(run.resume_point.training_summary)


def load_final_model(run: TrainingRun, summary: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model with its final weights, in every process, and the summary with the averaged checkpoints."""
    is_sharded = fsdp_support.uses_fsdp(run.job, run.world)
    model = run.architecture.build(run.data.spec).model if is_sharded else run.built.model
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # Lightning leaves it on the CPU
    folder = run.paths.checkpoints
    best_checkpoints.load_best(folder, model, run.job_fingerprint)
    judge = greedy_soup.Judge(run.objective, run.evaluator.compute_metrics, run.architecture.metric_directions)
    candidates = summary["top_checkpoints"]
    if not candidates:
        return model, dict(summary)

    def load(file: str) -> Mapping[str, Tensor]:
        return load_fitting_weights(folder / file, model, run.job_fingerprint)

    soup = collectives.broadcast_from_first(
        lambda: greedy_soup.make_greedy_soup(load, model, run.data.splits["val"], run.job, candidates, judge)
    )
    collectives.broadcast_weights(model)
    return model, {**summary, "averaging": soup}


def score_splits(run: TrainingRun, model: nn.Module) -> dict[str, np.ndarray]:
    """Return the scores [rows, outputs] of every split except train."""
    splits = {name: split for name, split in run.data.splits.items() if name != "train"}  # same order in all processes
    link = make_link(run.task)
    return {name: split_scoring.score_split(model, link, split, run.job, run.world) for name, split in splits.items()}


def write_artifacts(
    run: TrainingRun,
    model: nn.Module,
    scores: Mapping[str, np.ndarray],
    metrics_sections: Mapping[str, Mapping[str, Any]],
) -> Report:
    """Evaluate the model and write the artifacts of the contract; the model folder is verified by reading it back.

    Args:
        scores: [rows, outputs] by split.
        metrics_sections: what metrics.json holds besides the evaluation, by the name of the section.
    """
    data, paths, job, settings = run.data, run.paths, run.job, run.architecture.data_settings
    task = run.task
    labels = {name: known for name in scores if (known := data.splits[name].labels) is not None}
    scored = {name: ScoredSplit(labels[name], values) for name, values in scores.items()}
    heading = f"{job.model_class}, {task.title}"
    report = evaluate(scored, run.evaluator, heading)
    predictions = {
        name: Predictions(settings.id_column, task, data.splits[name].ids, labels[name], values)
        for name, values in scores.items()
    }
    formats = {name: data.channels[name].format for name in scores}
    files = {name: f"{name}_predictions.{format}" for name, format in formats.items()}
    shipped_split = "test" if "test" in scores else "val"
    with staged_folder(paths.output_data) as folder:
        for name, split_predictions in predictions.items():
            prediction_files.write_predictions(folder / files[name], formats[name], split_predictions)
        prediction_files.write_predict_results(folder / PREDICT_RESULTS_FILE, predictions[shipped_split], shipped_split)
        training = metrics_sections["training"]
        plot = draw_learning_curve(training["validations"], job.early_stop_metric, training["best"]["step"], heading)
        sections = {name: dict(section) for name, section in metrics_sections.items()}
        report.write(folder, sections, {"learning_curve": encode_png(plot)})
        metrics = {evaluation.name: evaluation.metrics for evaluation in report.splits}
        trained = TrainedModel(run.architecture, data.preprocessor, model, data.describe_splits(), metrics)
        model_folder.write_model_folder(paths.model, trained, data.splits["val"], scores["val"])
    delete_stale_predictions(paths.output_data, files.values())
    for path in sorted([*paths.model.iterdir(), *paths.output_data.iterdir()]):
        log.info("Wrote %s%s", path, os.sep if path.is_dir() else "")
    for evaluation in report.splits:
        log_lines.log_metrics({f"{evaluation.name}_{key}": v for key, v in evaluation.metrics.items() if v is not None})
    return report


def delete_stale_predictions(folder: Path, current_files: Collection[str]) -> None:
    """Delete the prediction files of an earlier run that are in another format or of a split that the job lacks."""
    for path in folder.glob("*_predictions.*"):
        if path.name not in current_files:
            path.unlink()


def log_summary(summary: Mapping[str, Any], usage: Mapping[str, Any]) -> None:
    """Log how the training went, and the time and memory that the run used."""
    log.info(
        "%s, %s; best validation: %s",
        pluralize(summary["epochs"], "epoch"),
        pluralize(summary["steps"], "step"),
        log_lines.format_best(summary["best"]),
    )
    for line in resource_usage.format_usage(usage):
        log.info(line)
