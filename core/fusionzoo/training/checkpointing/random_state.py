"""The random number generators of a process: seeding them, and saving and restoring their states."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo.errors.wording import pluralize
from fusionzoo.training.checkpointing.checkpoint_io import STATE_KEY

log = logging.getLogger(__name__)


class RestoreRandomState(Callback):
    """Restore each process's random state from the checkpoint, before anything draws a random number."""

    def __init__(self) -> None:
        self._saved_state: dict[str, Any] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        states = checkpoint[STATE_KEY]["random_states"]
        if len(states) == trainer.world_size:
            self._saved_state = states[trainer.global_rank]
        else:
            log.warning(
                "The checkpoint was written by %s and the job now has %d. The rows and their order stay the "
                "same, but dropout draws different random numbers.",
                *(pluralize(len(states), "process", "processes"), trainer.world_size),
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._restore()

    def _restore(self) -> None:
        if self._saved_state is not None:
            set_random_state(self._saved_state)
            self._saved_state = None


def seed_everything(seed: int) -> None:
    """Seed all random number generators of this process that training draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # also seeds the GPUs


def get_random_state() -> dict[str, Any]:
    """Return the states of this process's random number generators as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), *(float(value) for value in rest)],
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set the random number generators to a state that `get_random_state` returned."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu())
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
