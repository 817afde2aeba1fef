"""Best and last checkpoint of a training, and the best one's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from fusionzoo.artifacts.files import write_atomically
from fusionzoo.evaluation.metrics import GREATER_IS_BETTER
from fusionzoo.settings import JobSettings

BEST, LAST = "best.ckpt", "last.ckpt"
PREFIX = "model."  # `Classifier` holds the model under this name


class AtomicCheckpoints(TorchCheckpointIO):
    """Each checkpoint is written as a whole or not at all; a full disk is reported as what it is."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def callbacks(folder: Path, settings: JobSettings) -> list[Callback]:
    """Keep the best by `early_stop_metric`, and the last; stop when patience has run out."""
    metric = settings.early_stop_metric
    mode = mode_of(metric)
    return [
        ModelCheckpoint(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor=metric,
            mode=mode,
            save_last=True,
            enable_version_counter=False,
        ),
        EarlyStopping(monitor=metric, mode=mode, patience=settings.early_stop_patience, check_finite=False),
    ]


def mode_of(metric: str) -> Literal["max", "min"]:
    """Which way an `early_stop_metric` gets better."""
    return "max" if GREATER_IS_BETTER.get(metric.removeprefix("val/"), False) else "min"


def clear(folder: Path) -> list[str]:
    """Remove the best and last checkpoint of an earlier run; returns the names of those that were there."""
    present = [name for name in (BEST, LAST) if (folder / name).exists()]
    for name in present:
        (folder / name).unlink()
    return present


def load_best(folder: Path, model: nn.Module) -> None:
    """Put the best checkpoint's weights into the model that was trained."""
    model.load_state_dict(weights(folder / BEST))


def weights(file: Path) -> dict[str, Tensor]:
    """The model's weights in a checkpoint, under the names that the model itself has for them."""
    saved: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in saved.items() if name.startswith(PREFIX)}
