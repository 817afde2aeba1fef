"""A training job, from its input folders to its artifacts. `train` is the table of contents: read it first."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from fusionzoo import errors
from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.report import Report
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import shipping
from fusionzoo.training.checkpointing.fingerprint import (
    compare_fingerprints,
    fingerprint_data,
    fingerprint_precision,
    fingerprint_settings,
    fingerprint_source,
    list_settings,
)
from fusionzoo.training.checkpointing.plugin_code import fingerprint_code
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.checkpointing.restore_check import load_fitting_weights
from fusionzoo.training.checkpointing.resume_point import (
    ResumePoint,
    check_same_batches,
    check_same_fingerprint,
    continue_with_more_epochs,
    find_resume_point,
)
from fusionzoo.training.checkpointing.time_limit import TimeBudget
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.final_model import load_final_model
from fusionzoo.training.final_scores import compute_final_scores, compute_outputs
from fusionzoo.training.fit import fit
from fusionzoo.training.fitting import fit_modules
from fusionzoo.training.frozen import features
from fusionzoo.training.guards import constant_comparison, convergence, model_memory
from fusionzoo.training.job_checks import check_before_reading_data
from fusionzoo.training.model_checks import check_before_training
from fusionzoo.training.monitoring import log_lines, resource_usage
from fusionzoo.training.monitoring.phases import BUILD, EVALUATE, PREPARE, Phases
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.precision import choose_job_precision
from fusionzoo.training.prepare_data import TrainingData, prepare_data
from fusionzoo.training.resolved_settings import ResolvedJobSettings
from fusionzoo.training.row_defaults import resolve_job_settings
from fusionzoo.training.termination import Termination
from fusionzoo.training.training_run import TrainingRun
from fusionzoo.training.warm_start.initialization import check_comparable_features, start_from_model
from fusionzoo.training.warm_start.source_model import SourceModel, open_source_model
from fusionzoo.training.write_artifacts import write_artifacts

log = logging.getLogger(__name__)


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
    resume_point = collectives.broadcast_from_first(lambda: find_own_resume_point(paths, architecture, world))
    source = open_source_model(paths, architecture, is_needed=resume_point is None)
    data = prepare_data(paths, architecture, world)

    phases.begin(BUILD)
    model_memory.check_model_memory(architecture, data.spec, world)
    built, init_report = build_model(architecture, data, source, resume_point)
    job, resume_point = resolve_settings(architecture, built, data, resume_point)
    stored_precision = None if resume_point is None else resume_point.precision
    precision = choose_job_precision(architecture.job, built.model, stored_precision)
    job_fingerprint = (
        settings_fingerprint
        | fingerprint_precision(precision)
        | fingerprint_data(data.contents, data.splits)
        | fingerprint_source(
            architecture.job,
            None if source is None else source.digest,
            None if resume_point is None else resume_point.job_fingerprint,
        )
        | fingerprint_code(built.model, architecture.plugins)
    )
    check_same_in_all_processes(job_fingerprint, architecture, job, world)
    check_same_fingerprint(resume_point, job_fingerprint)
    run = TrainingRun(
        *(paths, architecture, job, built, data, precision, world, resume_point, job_fingerprint, termination),
        throughput=Throughput(phases),
        init_report=init_report,
    )
    restore_weights(run)
    budget = check_before_training(run)
    summary = fit_unless_finished(run, budget)

    phases.begin(EVALUATE)
    with shipping.finish_in_time(run, summary):
        return evaluate_and_write(run, summary, phases)


def find_own_resume_point(paths: Paths, architecture: Architecture, world: World) -> ResumePoint | None:
    """Return the checkpoint to resume from, or None; log where the job resumes.

    Raises:
        errors.AnotherJobError: the checkpoint was written with other settings or versions, or by another number of
            processes on which the batches depend.
        errors.FewerEpochsError: `max_epochs` is smaller than in the job that wrote the checkpoint.
    """
    resume_point = find_resume_point(paths.checkpoints)
    if resume_point is None:
        return None
    check_same_fingerprint(resume_point, fingerprint_settings(architecture))
    if (max_epochs := architecture.job.max_epochs) is not None:
        resume_point = continue_with_more_epochs(resume_point, architecture.job, max_epochs)
    if resume_point.training_summary is not None and resume_point.has_newer_best:
        log.warning("%s is older than best.ckpt. Training starts from the beginning.", resume_point.file)
        return None
    check_same_batches(resume_point, architecture.job, world.size)
    if resume_point.training_summary is None:
        log.warning(
            "Resuming from %s: epoch %d, after step %d.",
            *(resume_point.file, resume_point.epoch + 1, resume_point.step),
        )
    return resume_point


def build_model(
    architecture: Architecture, data: TrainingData, source: SourceModel | None, resume_point: ResumePoint | None
) -> tuple[BuiltModel, Mapping[str, Any] | None]:
    """Build the model, with the weights of `init_from` or with pretrained ones, and add the adapters of its encoder.

    Modules with statistics of train are fitted, unless the job resumes. Return what `init_from` gave, too. Warns of an
    unusual learning rate for pretrained weights.
    """
    job = architecture.job
    seed_everything(job.seed)
    built = architecture.build(data.spec, pretrained=job.init_from is None)
    report = None if resume_point is None else resume_point.init_report
    if resume_point is None:
        if source is not None:
            check_comparable_features(built.model, source)
        fitted = fit_modules(built.model, data.splits["train"], data.preprocessor.target)
        if source is not None:
            report = start_from_model(built, architecture, data.preprocessor, source, fitted)
    built = architecture.add_adapters(built)
    tunes_weights = architecture.tunes_encoder(built) and not built.adapters
    if warning := convergence.check_learning_rate(job, tuned=tunes_weights):
        log.warning(warning)
    return built, report


def resolve_settings(
    architecture: Architecture, built: BuiltModel, data: TrainingData, resume_point: ResumePoint | None
) -> tuple[ResolvedJobSettings, ResumePoint | None]:
    """Return the settings with the defaults that depend on the rows, and the resume point for their number of epochs.

    Raises:
        errors.FewerEpochsError: the job that wrote the checkpoint had more epochs.
    """
    choices = {} if resume_point is None else resume_point.choices
    job = resolve_job_settings(architecture, data.task, data.splits, architecture.tunes_encoder(built), choices)
    if resume_point is not None and architecture.job.max_epochs is None:
        resume_point = continue_with_more_epochs(resume_point, architecture.job, job.max_epochs)
    return job, resume_point


def restore_weights(run: TrainingRun) -> None:
    """Load the weights of the resume point if the text encoder is frozen: its features are computed before the fit."""
    point, model, encoder = run.resume_point, run.built.model, run.built.text_encoder
    if point is not None and encoder is not None and features.is_frozen(encoder):
        load = partial(load_fitting_weights, point.file, model, run.job_fingerprint)
        model.load_state_dict(collectives.broadcast_from_first(load))


def check_same_in_all_processes(
    job_fingerprint: Mapping[str, str], architecture: Architecture, job: ResolvedJobSettings, world: World
) -> None:
    """Check that this process has the same settings, code and data as the first process.

    All settings are compared: those that change no result decide when the processes do something together.

    Raises:
        errors.ProcessesError: names the differences.
    """
    own = {**list_settings(architecture), **job_fingerprint, "max_epochs": str(job.max_epochs)}
    if differences := compare_fingerprints(collectives.broadcast_from_first(lambda: own), own):
        raise errors.ProcessesError.other_data(differences, world.rank)


def fit_unless_finished(run: TrainingRun, budget: TimeBudget | None) -> dict[str, Any]:
    """Train the model and return the training summary, or return the one of a training that has already finished."""
    torch.manual_seed(run.job.seed + run.world.rank)  # processes must differ in dropout, but not in initial weights
    if run.resume_point is None or run.resume_point.training_summary is None:
        return fit(run, budget)
    log.warning(
        "According to %s, training has already finished. The model is evaluated and written again.",
        run.resume_point.file,
    )
    return dict(run.resume_point.training_summary)


def evaluate_and_write(run: TrainingRun, summary: Mapping[str, Any], phases: Phases) -> Report | None:
    """Score the splits with the final weights; in the first process, write the artifacts and return the evaluation."""
    trained = load_final_model(run, summary)
    model, summary = trained.model, trained.summary
    if shipping.is_stopped(summary) and run.world.is_first:
        shipping.ship_weights(run, model)
    outputs = compute_outputs(run, trained)
    usages = collectives.all_gather(resource_usage.measure_usage(run.throughput.read()))
    if not run.world.is_first:
        return None
    merged = resource_usage.merge_usage(usages, phases.seconds)
    usage = {**merged, "matrix_rates": run.precision.rates, "ended_by": summary.get("ended_by")}
    shares = {name: split_report.as_json() for name, split_report in run.data.reports.items()}
    final = compute_final_scores(run, outputs)
    summary = {**summary, **constant_comparison.compare_with_constant(run, outputs["val"], final.fit, summary)}
    report = write_artifacts(run, model, final, {"training": summary, "run": usage, "data": shares})
    log_summary(summary, resource_usage.merge_usage(usages, phases.seconds))
    return report


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
