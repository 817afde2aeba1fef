"""Best and last checkpoint of a training, and the best one's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from fusionzoo.artifacts.files import write_atomically
from fusionzoo.evaluation.metrics import GREATER_IS_BETTER
from fusionzoo.settings import JobSettings

BEST, LAST = "best.ckpt", "last.ckpt"


class AtomicCheckpoints(TorchCheckpointIO):
    """Each checkpoint is written as a whole or not at all; a full disk is reported as what it is."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda file: torch.save(checkpoint, file))


def callbacks(folder: Path, settings: JobSettings) -> list[Callback]:
    """Keep the best by `early_stop_metric`, and the last; stop when patience has run out."""
    metric = settings.early_stop_metric
    mode = "max" if GREATER_IS_BETTER.get(metric.removeprefix("val/"), False) else "min"
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


def clear(folder: Path) -> list[str]:
    """Remove the best and last checkpoint of an earlier run; returns the names of those that were there."""
    present = [name for name in (BEST, LAST) if (folder / name).exists()]
    for name in present:
        (folder / name).unlink()
    return present


def load_best(folder: Path, model: nn.Module) -> None:
    """Put the best checkpoint's weights into the model that was trained."""
    saved: dict[str, Tensor] = torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "model."
    model.load_state_dict({k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)})
