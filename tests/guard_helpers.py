"""A small training with all guards, with a model that a test makes diverge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.tasks.class_objective import ClassObjective
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.tasks.task_choice import choose_metrics
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.guards import callbacks, memory
from fusionzoo.training.module import TrainingModule
from training_helpers import make_job_settings, make_random_split

Change = Callable[["ScriptedModel", Batch, Tensor], Tensor | ModelOutput]


class ScriptedModel(nn.Module):
    """A linear layer over the numbers, whose logits a function changes."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.classify, self.change, self.batches = nn.Linear(2, 2), change, 0
        self.spare = nn.Parameter(torch.zeros(3))  # receives no gradient

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        self.batches += self.training
        return self.change(self, batch, self.classify(batch.numbers))


def make_named_split() -> EncodedSplit:
    """Return 60 random rows with the ids 'a0' to 'a59'."""
    return replace(make_random_split(60), ids=pa.array([f"a{i}" for i in range(60)]))


def fit_with_guards(
    change: Change,
    folder: Path,
    precision: Any = 32,
    epochs: int = 2,
    weights: Any = (1.0, 1.0),
    limits: Sequence[LabelLimit] = (),
    **changes: Any,
) -> tuple[ScriptedModel, SplitsDataModule, Trainer]:
    """Train on 60 rows with the ids 'a0' to 'a59', in batches of 8, with all guards and checkpoints."""
    torch.manual_seed(0)
    data = make_named_split()
    settings = make_job_settings(batch_size=8, lr=0.01, unknown_category_rate=0, **changes)
    model, splits = ScriptedModel(change), SplitsDataModule(data, data, settings)
    steps = optimizers.steps_per_epoch(splits.steps, settings) * epochs
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=precision,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val or None,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            *callbacks.guard_callbacks(settings, splits, limits),
            *best_checkpoints.make_checkpoint_callbacks(folder, settings, choose_metrics(settings)),
        ],
    )
    groups, objective = optimizers.parameter_groups(model, None, settings, []), ClassObjective(settings, weights)
    module = TrainingModule(model, settings, groups, objective, classification_metrics, steps)
    with memory.explain_training_memory(trainer, settings):
        trainer.fit(module, datamodule=splits)
    return model, splits, trainer


def ids_of_batch(number: int, **changes: Any) -> list[str]:
    """Return the ids of a training batch; `number` counts from 1 over all epochs."""
    splits = SplitsDataModule(make_random_split(60), make_random_split(60), make_job_settings(batch_size=8, **changes))
    epoch, batch = divmod(number - 1, splits.steps)
    return [f"a{row}" for row in splits.order.batches(epoch)[batch]]
