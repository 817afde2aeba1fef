"""Guards of a training: what diverges, learns nothing, needs too much memory or has no metric says so, and what to do."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from fusionzoo.errors import (
    BatchMemoryError,
    DataError,
    MetricUndefinedError,
    TrainingDivergedError,
    encoder_rate_unusual,
    lacks_memory,
)
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.settings import METRICS
from fusionzoo.training import checkpoints, guards, learning, memory, optimizers, precision
from fusionzoo.training.datamodule import SplitsModule
from fusionzoo.training.module import Classifier
from shop import JobFolder, made_split, shop_rows
from test_training import job, split

Change = Callable[["Scripted", Batch, Tensor], Tensor | ModelOutput]


class Scripted(nn.Module):
    """Logits of the numbers; in one training batch, or for val, something happens to them."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.classify, self.change, self.batches = nn.Linear(2, 2), change, 0
        self.spare = nn.Parameter(torch.zeros(3))  # gets no gradient

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        self.batches += self.training
        return self.change(self, batch, self.classify(batch.numbers))


def fit(
    change: Change, folder: Path, arithmetic: Any = 32, epochs: int = 2, weights: Any = (1.0, 1.0), **changes: Any
) -> tuple[Scripted, SplitsModule, Trainer]:
    """Train on 60 rows, 8 to a batch, named 'a0' to 'a59', with all guards and checkpoints."""
    torch.manual_seed(0)
    rows = split(60)
    data = replace(rows, ids=pa.array([f"a{i}" for i in range(60)]))
    settings = job(batch_size=8, lr=0.01, unknown_category_rate=0, **changes)
    model, splits = Scripted(change), SplitsModule(data, data, settings)
    steps = optimizers.steps_of(splits.steps, settings) * epochs
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=arithmetic,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val or None,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*guards.callbacks(settings, splits), *checkpoints.callbacks(folder, settings)],
    )
    module = Classifier(model, settings, optimizers.parameter_groups(model, None, settings, []), list(weights), steps)
    with memory.advice(trainer, settings, splits):
        trainer.fit(module, datamodule=splits)
    return model, splits, trainer


def rows_of_batch(number: int, **changes: Any) -> list[str]:
    """Ids of the rows of a training batch, counted from 1 over the epochs."""
    splits = SplitsModule(split(60), split(60), job(batch_size=8, **changes))
    epoch, batch = divmod(number - 1, splits.steps)
    return [f"a{row}" for row in splits.order.batches(epoch)[batch]]


