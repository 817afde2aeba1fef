"""Jobs with a frozen text encoder: prepare them, train them, and count how often the encoder runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from fusionzoo.architecture import Architecture, BuiltModel, choose_architecture
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import fit, precision, prepare_data
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.frozen.feature_batches import SplitFeatures
from fusionzoo.training.row_defaults import resolve_job_settings
from fusionzoo.training.training_run import TrainingRun
from shop import TINY_BERT, JobFolder

FROZEN: dict[str, Any] = {
    "text_encoder": "bert",
    "encoder_config": TINY_BERT,
    "freeze_text_encoder": True,
    "num_channels": None,
    "precision": "32",
    "max_sen_len": 8,  # several chunks per row
    "max_total_chunks": 3,
}
MODELS = ("multimodal_bert", "bert", "multimodal_gate_fusion", "multimodal_moe", "multimodal_cross_attn")
MODEL_WITH_TOKENS = "multimodal_cross_attn"


@dataclass
class PreparedJob:
    """A job before it trains."""

    paths: Paths
    architecture: Architecture
    data: prepare_data.TrainingData
    built: BuiltModel

    @property
    def run(self) -> TrainingRun:
        chosen = precision.choose_job_precision(self.architecture.job, self.built.model)
        is_tuned = self.architecture.tunes_encoder(self.built)
        job = resolve_job_settings(self.architecture, self.data.task, self.data.splits, is_tuned)
        return TrainingRun(self.paths, self.architecture, job, self.built, self.data, chosen)

    @property
    def encoder(self) -> nn.Module:
        assert self.built.text_encoder is not None
        return self.built.text_encoder

    def encode_once(self, chosen: precision.Precision = "32-true") -> dict[str, SplitFeatures]:
        return fit.encode_frozen_text(self.run, chosen)

    def fit(self) -> int:
        """Train, and return on how many rows the encoder ran."""
        with count_encoded_rows(self.encoder) as rows:
            fit.fit(self.run)
        return sum(rows)


@contextmanager
def count_encoded_rows(encoder: nn.Module) -> Iterator[list[int]]:
    """Yield a list that receives the number of rows of each forward of the encoder's class."""
    rows: list[int] = []
    encoder_class, forward = type(encoder), type(encoder).forward

    def count_and_forward(self: nn.Module, batch: Batch) -> TextFeatures:
        rows.append(batch.rows)
        return forward(self, batch)  # type: ignore[no-any-return]

    encoder_class.forward = count_and_forward  # type: ignore[method-assign]
    try:
        yield rows
    finally:
        encoder_class.forward = forward  # type: ignore[method-assign]


def prepare_job(folder: JobFolder) -> PreparedJob:
    """Read the data of a job, and build its model."""
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(folder.root), **os.environ})
    architecture = choose_architecture(read_hyperparameters(paths))
    data = prepare_data.prepare_data(paths, architecture)
    seed_everything(architecture.job.seed)
    return PreparedJob(paths, architecture, data, architecture.build(data.spec, pretrained=True))


def cached_features(cache: Path) -> set[str]:
    """Return the cache entries that contain features."""
    return {path.parent.name for path in cache.glob("*/pooled.bin")}


def pair_batches(prepared: PreparedJob, stored: dict[str, SplitFeatures]) -> list[tuple[Batch, Batch]]:
    """Return the training and validation batches, with and without features."""
    splits = prepared.data.splits["train"], prepared.data.splits["val"], prepared.architecture.job
    modules = SplitsDataModule(*splits, features=stored), SplitsDataModule(*splits)
    loaders = [[*module.train_dataloader(), *module.val_dataloader()] for module in modules]
    return list(zip(*loaders, strict=True))
