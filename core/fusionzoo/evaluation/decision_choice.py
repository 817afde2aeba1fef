"""Choose on val how probabilities become decisions: thresholds that reach a goal, or the lowest expected cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.label_decision import THRESHOLD, predict_labels

MAX_LISTED = 5


@dataclass(frozen=True)
class Goal:
    """A setting that says how to decide, and its value."""

    setting: str
    value: Any


@dataclass(frozen=True)
class DecisionFit:
    """A decision rule, and what it gives on val.

    Attributes:
        goal: what the rule is for.
        rule: how to decide.
        on_val: by class or label: its threshold, and precision, recall, F1 and predicted rows of val.
        warnings: why a goal is not reached, in sentences.
    """

    goal: Goal
    rule: DecisionRule
    on_val: dict[str, dict[str, Any]]
    warnings: list[str]

    def describe(self) -> str:
        """Return one line for the log."""
        if not self.on_val:
            return f"Decisions: {self.rule.name} ({self.goal.setting})."
        shown = [
            f"'{name}' above {entry['threshold']:.6g} (precision {_format(entry['precision'])}, recall "
            f"{_format(entry['recall'])}, {pluralize(entry['predicted'], 'predicted row')} of val)"
            for name, entry in list(self.on_val.items())[:MAX_LISTED]
        ]
        more = len(self.on_val) - MAX_LISTED
        return f"Decisions ({self.goal.setting}): {'; '.join(shown)}{f'; and {more} more' if more > 0 else ''}."

    def as_json(self) -> dict[str, Any]:
        """Return the entry of metrics.json, as plain values."""
        return {
            "setting": self.goal.setting,
            "value": self.goal.value,
            "rule": self.rule.name,
            "on_val": self.on_val,
            "warnings": self.warnings,
        }


@dataclass(frozen=True)
class Cuts:
    """All ways to predict the rows with the highest scores, in order of the number of rows.

    Attributes:
        thresholds: [cuts]; the rows with a higher score are predicted. Each is between two scores of float32, so that a
            rounding error of a score does not change a prediction.
        hits: [cuts], the predicted rows that have the label.
        predicted: [cuts], the predicted rows.
        support: all rows that have the label.
    """

    thresholds: NDArray[np.float32]
    hits: NDArray[np.int64]
    predicted: NDArray[np.int64]
    support: int


def list_cuts(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> Cuts:
    """Return the cuts for labels [rows] and probabilities [rows]. A row with probability 0 is never predicted."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float32)
    is_last = np.append(ordered[1:] < ordered[:-1], True) & (ordered > 0)  # of rows with equal scores
    ends = np.flatnonzero(is_last)
    lower = np.append(ordered, np.float32(0))[ends + 1]
    middle = ((ordered[ends].astype(np.float64) + lower) / 2).astype(np.float32)
    hits = np.cumsum(is_true[order].astype(np.int64))[ends]
    return Cuts(np.where(middle < ordered[ends], middle, lower), hits, ends + 1, int(is_true.sum()))


def choose_threshold(goal: Goal, is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> tuple[float, str | None]:
    """Return the threshold for one label, and why it does not reach the goal, as part of a sentence; else None.

    - best F1: the maximum F1; of equal ones the highest threshold.
    - precision of at least p: the maximum recall; of equal ones the highest threshold.
    - recall of at least r: the maximum precision; of equal ones the maximum recall.

    A goal that is not reached leaves the threshold at 0.5.
    """
    cuts = list_cuts(is_true, scores)
    if not cuts.support or not len(cuts.thresholds):
        return THRESHOLD, "val has no row with it" if not cuts.support else "all its probabilities are 0"
    precision, recall = cuts.hits / cuts.predicted, cuts.hits / cuts.support
    order: tuple[NDArray[np.floating], NDArray[np.floating]]
    if goal.setting == "min_precision":
        is_reached, order = precision >= goal.value, (cuts.thresholds, recall)
        best = f"the best precision is {precision.max():.4g}"
    elif goal.setting == "min_recall":
        is_reached, order = recall >= goal.value, (recall, precision)
        best = f"the best recall is {recall.max():.4g}"
    else:
        is_reached, best = np.ones(len(recall), bool), ""
        order = (cuts.thresholds, 2 * cuts.hits / (cuts.predicted + cuts.support))
    if not is_reached.any():
        return THRESHOLD, best
    candidates = np.flatnonzero(is_reached)
    chosen = np.lexsort([values[candidates] for values in order])[-1]  # by the last of them, then by the first
    return float(cuts.thresholds[candidates[chosen]]), None


def fit_thresholds(
    goal: Goal, is_true: NDArray[np.bool_], scores: NDArray[np.floating], names: Sequence[str]
) -> DecisionFit:
    """Return a threshold for each label, from labels and probabilities of val, both [rows, labels]."""
    reasons: list[str | None] = [None] * len(names)
    if goal.setting in ("min_precision", "min_recall") or goal.value == "best_f1":
        chosen = [choose_threshold(goal, is_true[:, k], scores[:, k]) for k in range(len(names))]
        thresholds, reasons = [threshold for threshold, _ in chosen], [reason for _, reason in chosen]
    elif goal.setting == "cost_matrix":
        thresholds = [threshold_of_costs(goal.value)] * len(names)
    else:
        thresholds = list(goal.value) if isinstance(goal.value, list) else [goal.value] * len(names)
    rule = DecisionRule(tuple(float(threshold) for threshold in thresholds))
    predicted = predict_labels(scores, rule)
    on_val = {
        name: {
            "threshold": rule.thresholds[k],
            "is_reached": reasons[k] is None,
            **_measure(is_true[:, k], predicted[:, k]),
        }
        for k, name in enumerate(names)
    }
    missed = [f"'{name}': {reason}" for name, reason in zip(names, reasons, strict=True) if reason is not None]
    return DecisionFit(goal, rule, on_val, _warn_of_missed(goal, missed))


def threshold_of_costs(costs: Sequence[Sequence[float]]) -> float:
    """Return the probability of class 1 above which predicting it costs less than class 0 (Elkan 2001).

    `costs` are [true class][predicted class] of two classes.
    """
    false_positive, false_negative = costs[0][1] - costs[0][0], costs[1][0] - costs[1][1]
    return false_positive / (false_positive + false_negative)


def _format(metric: float | None) -> str:
    return "undefined" if metric is None else f"{metric:.4g}"


def _measure(is_true: NDArray[np.bool_], is_predicted: NDArray[np.bool_]) -> dict[str, Any]:
    support, predicted, hits = int(is_true.sum()), int(is_predicted.sum()), int((is_true & is_predicted).sum())
    return {
        "precision": hits / predicted if predicted else None,
        "recall": hits / support if support else None,
        "f1": 2 * hits / (support + predicted) if support + predicted else None,
        "predicted": predicted,
    }


def _warn_of_missed(goal: Goal, missed: Sequence[str]) -> list[str]:
    if not missed:
        return []
    more = len(missed) - MAX_LISTED
    shown = "; ".join(missed[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
    return [
        f"{goal.setting} {goal.value} is not reached on val for {pluralize(len(missed), 'label')}, and the threshold "
        f"stays at {THRESHOLD}. {shown}. Set another value, or add rows to val."
    ]
