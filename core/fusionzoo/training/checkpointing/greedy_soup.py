"""The best checkpoints averaged into one model: a greedy soup (Wortsman et al. 2022, arXiv 2203.05482)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.nn.inference import predict_proba
from fusionzoo.settings import JobSettings
from fusionzoo.training.checkpointing.best_checkpoints import BestCheckpoints, load_weights, metric_mode

log = logging.getLogger(__name__)

TOP_FILES = "top-*.ckpt"
SMALLEST = np.finfo(np.float64).eps  # of a probability, as in `classification_metrics`


class TopCheckpoints(BestCheckpoints):
    """Keeps the weights of the best `average_checkpoints` validations, beside the checkpoint that is the best."""

    @property
    def state_key(self) -> str:
        return f"TopCheckpoints {super().state_key}"  # otherwise that of the best checkpoint's callback

    @property
    def best_first(self) -> list[dict[str, Any]]:
        """File name and score, while training, of what is kept."""
        scores = [(Path(path).name, float(value)) for path, value in self.best_k_models.items()]
        return [{"file": n, "score": s} for n, s in sorted(scores, key=lambda e: e[1], reverse=self.mode == "max")]


def soup_callbacks(folder: Path, settings: JobSettings) -> list[Callback]:
    """What keeps the weights that `average` reads; nothing where there is nothing to average."""
    if settings.average_checkpoints < 2:
        return []
    return [
        TopCheckpoints(
            dirpath=folder,
            filename="top-{step}",
            auto_insert_metric_name=False,
            monitor=settings.early_stop_metric,
            mode=metric_mode(settings.early_stop_metric),
            save_top_k=settings.average_checkpoints,
        )
    ]


def top_checkpoint_files(trainer: Trainer) -> list[dict[str, Any]]:
    """`file` and `score` of each checkpoint that a training kept for averaging, best first."""
    return [entry for c in trainer.checkpoint_callbacks if isinstance(c, TopCheckpoints) for entry in c.best_first]


def delete_top_checkpoints(folder: Path) -> list[str]:
    """Remove the checkpoints that an earlier run kept for averaging; returns their names."""
    present = sorted(folder.glob(TOP_FILES))
    for path in present:
        path.unlink()
    return [path.name for path in present]


def cook_greedy_soup(
    folder: Path,
    model: nn.Module,
    val: EncodedSplit,
    settings: JobSettings,
    candidates: Sequence[Mapping[str, Any]],
    class_weights: Sequence[float],
) -> dict[str, Any]:
    """Put the greedy soup's weights into the model; returns what it is made of and what it gained, for metrics.json.

    From the best checkpoint on, each further one is averaged with those that were kept, and kept where `val`'s
    `early_stop_metric`, as the final evaluation measures it in float32, gets no worse.

    Args:
        folder: where the checkpoints lie.
        candidates: what `kept_by` says of them, best first; at least one.
        class_weights: [classes], for `val_loss`.
    """
    metric = settings.early_stop_metric
    sign = 1 if metric_mode(metric) == "max" else -1
    files = [str(candidate["file"]) for candidate in candidates]

    def measured(state: Mapping[str, Tensor]) -> float:
        model.load_state_dict(state)
        scores = predict_proba(model, val, settings.batch_size, max_tokens=settings.max_batch_tokens)
        return compute_metric(metric, scores, val, class_weights)

    soup, made_of = load_weights(folder / files[0]), files[:1]
    best = alone = measured(soup)
    for file in files[1:]:
        tried = average_weights(soup, load_weights(folder / file), len(made_of))
        value = measured(tried)
        if sign * value >= sign * best:
            soup, best, made_of = tried, value, [*made_of, file]
    model.load_state_dict(soup)
    log.info("%d of %d checkpoints averaged: %s %.6f, before %.6f", len(made_of), len(files), metric, best, alone)
    return {"metric": metric, "averaged": made_of, "value": best, "best_alone": alone, "gain": sign * (best - alone)}


def average_weights(mean: Mapping[str, Tensor], new: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean of `count` state dicts with one more; whole numbers stay those of the first."""
    return {
        name: value + (new[name] - value) / (count + 1) if value.is_floating_point() else value
        for name, value in mean.items()
    }


def compute_metric(metric: str, scores: np.ndarray, val: EncodedSplit, class_weights: Sequence[float]) -> float:
    """An `early_stop_metric` of probabilities [rows, classes]; `val_loss` as while training.

    Raises:
        ValueError: the rows do not define it.
    """
    if val.labels is None:
        raise ValueError("rows without labels define no metric")
    if metric.startswith("val/"):
        found = classification_metrics(val.labels, scores)[metric.removeprefix("val/")]
        if found is None:
            raise ValueError(f"the rows do not define {metric}")
        return found
    true = scores[np.arange(len(scores)), val.labels].astype(np.float64)
    return float(np.average(-np.log(true.clip(SMALLEST)), weights=np.asarray(class_weights)[val.labels]))
