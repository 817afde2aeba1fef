"""The final scores of a job: the outputs of the trained model for every split but train, calibrated on val."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.targets.score_rules import ScoreRules
from fusionzoo.evaluation.output_scaling import ScalingFit
from fusionzoo.evaluation.report import Report
from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit
from fusionzoo.nn.inference import apply_link
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
from fusionzoo.training.distributed import split_scoring
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)

COMPARED_METRICS = ("log_loss", "ece_equal_width", "ece_equal_mass")


@dataclass(frozen=True)
class FinalScores:
    """What the artifacts are made from.

    Attributes:
        preprocessor: the preprocessor of the job, with the rules that were fitted on val.
        scores: [rows, outputs] by split.
        fit: the calibration; None if the job or the task has none.
        uncalibrated: the metrics of labeled rows without the calibration, by split; empty if it was not kept.
    """

    preprocessor: Preprocessor
    scores: Mapping[str, np.ndarray]
    fit: ScalingFit | None
    uncalibrated: Mapping[str, Metrics]

    def report_sections(self, report: Report) -> dict[str, Any]:
        """Return entries of metrics.json: the calibration, with metrics before and after it."""
        if self.fit is None:
            return {}
        splits = {}
        for evaluation in report.splits:
            after = evaluation.scalars()
            before = self.uncalibrated.get(evaluation.name, after)
            splits[evaluation.name] = {
                name: {"before": before[name], "after": after[name]} for name in COMPARED_METRICS
            }
        return {"calibration": {**self.fit.as_json(), "splits": splits}}


def compute_outputs(run: TrainingRun, model: nn.Module) -> dict[str, np.ndarray]:
    """Return the outputs of the network [rows, outputs] float32 for every split except train, in every process."""
    splits = {name: split for name, split in run.data.splits.items() if name != "train"}  # same order in all processes
    link = nn.Identity()
    return {name: split_scoring.score_split(model, link, split, run.job, run.world) for name, split in splits.items()}


def compute_final_scores(run: TrainingRun, outputs: Mapping[str, np.ndarray]) -> FinalScores:
    """Fit the calibration on the labeled rows of val, and return the scores of all splits.

    Args:
        run: the job.
        outputs: [rows, outputs] by split.
    """
    fit = _fit_scaling(run, outputs["val"])
    if fit is None or fit.scaling is None:
        link = make_link(run.task)
        scores = {name: apply_link(link, values) for name, values in outputs.items()}
        return FinalScores(run.data.preprocessor, scores, fit, {})
    preprocessor = replace(run.data.preprocessor, rules=ScoreRules(fit.scaling))
    link = make_link(choose_task(preprocessor))
    scores = {name: apply_link(link, values) for name, values in outputs.items()}
    return FinalScores(preprocessor, scores, fit, _evaluate_uncalibrated(run, outputs))


def _fit_scaling(run: TrainingRun, outputs: np.ndarray) -> ScalingFit | None:
    labels = run.data.splits["val"].labels
    if run.job.calibration == "none" or labels is None:
        return None
    val = ScoredSplit(labels, outputs).labeled_rows()
    fit = run.task.fit_scaling(val.labels, val.scores, run.job.calibration)
    if fit is not None:
        log.info("%s", fit.describe())
    return fit


def _evaluate_uncalibrated(run: TrainingRun, outputs: Mapping[str, np.ndarray]) -> dict[str, Metrics]:
    link, metrics = make_link(run.task), {}
    for name, values in outputs.items():
        labels = run.data.splits[name].labels
        if labels is None:
            continue
        scored = ScoredSplit(labels, apply_link(link, values)).labeled_rows()
        if len(scored.labels):
            metrics[name] = run.task.evaluate_split(name, scored, "").scalars()
    return metrics
