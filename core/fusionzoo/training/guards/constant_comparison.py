"""Compare the `val_loss` of the final weights with that of a constant prediction, and warn if it is not lower."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from fusionzoo.evaluation.metric_text import format_metric
from fusionzoo.evaluation.output_scaling import ScalingFit
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.tasks.objectives import make_objective
from fusionzoo.training.guards import convergence
from fusionzoo.training.training_run import TrainingRun

log = logging.getLogger(__name__)

MIN_GAIN = 0.001  # over the constant prediction, relative to its loss; more if the training loss has not fallen
MIN_FALL, MIN_GROWTH = 0.3, 0.02  # of the training loss between the first and the last validation, relative


def compare_with_constant(
    run: TrainingRun, outputs: np.ndarray, fit: ScalingFit | None, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the entry `val_loss` of metrics.json about the training; warn if the model is not better than a constant.

    The constant is the best one for the labels of val, with the class weights of the loss: no constant that is chosen
    on train, such as the class frequencies of train, has a lower loss on val. A model that is better only after its
    calibration, by the loss of rows that the calibration was not fitted on, is better.

    Args:
        run: the run.
        outputs: the outputs of the final weights for val [rows, outputs].
        fit: the calibration; None if the job has none.
        summary: the training summary.
    """
    labels = run.data.splits["val"].labels
    if labels is None:
        return {}
    objective = run.objective.cpu()
    final = float(objective.validation_loss(torch.from_numpy(outputs), torch.tensor(labels)))
    constant = objective.constant_loss(labels)
    gain = 1 - final / constant if constant > 0 else None  # 0: only one class of val has rows with a weight
    train_losses = [validation["train_loss"] for validation in summary["validations"]]
    has_learned = len(train_losses) == 1 or (1 - convergence.MIN_GAIN) * train_losses[0] > train_losses[-1]
    min_gain = MIN_GAIN if has_learned else convergence.MIN_GAIN
    if gain is not None and max(gain, _calibrated_gain(run, labels, fit)) < min_gain:
        log.warning(
            "The model is %s than a constant prediction: its val_loss is %s, and a constant prediction of %s scores "
            "%s%s. %s. Compare with train_xgboost.py.",
            "not better" if gain < MIN_GAIN else "hardly better",
            *(format_metric(final), objective.constant_prediction, format_metric(constant)),
            f", {abs(gain):.1%} {'less' if gain < 0 else 'more'}" if abs(gain) >= MIN_GAIN else "",
            explain_no_gain(run.label_limits, train_losses),
        )
    return {"val_loss": {"final": final, "constant_prediction": constant, "gain": gain}}


def _calibrated_gain(run: TrainingRun, labels: np.ndarray, fit: ScalingFit | None) -> float:
    """Return the gain of the calibrated outputs, without class weights, as the calibration; -1 without calibration."""
    if fit is None or fit.scaling is None or fit.held_out is None:
        return -1.0
    unweighted = run.objective
    if run.job.class_weights is not None:
        job = run.job.model_copy(update={"class_weights": None})
        unweighted = make_objective(run.task, job, run.data.splits["train"])
    constant = unweighted.constant_loss(labels)
    return 1 - fit.held_out[1] / constant if constant > 0 else -1.0


def explain_no_gain(limits: Sequence[LabelLimit], train_losses: Sequence[float]) -> str:
    """Return the probable cause and the fix of a model that is not better than a constant prediction.

    Args:
        limits: what about the labels limits any model.
        train_losses: the training loss before each validation.
    """
    first, last = (train_losses[0], train_losses[-1]) if train_losses else (0.0, 0.0)
    if first - last <= MIN_FALL * abs(first):
        has_grown = last - first > MIN_GROWTH * abs(first)
        return convergence.advise(limits, convergence.suggest_learning_rate(has_grown))
    fix = "check that val has the same kind of rows as train, use more rows, or a model_class with fewer parameters"
    fall = f"The training loss fell from {format_metric(first)} to {format_metric(last)}, so the model fits train only"
    return f"{fall}. {convergence.advise(limits, fix)}"