class Infinite(torch.autograd.Function):
    """As it is; its gradient is infinite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, torch.inf)


# --- what diverges


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [3, 8, 11])
def test_a_loss_that_is_no_number_names_its_step_its_rows_and_the_gradients_before_it(
    value: float, number: int, tmp_path: Path
) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == number:
            logits = logits * torch.ones(batch.rows, 1).index_fill(0, torch.tensor([1, 4]), value)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    told, rows = str(raised.value), rows_of_batch(number)
    epoch, batch = divmod(number - 1, 8)
    assert f"in step {number} (epoch {epoch + 1}, batch {batch + 1} of 8): the loss is " in told
    assert f"At fault: 2 of the batch's {len(rows)} rows: '{rows[1]}', '{rows[4]}'." in told
    assert "(2 of 2): all of them" in told
    assert re.search(rf"Largest gradients in step {number - 1} \(norms, before clipping\): classify\.\w+ [\d.]+", told)
    assert "Learning rates: " in told
    assert "lower lr (to 0.001)" in raised.value.parts[1]
    assert "gradient_clip_val" not in told, "it is 1 already"
    assert "precision" not in told, "it is 32 already"
    assert len(told) < 1024


def test_the_learning_rate_that_is_named_is_that_of_the_step(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 2 else 1)

    with pytest.raises(TrainingDivergedError, match=re.escape("Learning rates: 5.0e-03.")):
        fit(change, tmp_path, epochs=1, warmup_steps=3)  # a quarter, a half, three quarters of 0.01


def test_a_penalty_that_is_no_number_is_not_blamed_on_rows(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> ModelOutput:
        return ModelOutput(logits, {"load": logits.sum() * 0 + (torch.inf if model.batches == 3 else 0)})

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    assert "step 3 " in str(raised.value)
    assert "Each row's own loss is finite: it is the architecture's penalties" in str(raised.value)
    assert all(f"'{row}'" in str(raised.value) for row in rows_of_batch(3)[:5])


def test_an_infinite_gradient_of_a_finite_loss_names_parameters_and_the_rows_of_the_step(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 4:
            return logits - model.classify.bias + Infinite.apply(model.classify.bias)  # type: ignore[no-any-return]
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path, accumulate_grad_batches=2)
    told = str(raised.value)
    assert "in step 2 (epoch 1, batch 4 of 8): the loss is finite, but gradients are NaN or infinite" in told
    assert "Gradients that are not finite (1 of 2): classify.bias." in told
    rows = [*rows_of_batch(3), *rows_of_batch(4)]
    assert f"'{rows[0]}'" in told
    assert f"and {len(rows) - 5} more" in told


def test_in_an_accumulated_step_the_batch_at_fault_is_named_and_not_the_others(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 5 else 1)

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path, accumulate_grad_batches=4)
    assert "in step 2 (epoch 1, batch 5 of 8)" in str(raised.value)
    assert all(f"'{row}'" in str(raised.value) for row in rows_of_batch(5)[:5])


def test_what_has_diverged_is_never_a_checkpoint(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        return logits * (torch.nan if model.training and model.batches == 16 else 1)  # the last before a validation

    with pytest.raises(TrainingDivergedError, match="step 16 "):
        fit(change, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt"}
    for path in tmp_path.iterdir():
        assert all(bool(value.isfinite().all()) for value in checkpoints.weights(path).values())


def test_a_weight_that_is_no_number_is_named_and_not_saved(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if model.training and model.batches == 8:
            model.spare.data[1] = torch.inf
        return logits

    with pytest.raises(TrainingDivergedError, match=r"step 8: weights .* not saved: spare\."):
        fit(change, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_outputs_for_val_that_are_no_numbers_name_the_rows_of_val(tmp_path: Path) -> None:
    def change(model: Scripted, batch: Batch, logits: Tensor) -> Tensor:
        if not model.training:
            logits = logits.masked_fill(torch.isin(batch.row, torch.tensor([7, 41]))[:, None], torch.nan)
        return logits

    with pytest.raises(TrainingDivergedError) as raised:
        fit(change, tmp_path)
    assert "step 8: the model's outputs for val after it are NaN or infinite" in str(raised.value)
    assert "2 of val's 60 rows: 'a7', 'a41'." in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_sound_training_is_left_alone_and_gives_the_same_weights_as_without_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for watched in (True, False):
        if not watched:
            monkeypatch.setattr(guards, "callbacks", lambda settings, splits: [])
            monkeypatch.setattr("test_training_guards.memory.advice", lambda *_: pytest.MonkeyPatch.context())
        model, _, _ = fit(lambda model, batch, logits: logits, tmp_path / str(watched))
        found.append(model.classify.weight.detach())
    assert torch.equal(*found)


def look(unfinite: tuple[float, float], step: int) -> Any:
    """What is kept of a batch of which a rank's loss, or a gradient, is not finite."""
    rows, norms = torch.tensor([5, 6]), guards.Norms(step, ["w"], torch.tensor([torch.inf]))
    place = f"step {step}"
    flags = torch.tensor(unfinite)
    return guards._Look(step, place, torch.tensor(1.0), torch.ones(2), rows, [rows], [0.1], norms, flags, None)


def test_under_fp16_gradients_may_overflow_but_not_for_ever() -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    scaled = pytest.MonkeyPatch()
    scaled.setattr(Trainer, "precision", "16-mixed")
    try:
        guard = guards.DivergenceGuard(job(), split(60).ids)
        for step in range(1, guards.OVERFLOWS):
            guard._judge(trainer, look((0, 1), step))
        guard._judge(trainer, look((0, 0), guards.OVERFLOWS))
        for step in range(1, guards.OVERFLOWS):
            guard._judge(trainer, look((0, 1), step))
        with pytest.raises(TrainingDivergedError, match=f"in {guards.OVERFLOWS} steps in a row"):
            guard._judge(trainer, look((0, 1), guards.OVERFLOWS))
        scaled.setattr(Trainer, "precision", "bf16-mixed")
        with pytest.raises(TrainingDivergedError, match='precision: "32"'):
            guards.DivergenceGuard(job(), split(60).ids)._judge(trainer, look((0, 1), 1))
    finally:
        scaled.undo()
