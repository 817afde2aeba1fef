"""Settings, data and small models that several tests of training share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.class_objective import ClassObjective
from fusionzoo.training import optimizers
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.monitoring.throughput import Throughput
from fusionzoo.training.resolved_settings import ResolvedJobSettings
from shop import made_split


def make_job_settings(**changes: Any) -> ResolvedJobSettings:
    """Return the settings of a two-class training, with `changes`."""
    job = {"model_class": "x", "id_name": "id", "label_name": "y", "num_classes": 2}
    chosen = {"max_epochs": 3, "early_stop_metric": "val_loss", "early_stop_patience": 3}
    defaults = {**chosen, "val_check_interval": 1.0, "average_checkpoints": 0}
    return ResolvedJobSettings(**{**job, **defaults, **changes})


def make_random_split(rows: int, seed: int = 0) -> EncodedSplit:
    """Return an encoded split of two classes; each row has one chunk of 1 to 19 tokens."""
    lengths = np.random.default_rng(seed).integers(1, 20, rows)
    return made_split(np.arange(rows + 1), np.cumsum([0, *lengths]), seed)


class EncoderWithHead(nn.Module):
    """A small text encoder with an embedding, a norm and a linear layer, and a classification head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 4))
        self.head = nn.Linear(4, 2)


class LinearModel(nn.Module):
    """Computes logits from the numbers alone, and a penalty that is a mean over the rows."""

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.classify = nn.Linear(2, classes)

    def forward(self, batch: Batch) -> ModelOutput:
        logits = self.classify(batch.numbers)
        penalty = logits.square().sum() / max(1, batch.rows)
        return ModelOutput(logits, {"size": 0.1 * penalty})


def fit_linear_model(
    settings: JobSettings,
    data: EncodedSplit,
    class_weights: Sequence[float],
    epochs: int = 2,
    precision: Any = 32,
    throughput: Throughput | None = None,
) -> tuple[LinearModel, Trainer]:
    """Train a `LinearModel` on `data`, which is also the validation split; return the model and its trainer."""
    torch.manual_seed(3)
    model = LinearModel()
    splits = SplitsDataModule(data, data, settings)
    groups = optimizers.parameter_groups(model, None, settings, [])
    steps = optimizers.steps_per_epoch(splits.steps, settings) * epochs
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=precision,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=0.5,
        val_check_interval=2,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=throughput,
    )
    objective, compute_metrics = ClassObjective(settings, class_weights), classification_metrics
    trainer.fit(TrainingModule(model, settings, groups, objective, compute_metrics, steps), datamodule=splits)
    return model, trainer
