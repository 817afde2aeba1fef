"""The final scores of a job: the outputs of the trained model for every split but train, calibrated on val.

The decision rule is chosen on the calibrated scores of val.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.targets.score_rules import ScoreRules
from fusionzoo.evaluation.decision_choice import DecisionFit
from fusionzoo.evaluation.output_scaling import ScalingFit, fit_scaling
from fusionzoo.evaluation.report import Report
from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit
from fusionzoo.nn.inference import apply_link
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
from fusionzoo.training.distributed import split_scoring
from fusionzoo.training.final_model import FinalModel
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinalScores:
    """What the artifacts are made from.

    Attributes:
        preprocessor: the preprocessor of the job, with the rules that were fitted on val.
        scores: [rows, outputs] by split.
        fit: the calibration; None if the job has none.
        decision: the decision rule that the settings ask for; None for the default rule.
        uncalibrated: the metrics of labeled rows without the calibration, by split; empty if it was not kept.
    """

    preprocessor: Preprocessor
    scores: Mapping[str, np.ndarray]
    fit: ScalingFit | None
    decision: DecisionFit | None
    uncalibrated: Mapping[str, Metrics]

    def report_sections(self, report: Report) -> dict[str, Any]:
        """Return entries of metrics.json: the decision rule, and the calibration with metrics before and after it."""
        sections = {} if self.decision is None else {"decision": self.decision.as_json()}
        if self.fit is None:
            return sections
        splits = {}
        for evaluation in report.splits:
            after = evaluation.scalars()
            before = self.uncalibrated.get(evaluation.name, after)
            splits[evaluation.name] = {
                name: {"before": before[name], "after": after[name]} for name in evaluation.calibrated_metrics
            }
        return {**sections, "calibration": {**self.fit.as_json(), "splits": splits}}


def compute_outputs(run: TrainingRun, final: FinalModel) -> dict[str, np.ndarray]:
    """Return the outputs of the network [rows, outputs] float32 for every split except train, in every process."""
    model, link, outputs = final.model, nn.Identity(), dict(final.outputs)
    for name, split in run.data.splits.items():  # same order in all processes
        if name != "train" and name not in outputs:
            outputs[name] = split_scoring.score_split(model, link, split, run.job, run.world)
    return outputs


def compute_final_scores(run: TrainingRun, outputs: Mapping[str, np.ndarray]) -> FinalScores:
    """Fit the calibration on the labeled rows of val, then the decision rule, and return the scores of all splits.

    Args:
        run: the job.
        outputs: [rows, outputs] by split.
    """
    fit = _fit_scaling(run, outputs["val"])
    rules = ScoreRules(None if fit is None else fit.scaling)
    link = make_link(choose_task(replace(run.data.preprocessor, rules=rules)))
    scores = {name: apply_link(link, values) for name, values in outputs.items()}
    decision = _fit_decision(run, scores["val"])
    preprocessor = replace(
        run.data.preprocessor, rules=replace(rules, decision=None if decision is None else decision.rule)
    )
    uncalibrated = {} if rules.scaling is None else _evaluate_uncalibrated(run, outputs)
    return FinalScores(preprocessor, scores, fit, decision, uncalibrated)


def _fit_decision(run: TrainingRun, scores: np.ndarray) -> DecisionFit | None:
    labels = run.data.splits["val"].labels
    if labels is None:
        return None
    val = ScoredSplit(labels, scores).labeled_rows()
    fit = run.task.fit_decision(val.labels, val.scores, run.job)
    if fit is not None:
        log.info("%s", fit.describe())
        for warning in fit.warnings:
            log.warning("%s", warning)
    return fit


def _fit_scaling(run: TrainingRun, outputs: np.ndarray) -> ScalingFit | None:
    labels = run.data.splits["val"].labels
    if run.job.calibration == "none" or labels is None:
        return None
    val = ScoredSplit(labels, outputs).labeled_rows()
    fit = fit_scaling(val.scores, val.labels, run.task.make_scaling_loss(run.job), run.job.calibration)
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
