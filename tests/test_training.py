"""Training: parameter groups and learning rates, batches, validation metrics, stale checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing import checkpoint_io
from fusionzoo.training.monitoring.validation_metrics import ValidationMetrics
from task_helpers import make_class_objective, make_classification
from training_helpers import EncoderWithHead, make_job_settings


def rates_and_decays(groups: list[dict[str, Any]], net: EncoderWithHead) -> dict[str, tuple[float, float]]:
    """Return the learning rate and weight decay of each parameter, by its name."""
    named = {id(p): name for name, p in net.named_parameters()}
    return {named[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_a_pretrained_encoder_is_tuned_at_lr_and_the_head_at_ten_times_lr() -> None:
    net = EncoderWithHead()
    found = rates_and_decays(
        optimizers.parameter_groups(net, net.encoder, make_job_settings(lr=2e-5, weight_decay=0.1), []), net
    )
    assert found["encoder.2.weight"] == (2e-5, 0.1)
    assert found["head.weight"] == pytest.approx((2e-4, 0.1))
    scaled = optimizers.parameter_groups(
        net, net.encoder, make_job_settings(lr=1e-3, encoder_lr_scale=0.1, head_lr_scale=1), []
    )
    assert rates_and_decays(scaled, net)["encoder.2.weight"][0] == pytest.approx(1e-4)
    assert rates_and_decays(scaled, net)["head.weight"][0] == pytest.approx(1e-3)


def test_without_a_trainable_pretrained_part_all_parameters_have_the_rate_lr() -> None:
    net = EncoderWithHead()
    assert {
        lr
        for lr, _ in rates_and_decays(
            optimizers.parameter_groups(net, None, make_job_settings(lr=0.01), []), net
        ).values()
    } == {0.01}
    assert {g["lr"] for g in optimizers.parameter_groups(net, None, make_job_settings(), [])} == {optimizers.FRESH_LR}
    net.encoder.requires_grad_(False)
    frozen = optimizers.parameter_groups(net, net.encoder, make_job_settings(), [])
    assert {g["lr"] for g in frozen} == {optimizers.FRESH_LR}


def test_biases_norms_and_embeddings_do_not_decay_and_each_parameter_is_in_one_group() -> None:
    net = EncoderWithHead()
    groups = optimizers.parameter_groups(net, net.encoder, make_job_settings(weight_decay=0.1), [])
    found = rates_and_decays(groups, net)
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters())) == len(found)
    assert {name for name, (_, decay) in found.items() if decay} == {"encoder.2.weight", "head.weight"}


def test_a_plugins_groups_are_kept_and_core_groups_the_remaining_parameters() -> None:
    net = EncoderWithHead()
    plugin_groups = [{"params": [net.head.weight], "lr_scale": 0.5, "weight_decay": 0.0}]
    found = rates_and_decays(
        optimizers.parameter_groups(net, None, make_job_settings(lr=1e-2, weight_decay=0.1), plugin_groups), net
    )
    assert found["head.weight"] == (5e-3, 0.0)
    assert found["head.bias"] == (1e-2, 0.0)


@pytest.mark.parametrize(("name", "class_name"), [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")])
def test_the_setting_optimizer_selects_the_class(name: str, class_name: str) -> None:
    net = EncoderWithHead()
    settings = make_job_settings(optimizer=name, momentum=0.7, adam_epsilon=1e-5)
    optimizer = optimizers.build_optimizer(optimizers.parameter_groups(net, None, settings, []), settings)
    assert type(optimizer).__name__ == class_name
    assert optimizer.defaults.get("momentum", 0.7) == 0.7
    assert optimizer.defaults.get("eps", 1e-5) == 1e-5


def schedule_rates(steps: int, **changes: Any) -> list[float]:
    settings = make_job_settings(lr=1.0, optimizer="sgd", **changes)
    optimizer = optimizers.build_optimizer([{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}], settings)
    schedule = optimizers.build_scheduler(optimizer, settings, steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_learning_rate_warms_up_linearly_and_decays_linearly_to_zero() -> None:
    rates = schedule_rates(100, warmup_steps=10)
    assert np.argmax(rates) == 10
    assert rates[10] == 1.0
    assert np.allclose(np.diff(rates[:10]), rates[1] - rates[0])
    assert np.allclose(np.diff(rates[10:]), -1 / 90)
    assert rates[-1] == pytest.approx(1 / 90)
    assert schedule_rates(100, warmup_fraction=0.1) == rates


def test_a_constant_schedule_stays_constant_after_the_warm_up() -> None:
    assert set(schedule_rates(20, schedule="constant", warmup_steps=4)[4:]) == {1.0}
    assert schedule_rates(5, schedule="constant", warmup_steps=0) == [1.0] * 5


def test_validation_metrics_equal_those_of_the_final_evaluation_for_any_batches() -> None:
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(57, 3), torch.randint(0, 3, (57,)), torch.tensor([1.0, 2.0, 5.0])
    metrics = ValidationMetrics(make_class_objective(weights.tolist()), make_classification().compute_metrics)
    for start in range(0, 57, 10):
        metrics.update(logits[start : start + 10], labels[start : start + 10])
    computed = metrics.compute()
    expected = classification_metrics(labels.numpy(), logits.softmax(-1).numpy())
    defined = {name: value for name, value in expected.items() if value is not None}
    assert CLASSIFICATION_METRICS.keys() - defined.keys() == {"quadratic_kappa"}  # the classes have no order
    assert {name: computed[f"val/{name}"] for name in defined} == pytest.approx(defined)
    assert "val/quadratic_kappa" not in computed
    assert computed["val_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels, weight=weights).item())


def test_an_undefined_metric_is_omitted() -> None:
    metrics = ValidationMetrics(make_class_objective(), make_classification().compute_metrics)
    metrics.update(torch.randn(4, 2), torch.zeros(4, dtype=torch.long))
    assert "val/auroc" not in metrics.compute()
    assert "val/accuracy" in metrics.compute()


def test_checkpoints_of_an_earlier_run_are_deleted_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("best.ckpt", "last.ckpt", "mine.txt"):
        (tmp_path / name).write_text("x")
    assert checkpoint_io.delete_checkpoints(tmp_path) == ["best.ckpt", "last.ckpt"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
