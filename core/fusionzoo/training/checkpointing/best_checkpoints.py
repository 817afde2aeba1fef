"""The weights of the best validations: which files hold them, when they are deleted, and how they are loaded."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import nn

from fusionzoo.evaluation.metric_directions import metric_name
from fusionzoo.training.checkpointing.checkpoint_io import BEST_FILE, TOP_FILES, read_checkpoint_lazily
from fusionzoo.training.checkpointing.early_end import EndReason
from fusionzoo.training.checkpointing.restore_check import load_fitting_weights
from fusionzoo.training.distributed import collectives
from fusionzoo.training.resolved_settings import ResolvedJobSettings

SAVED_STEP = "saved_step"  # the entry of the state of `BestCheckpoints`


class BestCheckpoints(ModelCheckpoint):
    """Keep the weights of the best validations; after a resume in another folder, use the files in that folder.

    A superseded file stays as long as a checkpoint to resume from may refer to it: see `delete_unused_weights`.

    Attributes:
        saved_step: the step of the weights that were saved last.
    """

    def __init__(self, **options: Any) -> None:
        # Always when a validation ends: the last checkpoint, which is written then, refers to these weights.
        super().__init__(**options, save_on_train_epoch_end=False, save_weights_only=True, enable_version_counter=False)
        self.saved_step: int | None = None

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self.saved_step = trainer.global_step

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), SAVED_STEP: self.saved_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.saved_step = state_dict.get(SAVED_STEP)
        if self.dirpath is None:
            raise ValueError("BestCheckpoints needs a folder (dirpath)")
        folder = Path(self.dirpath)
        paths = {key: _move_into(folder, state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        best_k = {_move_into(folder, path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best_k, "dirpath": self.dirpath})


def _move_into(folder: Path, path: str) -> str:
    return str(folder / Path(path).name) if path else path


def make_checkpoint_callbacks(
    folder: Path, settings: ResolvedJobSettings, directions: Mapping[str, bool]
) -> list[Callback]:
    """Return the callbacks that keep the best weights by `early_stop_metric` and stop when patience has run out.

    `directions` says of each metric of the job whether greater is better.
    """
    metric = settings.early_stop_metric
    mode = metric_mode(metric, directions)
    return [
        BestCheckpoints(dirpath=folder, filename=Path(BEST_FILE).stem, monitor=metric, mode=mode),
        EarlyStopping(
            monitor=metric,
            mode=mode,
            patience=settings.early_stop_patience,
            check_finite=False,
            check_on_train_epoch_end=False,
        ),
    ]


def metric_mode(metric: str, directions: Mapping[str, bool]) -> Literal["max", "min"]:
    """Return whether an `early_stop_metric` improves upward (`max`) or downward (`min`)."""
    name = metric_name(metric)
    return "max" if name is not None and directions[name] else "min"


def describe_best(trainer: Trainer) -> dict[str, Any]:
    """Return `metric`, `value`, `epoch` (from 1) and `step` of the validation that the best weights come from."""
    best = next(callback for callback in trainer.checkpoint_callbacks if type(callback) is BestCheckpoints)
    if best.best_model_score is None:
        raise ValueError("no validation has run yet")
    position = collectives.broadcast_from_first(lambda: _read_position(Path(best.best_model_path)))
    return {"metric": best.monitor, "value": float(best.best_model_score), **position}


def _read_position(file: Path) -> dict[str, int]:
    content = read_checkpoint_lazily(file)
    return {"epoch": content["epoch"] + 1, "step": content["global_step"]}


def has_best(trainer: Trainer) -> bool:
    """Return whether a validation has left best weights; also true after a resume from a later checkpoint."""
    return any(
        type(callback) is BestCheckpoints and callback.best_model_path for callback in trainer.checkpoint_callbacks
    )


def find_end_reason(trainer: Trainer) -> EndReason:
    """Return why a training that has run to its end has ended."""
    stops = [callback for callback in trainer.early_stopping_callbacks if isinstance(callback, EarlyStopping)]
    return "early_stopping" if any(stop.wait_count >= stop.patience for stop in stops) else "max_epochs"


def list_best_files(callback_states: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the best-weights files that the callback states of a checkpoint refer to."""
    return sorted({Path(path).name for state in callback_states for path in state.get("best_k_models", ())})


def find_best_step(callback_states: Iterable[Mapping[str, Any]]) -> int | None:
    """Return the step of the weights in `BEST_FILE` to which the callback states of a checkpoint refer.

    The file keeps its name when its weights are replaced.

    Returns:
        The step; None if the checkpoint does not state it, as those of older versions.
    """
    states = [state for state in callback_states if Path(str(state.get("best_model_path", ""))).name == BEST_FILE]
    return states[0].get(SAVED_STEP) if states else None


def delete_unused_weights(trainer: Trainer, folder: Path, used_before: Container[str]) -> set[str]:
    """Delete the weights in a folder to which neither of the checkpoints to resume from refers.

    Args:
        trainer: the training, after it has saved the last checkpoint.
        folder: the folder of the checkpoints.
        used_before: the names of the files to which the checkpoint before the last one refers.

    Returns:
        The names of the files to which the last checkpoint refers.
    """
    callbacks = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, BestCheckpoints)]
    used = {Path(path).name for callback in callbacks for path in callback.best_k_models}
    if trainer.is_global_zero:
        for file in folder.glob(TOP_FILES):
            if file.name not in used and file.name not in used_before:
                file.unlink()
    return used


def load_best(folder: Path, model: nn.Module, job_fingerprint: Mapping[str, str] | None = None) -> None:
    """Load the best checkpoint's weights into the trained model, in every process.

    Raises:
        errors.ReplacedCheckpointError: a job with another fingerprint wrote the checkpoint.
    """
    if collectives.is_first_process():
        model.load_state_dict(load_fitting_weights(folder / BEST_FILE, model, job_fingerprint))
    collectives.broadcast_weights(model)
