"""Best and last checkpoint of a training, and the best one's weights."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from fusionzoo.atomic_files import translate_write_errors, write_atomically
from fusionzoo.settings import GREATER_IS_BETTER, JobSettings
from fusionzoo.training.distributed import collectives

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "before-last.ckpt"
INCOMING = "incoming.ckpt"  # of the last one, while that before it makes room
MODEL_PREFIX = "model."  # `Classifier` holds the model under this name


class AtomicCheckpoints(TorchCheckpointIO):
    """Each checkpoint is written as a whole or not at all; a full disk is reported as what it is.

    The last one leaves the one before it beside it. Of several processes, the first one reads and writes for all.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        keeps_previous = path.name == LAST
        target = path.with_name(INCOMING) if keeps_previous else path
        write_atomically(target, lambda file: torch.save(checkpoint, file))
        if keeps_previous:
            with translate_write_errors(path):
                if path.exists():
                    path.replace(path.with_name(PREVIOUS))
                target.replace(path)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return collectives.broadcast_from_first(lambda: torch.load(path, map_location="cpu", weights_only=True))


class BestCheckpoints(ModelCheckpoint):
    """Keeps the weights of the best validations; after a resume in another folder, those in that one.

    Those that better ones have driven out go once the last checkpoint, which speaks of them, has gone too.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, save_weights_only=True, enable_version_counter=False)
        self.worse: list[str] = []

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self.worse.append(filepath)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.dirpath is None:
            raise ValueError("checkpoints have a folder")
        folder = Path(self.dirpath)
        here = {key: _in(folder, state_dict[key]) for key in ("best_model_path", "kth_best_model_path")}
        models = {_in(folder, path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **here, "best_k_models": models, "dirpath": self.dirpath})


def _in(folder: Path, path: str) -> str:
    return str(folder / Path(path).name) if path else path


def checkpoint_callbacks(folder: Path, settings: JobSettings) -> list[Callback]:
    """Keep the best weights by `early_stop_metric`; stop when patience has run out."""
    metric = settings.early_stop_metric
    mode = metric_mode(metric)
    return [
        BestCheckpoints(
            dirpath=folder,
            filename=Path(BEST).stem,
            monitor=metric,
            mode=mode,
        ),
        EarlyStopping(monitor=metric, mode=mode, patience=settings.early_stop_patience, check_finite=False),
    ]


def describe_best(trainer: Trainer) -> dict[str, Any]:
    """Which validation the best weights come from: `metric`, `value`, `epoch`, which counts from 1, and `step`."""
    kept = next(callback for callback in trainer.checkpoint_callbacks if type(callback) is BestCheckpoints)
    if kept.best_model_score is None:
        raise ValueError("no validation has been judged yet")
    content = collectives.broadcast_from_first(lambda: _place(Path(kept.best_model_path)))
    return {"metric": kept.monitor, "value": float(kept.best_model_score), **content}


def _place(file: Path) -> dict[str, int]:
    content = torch.load(str(file), map_location="cpu", weights_only=True, mmap=True)
    return {"epoch": content["epoch"] + 1, "step": content["global_step"]}


def best_weight_files(states: Iterable[Mapping[str, Any]]) -> list[str]:
    """The files of best weights that the states of a checkpoint's callbacks speak of."""
    return sorted({Path(path).name for state in states for path in state.get("best_k_models", ())})


def delete_superseded(trainer: Trainer) -> None:
    """Remove the weights that better ones have driven out."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoints):
            for path in callback.worse:
                trainer.strategy.remove_checkpoint(path)
            callback.worse.clear()


def check_intact(file: Path) -> None:
    """Raises OSError, ValueError or zipfile.BadZipFile where a checkpoint is not there, or not as it was written."""
    with zipfile.ZipFile(file) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {damaged} is another")


def metric_mode(metric: str) -> Literal["max", "min"]:
    """Which way an `early_stop_metric` gets better."""
    return "max" if GREATER_IS_BETTER.get(metric.removeprefix("val/"), False) else "min"


def delete_checkpoints(folder: Path) -> list[str]:
    """Remove the checkpoints of an earlier run; returns the names of those that were there."""
    present = [name for name in (BEST, LAST, PREVIOUS, INCOMING) if (folder / name).exists()]
    for name in present:
        (folder / name).unlink()
    return present


def load_best(folder: Path, model: nn.Module) -> None:
    """Put the best checkpoint's weights into the model that was trained, in every process."""
    if collectives.is_first_process():
        model.load_state_dict(load_weights(folder / BEST))
    collectives.broadcast_weights(model)


def load_weights(file: Path) -> dict[str, Tensor]:
    """The model's weights in a checkpoint, under the names that the model itself has for them."""
    saved: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix(MODEL_PREFIX): value for name, value in saved.items() if name.startswith(MODEL_PREFIX)}
