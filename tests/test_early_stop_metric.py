"""The metric that selects the best checkpoint is defined, or the job fails with a fix."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.errors import DataError, MetricUndefinedError
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.evaluation.report import ScoredSplit
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.task_choice import choose_metrics
from fusionzoo.training.checkpointing.best_checkpoints import metric_mode
from fusionzoo.training.guards.validation import ValidationGuard
from shop import JobFolder, shop_rows
from task_helpers import make_classification
from training_helpers import make_job_settings, make_random_split


@pytest.mark.parametrize("metric", ["val_loss", *(f"val/{name}" for name in CLASSIFICATION_METRICS)])
def test_every_metric_has_the_direction_of_its_name(metric: str) -> None:
    lower_is_better = ("val_loss", "val/log_loss", "val/brier_score")
    mode = metric_mode(metric, choose_metrics(make_job_settings()))
    assert mode == ("min" if metric in lower_is_better else "max")


@pytest.mark.parametrize("metric", ["val_loss", "val/auroc", "val/log_loss", "val/quadratic_kappa"])
def test_a_metric_selects_the_best_validation_of_a_job(metric: str, job: JobFolder, capsys: Any) -> None:
    job.fill(rows=100, early_stop_metric=metric, max_epochs=4, early_stop_patience=9, lr=0.02)
    assert job.run() == 0, job.failure
    name = metric.replace("/", "_")
    out = capsys.readouterr().out
    values = [float(value) for value in re.findall(rf"#metric {name}=([-\d.]+);", out)][
        :4
    ]  # the next one is that of the artifacts
    best = (min if metric in ("val_loss", "val/log_loss") else max)(values)
    saved = torch.load(job.root / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (best_state,) = [state for key, state in saved.items() if key.startswith("BestCheckpoints")]
    assert len(values) == 4
    assert best_state["monitor"] == metric
    assert float(best_state["best_model_score"]) == pytest.approx(best, abs=1e-6)
    if metric.startswith("val/"):
        final = json.loads((job.output / "metrics.json").read_text())["splits"]["val"]["metrics"]
        assert final[metric.removeprefix("val/")] == pytest.approx(best, abs=0.03), "training may be in bf16"


def test_a_val_of_one_class_is_rejected_before_training(job: JobFolder) -> None:
    job.fill(early_stop_metric="val/matthews_corrcoef")
    job.channel("val", shop_rows(30, 1).assign(target=1))
    assert job.run() == 1
    assert "all rows are of one class, so val/matthews_corrcoef is not defined" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


@pytest.mark.parametrize("metric", [f"val/{name}" for name in CLASSIFICATION_METRICS])
def test_a_val_of_one_class_is_rejected_for_every_metric(metric: str) -> None:
    with pytest.raises(DataError, match=f"all rows are of one class, so {metric} is not defined"):
        make_classification().check_val_labels(np.ones(30, np.int64), metric, None)


def test_a_kappa_of_classes_without_an_order_is_rejected_before_training() -> None:
    labels = np.array([0, 1, 2])
    task, ordered = (
        Classification(LabelMap("mood", ("bad", "good", "ok"), is_ordered=is_ordered)) for is_ordered in (False, True)
    )
    with pytest.raises(DataError, match="column 'mood': val/quadratic_kappa needs classes with an order") as caught:
        task.check_val_labels(labels, "val/quadratic_kappa", None)
    assert "Fix: set classes to the labels from the lowest to the highest" in str(caught.value)
    task.check_val_labels(labels, "val/matthews_corrcoef", None)
    make_classification(("no", "yes")).check_val_labels(np.array([0, 1]), "val/quadratic_kappa", None)
    ordered.check_val_labels(labels, "val/quadratic_kappa", None)
    scores = np.eye(3)[[0, 1, 1]]
    for one, kappa in ((task, None), (ordered, pytest.approx(2 / 3))):
        assert one.compute_metrics(labels, scores)["quadratic_kappa"] == kappa
        assert one.evaluate_split("val", ScoredSplit(labels, scores)).metrics["quadratic_kappa"] == kappa


def test_a_val_without_class_weights_above_0_is_rejected_before_the_first_step(job: JobFolder) -> None:
    job.fill(class_weights=[0.0, 1.0])
    job.channel("val", shop_rows(30, 1).assign(target=0))
    assert job.run() == 1
    assert "all rows are of classes with weight 0 (class_weights 0, 1), so val_loss is 0 / 0" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
@pytest.mark.parametrize(
    ("task", "metric"), [("regression", "rmse"), ("classification", "auroc"), ("multilabel", "f1")]
)
def test_the_advice_on_a_metric_fits_the_task_and_never_names_the_metric_itself(
    value: float | None, task: str, metric: str
) -> None:
    of_metric, of_loss = (str(MetricUndefinedError(name, value, task)) for name in (f"val/{metric}", "val_loss"))
    assert "set early_stop_metric: val_loss" in of_metric
    assert "set early_stop_metric" not in of_loss
    assert ("classes" in of_metric) == (task == "classification" and value != math.inf)
    assert ("other labels" in of_metric) == (task == "multilabel" and value != math.inf)
    assert ("lower lr" in of_loss) == (value is not None)
    assert ("label_name" in of_loss) == (task == "regression")


@pytest.mark.parametrize("value", [float("nan"), None])
def test_an_undefined_metric_is_an_error(value: float | None) -> None:
    guard = ValidationGuard(make_job_settings(early_stop_metric="val/auroc"), make_random_split(9))
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.MonkeyPatch.context() as patched:
        metrics = {} if value is None else {"val/auroc": torch.tensor(value)}
        patched.setattr(Trainer, "callback_metrics", metrics)
        with pytest.raises(MetricUndefinedError, match=r"early_stop_metric val/auroc (is|was not computed)"):
            guard.on_validation_end(trainer, None)  # type: ignore[arg-type]
        patched.setattr(Trainer, "callback_metrics", {"val/auroc": torch.tensor(0.5)})
        guard.on_validation_end(trainer, None)  # type: ignore[arg-type]
