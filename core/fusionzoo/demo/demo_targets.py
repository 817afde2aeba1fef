"""What a demo predicts for each task, with the scores that no model can beat: the true function of each row.

classification: whether a dispute followed, with a known chance (`fusionzoo.demo.shop`).
multilabel: whether a dispute followed, the item came back, and support called a manager, each with a known chance.
regression: the minutes that support spent on it, with noise of a known size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_indicators import LabelIndicators
from fusionzoo.data.targets.numeric_target import NumericTarget, TargetScale
from fusionzoo.demo.shop import LABEL, ShopRows
from fusionzoo.evaluation.split_evaluation import Metrics
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.regression import Regression
from fusionzoo.tasks.task import Task

LABELS = ("disputed", "returned", "escalated")
MINUTES = "support_minutes"
MEAN_MINUTES, MINUTES_PER_SCORE, NOISE_MINUTES = 75.0, 5.0, 8.0


@dataclass(frozen=True)
class DrawnTarget:
    """The label columns [rows] by name, the encoded labels, and the best possible scores [rows, outputs]."""

    task: Task
    columns: Mapping[str, np.ndarray]
    labels: np.ndarray
    best_scores: np.ndarray


@dataclass(frozen=True)
class DemoTarget:
    """The target of a demo. `bounded_metrics` are those that the best possible scores bound, but for chance."""

    settings: Mapping[str, Any]
    bounded_metrics: tuple[str, ...]
    draw: Callable[[ShopRows, np.random.Generator], DrawnTarget]


def compute_best_metrics(target: DemoTarget, drawn: DrawnTarget, rows: slice) -> Metrics:
    """Return the bounded metrics of the best possible scores of these rows; None where they are undefined."""
    metrics = drawn.task.compute_metrics(drawn.labels[rows], drawn.best_scores[rows])
    return {name: metrics[name] for name in target.bounded_metrics}


def _draw_classes(rows: ShopRows, rng: np.random.Generator) -> DrawnTarget:
    labels, chance = rows.table[LABEL].to_numpy(), rows.dispute_probability
    task = Classification(LabelMap(LABEL, (0, 1)))
    return DrawnTarget(task, {LABEL: labels}, labels, np.stack([1 - chance, chance], axis=1))


def _draw_labels(rows: ShopRows, rng: np.random.Generator) -> DrawnTarget:
    logits = np.stack(
        [
            rows.score - 2.0,
            rows.table_score + rows.interaction - rows.text_score - 1.0,
            1.5 * rows.text_score + 0.5 * rows.table_score - 2.5,
        ],
        axis=1,
    )
    chances = 1 / (1 + np.exp(-logits))
    labels = (rng.random(chances.shape) < chances).astype(np.int8)
    columns = dict(zip(LABELS, labels.astype(np.int64).T, strict=True))
    return DrawnTarget(Multilabel(LabelIndicators(LABELS)), columns, labels, chances)


def _draw_minutes(rows: ShopRows, rng: np.random.Generator) -> DrawnTarget:
    best = MEAN_MINUTES + MINUTES_PER_SCORE * rows.score
    minutes = best + rng.normal(0, NOISE_MINUTES, len(best))
    task = Regression(NumericTarget((TargetScale(MINUTES, MEAN_MINUTES, NOISE_MINUTES),)))
    return DrawnTarget(task, {MINUTES: minutes}, minutes[:, None], best[:, None])


DEMO_TARGETS: Mapping[str, DemoTarget] = MappingProxyType(
    {
        "classification": DemoTarget(
            {"label_name": LABEL, "num_classes": 2, "early_stop_metric": "val/auroc"},
            ("auroc", "average_precision", "accuracy", "log_loss", "brier_score"),
            _draw_classes,
        ),
        "multilabel": DemoTarget(
            {"task": "multilabel", "label_name": list(LABELS), "early_stop_metric": "val/average_precision"},
            (
                *("auroc", "auroc_micro", "average_precision", "average_precision_micro"),
                *("accuracy", "hamming_loss", "log_loss"),
            ),
            _draw_labels,
        ),
        "regression": DemoTarget(
            {"task": "regression", "label_name": MINUTES, "early_stop_metric": "val/rmse"},
            ("rmse", "mae", "r2"),
            _draw_minutes,
        ),
    }
)
