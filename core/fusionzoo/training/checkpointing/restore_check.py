"""Report a checkpoint that this job wrote, but whose content was changed so that it does not fit the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.errors.wording import list_names
from fusionzoo.training.checkpointing.checkpoint_io import load_weights


def load_fitting_weights(file: Path, model: nn.Module, job_fingerprint: Mapping[str, str] | None) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, as `load_weights` does.

    Raises:
        errors.ReplacedCheckpointError: a job with another fingerprint wrote the file.
        errors.UnusableCheckpointError: they have other names or shapes than those of the model.
    """
    weights = load_weights(file, job_fingerprint)
    expected = model.state_dict()
    if names := sorted(weights.keys() ^ expected.keys()):
        raise errors.UnusableCheckpointError(file, f"only one of the two has {list_names(names, 200)}")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            shapes = f"the shape {list(value.shape)} instead of {list(expected[name].shape)}"
            raise errors.UnusableCheckpointError(file, f"{name} has {shapes}")
    return weights


class RestoreCheck(Callback):
    """Turns a failure to restore the training state into an error for the user.

    Args:
        file: the checkpoint that the training resumes from; None if it starts from the beginning.
    """

    def __init__(self, file: Path | None) -> None:
        self._file, self._is_restored = file, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what torch does not check: the shapes of the restored state of the optimizer."""
        self._is_restored = True
        if self._file is None or trainer.world_size > 1:  # shards have shapes of their own
            return
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                        reason = f"{name} has the shape {list(value.shape)} instead of {list(parameter.shape)}"
                        raise errors.UnusableCheckpointError(self._file, f"in the optimizer's state, {reason}")

    @contextmanager
    def report_failed_restore(self) -> Iterator[None]:
        """In the block, which fits, raise errors.UnusableCheckpointError if the state cannot be restored."""
        try:
            yield
        except errors.ZooError:
            raise
        except Exception as cause:
            if self._file is None or self._is_restored or errors.is_machine_limit(cause):
                raise
            raise errors.UnusableCheckpointError(self._file, cause) from cause
