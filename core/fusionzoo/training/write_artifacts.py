"""Write the artifacts of a job: its evaluation first, then the model folder, so that a failed job leaves no model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fusionzoo import errors
from fusionzoo.artifacts import model_folder, prediction_files
from fusionzoo.artifacts.file_names import PREDICT_RESULTS_FILE
from fusionzoo.artifacts.model_folder import TrainedModel
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.atomic_files import staged_folder
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.learning_curve_plot import draw_learning_curve
from fusionzoo.evaluation.plot_parts import encode_png
from fusionzoo.evaluation.report import Report, ScoredSplit, evaluate
from fusionzoo.sagemaker.earlier_results import delete_evaluation, delete_results_set_aside
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.tasks.task_choice import choose_task
from fusionzoo.training.final_scores import FinalScores
from fusionzoo.training.monitoring import log_lines
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)


def write_artifacts(
    run: TrainingRun,
    model: nn.Module,
    final: FinalScores,
    metrics_sections: Mapping[str, Mapping[str, Any]],
) -> Report:
    """Evaluate the model and write the artifacts of the contract; the model folder is verified by reading it back.

    Args:
        final: the scores of each split, and what was fitted on val.
        metrics_sections: what metrics.json holds besides the evaluation, by the name of the section.
    """
    data, paths, job, settings = run.data, run.paths, run.job, run.architecture.data_settings
    scores, task = final.scores, choose_task(final.preprocessor)
    labels = {name: known for name in scores if (known := data.splits[name].labels) is not None}
    scored = {name: ScoredSplit(labels[name], values) for name, values in scores.items()}
    heading = f"{job.model_class}, {task.title}"
    report = evaluate(scored, replace(run.evaluator, task=task), heading)
    predictions = {
        name: Predictions(settings.id_column, task, data.splits[name].ids, labels[name], values)
        for name, values in scores.items()
    }
    formats = {name: data.channels[name].format for name in scores}
    files = {name: f"{name}_predictions.{format}" for name, format in formats.items()}
    shipped_split = "test" if "test" in scores else "val"
    with ExitStack() as output:
        folder = output.enter_context(staged_folder(paths.output_data))
        for name, split_predictions in predictions.items():
            prediction_files.write_predictions(folder / files[name], formats[name], split_predictions)
        prediction_files.write_predict_results(folder / PREDICT_RESULTS_FILE, predictions[shipped_split], shipped_split)
        training = metrics_sections["training"]
        plot = draw_learning_curve(training["validations"], job.early_stop_metric, training["best"]["step"], heading)
        sections = {name: dict(section) for name, section in metrics_sections.items()} | final.report_sections(report)
        report.write(folder, sections, {"learning_curve": encode_png(plot)})
        metrics = {evaluation.name: evaluation.metrics for evaluation in report.splits}
        trained = TrainedModel(run.architecture, final.preprocessor, model, data.describe_splits(), metrics)
        write_model_after_output(paths, trained, data.splits["val"], scores["val"], output)
    delete_results_set_aside(paths)
    log_written_files([paths.model, paths.output_data])
    for evaluation in report.splits:
        log_lines.log_metrics({f"{evaluation.name}_{key}": v for key, v in evaluation.metrics.items() if v is not None})
    return report


def log_written_files(folders: Sequence[Path]) -> None:
    """Log the files and folders in these folders, except hidden ones, which only the running job uses."""
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if not path.name.startswith("."):
            log.info("Wrote %s%s", path, os.sep if path.is_dir() else "")


def write_model_after_output(
    paths: Paths, trained: TrainedModel, val: EncodedSplit, val_scores: np.ndarray, output: ExitStack
) -> None:
    """Write the model folder after all else: a job that fails leaves neither a complete model nor its evaluation.

    Args:
        paths: the folders of the job.
        trained: the model and what describes it.
        val: the validation rows.
        val_scores: what the trained model computes for them.
        output: when it is closed, the files of the other artifacts appear in their folder.
    """
    is_moved = False

    def move_output() -> None:
        nonlocal is_moved
        output.close()
        is_moved = True

    try:
        model_folder.write_model_folder(paths.model, trained, val, val_scores, move_output)
    except Exception:
        if is_moved:
            _delete_evaluation(paths.output_data)
        raise


def _delete_evaluation(folder: Path) -> None:
    """Delete the evaluation of a model that could not be written. The user must see why that failed."""
    try:
        delete_evaluation(folder)
    except errors.OutputError as error:
        log.warning("%s", error)
