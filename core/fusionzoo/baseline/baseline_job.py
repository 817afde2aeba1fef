"""Train the baseline on the channels of a job, with its settings, splits, labels and metrics."""

from __future__ import annotations

import json
import logging

import xgboost as xgb

from fusionzoo import errors
from fusionzoo.architecture import choose_architecture
from fusionzoo.artifacts.file_names import SETTINGS_FILE
from fusionzoo.artifacts.prediction_files import write_predictions
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.atomic_files import staged_folder
from fusionzoo.baseline.baseline_model import BaselineModel, make_matrix
from fusionzoo.baseline.boosting_objective import choose_boosting_objective
from fusionzoo.baseline.text_components import fit_text_components
from fusionzoo.contracts import XGBOOST_TRAIN_CONTRACT
from fusionzoo.evaluation.metric_text import format_metric, format_metric_line
from fusionzoo.evaluation.report import METRICS_FILE, Report, ScoredSplit, evaluate
from fusionzoo.hyperparameters import locate_pretrained_models, read_hyperparameters
from fusionzoo.sagemaker.hosts import check_single_host
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training.prepare_data import TrainingData, prepare_data

log = logging.getLogger(__name__)

PARAMETERS = {
    "tree_method": "hist",
    "eta": 0.1,
    "max_depth": 6,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
}
MAX_ROUNDS, PATIENCE = 1_000, 30


def train_baseline(paths: Paths) -> Report:
    """Train XGBoost with early stopping on val, and write the model, its metrics and its predictions.

    The settings of the network, such as lr, are checked, and have no effect.

    Raises:
        errors.ZooError: something that the user can fix.
    """
    check_single_host(paths.base, XGBOOST_TRAIN_CONTRACT)
    raw = read_hyperparameters(paths)
    architecture = choose_architecture(locate_pretrained_models(raw, paths))
    job = architecture.job
    if job.quantiles and len(job.label_columns) > 1:
        raise errors.HyperparametersError([errors.baseline_quantiles(job.quantiles)])
    data = prepare_data(paths, architecture, needs_word_vectors=False)
    model, rounds = fit_baseline(data, job.seed)
    scores = {name: model.score(split) for name, split in data.splits.items() if name != "train"}
    labels = {name: values for name in scores if (values := data.splits[name].labels) is not None}
    heading = f"xgboost, {data.task.title}"
    report = evaluate({name: ScoredSplit(labels[name], scores[name]) for name in scores}, data.task, heading)
    id_name = architecture.data_settings.id_column
    with (
        staged_folder(paths.output_data, METRICS_FILE) as output,
        staged_folder(paths.model) as folder,
    ):
        model.save(folder)
        (folder / SETTINGS_FILE).write_text(json.dumps(dict(raw), indent=1, ensure_ascii=False), "utf-8")
        for name, values in scores.items():
            split, format = data.splits[name], data.channels[name].format
            predictions = Predictions(id_name, data.task, split.ids, labels[name], values)
            write_predictions(output / f"{name}_predictions.{format}", format, predictions)
        report.write(output, {"training": {"model_class": "xgboost", "rounds": rounds}}, events=False)
    for evaluation in report.splits:
        for name, value in evaluation.metrics.items():
            if value is not None:
                log.info("%s", format_metric_line(f"{evaluation.name}_{name}", value))
    return report


def fit_baseline(data: TrainingData, seed: int) -> tuple[BaselineModel, int]:
    """Return the model with the best metric of val, and its number of rounds."""
    train, val, text = data.splits["train"], data.splits["val"], data.preprocessor.text
    components = None
    if text is not None:
        components = fit_text_components(train, text.tokenizer.backend.get_vocab_size(), seed)
    objective = choose_boosting_objective(data.preprocessor.target)
    labeled = (("train", train, train.labels), ("val", val, val.labels))
    matrices = {
        name: make_matrix(split, components, objective.encode(labels))
        for name, split, labels in labeled
        if labels is not None
    }
    booster = xgb.train(
        {**PARAMETERS, **objective.parameters, "seed": seed},
        matrices["train"],
        MAX_ROUNDS,
        evals=[(matrices["val"], "val")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
    )
    rounds = int(booster.best_iteration) + 1
    metric = objective.parameters["eval_metric"]
    log.info("XGBoost: %d rounds are the best on val, %s %s", rounds, metric, format_metric(booster.best_score))
    return BaselineModel(data.preprocessor, components, booster[:rounds]), rounds
