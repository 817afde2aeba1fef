"""The metric that selects the best checkpoint is defined, or the job fails with a fix."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from fusionzoo.errors import MetricUndefinedError
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.training.guards.validation import ValidationGuard
from shop import JobFolder, shop_rows
from training_helpers import make_job_settings, make_random_split


@pytest.mark.parametrize("metric", ["val_loss", *(f"val/{name}" for name in CLASSIFICATION_METRICS)])
def test_every_metric_can_select_the_best_validation_of_a_job(metric: str, job: JobFolder, capsys: Any) -> None:
    job.fill(rows=100, early_stop_metric=metric, max_epochs=4, early_stop_patience=9, lr=0.02)
    assert job.run() == 0, job.failure
    name = metric.replace("/", "_")
    out = capsys.readouterr().out
    values = [float(value) for value in re.findall(rf"#metric {name}=([\d.]+);", out)][
        :4
    ]  # the next one is that of the artifacts
    best = (min if metric in ("val_loss", "val/log_loss", "val/brier_score") else max)(values)
    saved = torch.load(job.root / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (best_state,) = [state for key, state in saved.items() if key.startswith("BestCheckpoints")]
    assert len(values) == 4
    assert best_state["monitor"] == metric
    assert float(best_state["best_model_score"]) == pytest.approx(best, abs=1e-6)
    if metric.startswith("val/"):
        final = json.loads((job.output / "metrics.json").read_text())["splits"]["val"]["metrics"]
        assert final[metric.removeprefix("val/")] == pytest.approx(best, abs=0.03), "training may be in bf16"


@pytest.mark.parametrize("metric", [f"val/{name}" for name in CLASSIFICATION_METRICS])
def test_a_val_of_one_class_is_rejected_before_training_for_every_metric(metric: str, job: JobFolder) -> None:
    job.fill(early_stop_metric=metric)
    job.channel("val", shop_rows(30, 1).assign(target=1))
    assert job.run() == 1
    assert f"all rows are of one class, so {metric} is not defined" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


def test_a_val_without_class_weights_above_0_is_rejected_before_the_first_step(job: JobFolder) -> None:
    job.fill(class_weights=[0.0, 1.0])
    job.channel("val", shop_rows(30, 1).assign(target=0))
    assert job.run() == 1
    assert "all rows are of classes with weight 0 (class_weights 0, 1), so val_loss is 0 / 0" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


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
