"""A first epoch without improvement causes a warning with numbers and a fix."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from fusionzoo.nn.schema import Batch
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.training.guards import convergence
from guard_helpers import ScriptedModel, fit_with_guards
from shop import JobFolder
from task_helpers import make_class_objective
from training_helpers import make_job_settings


@pytest.mark.parametrize(
    ("optimizer", "lr", "scale", "words"),
    [
        ("adamw", 2e-3, 1.0, "above the usual 2e-05 to 1e-04 with adamw"),
        ("adam", 1e-7, 0.5, "below the usual 2e-05 to 1e-04"),
        ("adamw", 1e-2, 0.05, None),
        ("adamw", None, 1.0, None),
        ("adamw", None, 1e-4, "below"),
        ("sgd", 0.1, 1.0, None),
        ("sgd", 2e-3, 1.0, None),
        ("sgd", 5.0, 1.0, "above the usual 1e-03 to 1e-01 with sgd"),
        ("sgd", 1e-7, 1.0, "below"),
    ],
)
def test_an_unusual_learning_rate_of_a_pretrained_encoder_is_reported_with_the_usual_ones(
    optimizer: str, lr: float | None, scale: float, words: str | None
) -> None:
    settings = make_job_settings(optimizer=optimizer, lr=lr, encoder_lr_scale=scale)
    assert convergence.check_learning_rate(settings, tuned=False) is None
    warning = convergence.check_learning_rate(settings, tuned=True)
    if words is None:
        assert warning is None
    else:
        assert warning is not None
        assert words in warning
        assert "Fix: set lr" in warning


def test_the_learning_rate_is_reported_only_if_pretrained_weights_are_trainable(
    job: JobFolder, minilm: str, capsys: Any
) -> None:
    cases = [({"freeze_text_encoder": False}, True), ({"freeze_text_encoder": True}, False)]
    for changes, warned in cases:
        bert = {"model_class": "multimodal_bert", "tokenizer": minilm, "embedding_dim": None, "num_channels": None}
        job.fill(rows=24, **bert, **changes, lr=0.05, max_epochs=1)
        assert job.run() == 0, job.failure
        assert ("The learning rate of the pretrained text encoder is 5.0e-02" in capsys.readouterr().out) == warned


EPOCHS: dict[str, Any] = {"epochs": 4, "early_stop_patience": 9}  # of 8 batches: the check needs 30 batches


def test_the_warning_has_the_loss_of_a_constant_prediction_and_the_losses_of_both_ends(
    tmp_path: Path, caplog: Any
) -> None:
    def change(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits  # every row's loss is ln 2

    with caplog.at_level(logging.WARNING, "fusionzoo"):
        _, splits, _ = fit_with_guards(change, tmp_path, **EPOCHS)
    labels = splits.val.labels
    assert labels is not None
    share = labels.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert (
        f"val_loss is 0.6931, and a constant prediction of val's class frequencies scores {entropy:.4f}" in caplog.text
    )
    assert "0.6931 per row in the first 2 batches and 0.6931 in the last 2" in caplog.text
    assert "largest learning rates 1.0e-02" in caplog.text
    assert caplog.text.count("No measurable improvement after 32 batches") == 1


def test_an_epoch_of_few_batches_is_judged_together_with_later_epochs(tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        fit_with_guards(lambda model, batch, logits: 0 * logits, tmp_path, epochs=5, early_stop_patience=9)
    assert caplog.text.count("No measurable improvement") == 1
    assert "No measurable improvement after 32 batches" in caplog.text


def test_a_loss_that_grew_asks_for_a_lower_learning_rate_and_a_flat_one_for_a_higher_one(
    tmp_path: Path, caplog: Any
) -> None:
    def grows(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        assert batch.labels is not None
        return 0 * logits - nn.functional.one_hot(batch.labels, 2).float() * model.batches

    def jumps_in_the_second_batch(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        assert batch.labels is not None
        return 0 * logits - nn.functional.one_hot(batch.labels, 2).float() * (9.0 if model.batches > 1 else 0.0)

    def is_flat(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits

    for change, fix in ((grows, "lower"), (jumps_in_the_second_batch, "lower"), (is_flat, "raise")):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "fusionzoo"):
            fit_with_guards(change, tmp_path / change.__name__, **EPOCHS)
        assert f"Fix: {fix} lr (largest learning rates 1.0e-02)" in caplog.text
        assert ("The training loss grew: it was" in caplog.text) == (fix == "lower")


def test_what_limits_the_labels_comes_before_the_learning_rate(tmp_path: Path, caplog: Any) -> None:
    limit = LabelLimit("there are few rows of class '1'", "", "add rows of class '1'")
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        fit_with_guards(lambda model, batch, logits: 0 * logits, tmp_path, limits=[limit], **EPOCHS)
    assert (
        "There are few rows of class '1'. Fix: add rows of class '1'; if this does not help, raise lr (largest "
        "learning rates 1.0e-02)" in caplog.text
    )


def test_either_sign_of_improvement_prevents_the_warning(tmp_path: Path, caplog: Any) -> None:
    def one_hot_labels(batch: Batch) -> Tensor:
        assert batch.labels is not None
        return nn.functional.one_hot(batch.labels, 2).float()

    def training_loss_decreases(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits + one_hot_labels(batch) * (model.batches - 32 if model.training else 0)

    def val_loss_is_low(model: ScriptedModel, batch: Batch, logits: Tensor) -> Tensor:
        return 0 * logits + one_hot_labels(batch) * (0.0 if model.training else 0.1)

    for number, change in enumerate((training_loss_decreases, val_loss_is_low)):
        with caplog.at_level(logging.WARNING, "fusionzoo"):
            fit_with_guards(change, tmp_path / str(number), **EPOCHS)
    assert caplog.text == ""


def test_the_loss_of_the_best_constant_prediction_is_the_entropy_of_the_weighted_class_frequencies() -> None:
    labels = np.array([0, 0, 0, 1])
    assert make_class_objective().constant_loss(labels) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert make_class_objective([1.0, 3.0]).constant_loss(labels) == pytest.approx(np.log(2))
    assert make_class_objective([1.0, 0.0]).constant_loss(labels) == 0
    assert make_class_objective([1.0] * 3).constant_loss(labels) == make_class_objective().constant_loss(labels)
