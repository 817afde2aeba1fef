"""The training loss, the validation loss and the class weights."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.errors import DataError
from fusionzoo.settings import JobSettings
from fusionzoo.tasks import class_objective as losses
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput
from training_helpers import fit_linear_model, make_job_settings, make_random_split


def make_logits(classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(40, classes, generator=g),
        torch.randint(0, classes, (40,), generator=g),
        torch.tensor([1.0, 4, 0.5]),
    )


def mean_loss(settings: JobSettings, logits: Tensor, labels: Tensor, weights: Tensor) -> float:
    return float(losses.compute_row_losses(logits, labels, settings, weights).sum() / weights[labels].sum())


def test_label_smoothing_equals_that_of_torch_with_class_weights() -> None:
    logits, labels, weights = make_logits()
    for smoothing in (0.0, 0.2):
        found = mean_loss(make_job_settings(label_smoothing=smoothing), logits, labels, weights)
        assert found == pytest.approx(F.cross_entropy(logits, labels, weights, label_smoothing=smoothing).item())


def test_focal_loss_follows_its_formula_and_equals_cross_entropy_at_gamma_0() -> None:
    logits, labels, weights = make_logits()
    p = logits.softmax(-1)[torch.arange(40), labels].double()
    for gamma in (0.0, 0.5, 2.0, 5.0):
        expected = (weights[labels] * (1 - p) ** gamma * -p.log()).sum() / weights[labels].sum()
        found = mean_loss(make_job_settings(loss="focal", focal_gamma=gamma), logits, labels, weights)
        assert found == pytest.approx(expected.item(), rel=1e-5)
    assert mean_loss(make_job_settings(loss="focal", focal_gamma=0), logits, labels, weights) == pytest.approx(
        mean_loss(make_job_settings(), logits, labels, weights)
    )


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal_loss_has_a_finite_gradient_at_probabilities_of_0_and_1(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], requires_grad=True)
    losses.compute_row_losses(
        logits, torch.tensor([0, 0, 1]), make_job_settings(loss="focal", focal_gamma=gamma), torch.ones(2)
    ).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert not logits.grad[0].any()
    assert logits.grad[1, 1] == pytest.approx(1.0)


def test_val_loss_is_cross_entropy_with_every_training_loss() -> None:
    data, val_and_train_losses = make_random_split(60), []
    for changes in ({}, {"loss": "focal"}, {"label_smoothing": 0.4}):
        settings = make_job_settings(lr=1e-9, batch_size=20, **changes)
        throughput = Throughput(Phases())
        _, trainer = fit_linear_model(settings, data, [1.0, 3.0], epochs=1, throughput=throughput)
        val_and_train_losses.append((float(trainer.callback_metrics["val_loss"]), throughput.read().mean_loss or 0.0))
    assert [val for val, _ in val_and_train_losses] == pytest.approx([val_and_train_losses[0][0]] * 3)
    assert len({round(train, 4) for _, train in val_and_train_losses}) == 3


def test_balanced_weights_equal_scikit_learns_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    data = replace(make_random_split(60), labels=labels)
    label_map = LabelMap("y", ("a", "b", "c"))
    with caplog.at_level(logging.INFO):
        found = losses.compute_class_weights(make_job_settings(class_weights="balanced"), data, label_map)
    assert found == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert f"{found[2]:.6g}" in caplog.text
    assert losses.compute_class_weights(make_job_settings(class_weights=[1.0, 2.0, 3.0]), data, label_map) == [
        1.0,
        2.0,
        3.0,
    ]
    assert losses.compute_class_weights(make_job_settings(), data, label_map) == [1.0] * 3


def test_balanced_weights_with_a_class_without_rows_are_an_error() -> None:
    with pytest.raises(DataError, match=r"column 'y'.*no row of 'c'"):
        losses.compute_class_weights(
            make_job_settings(class_weights="balanced"), make_random_split(60), LabelMap("y", ("a", "b", "c"))
        )
