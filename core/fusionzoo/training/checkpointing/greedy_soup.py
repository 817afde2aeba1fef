"""Average the best checkpoints into one model: a greedy soup (Wortsman et al. 2022, arXiv 2203.05482)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
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
from fusionzoo.training.checkpointing.best_checkpoints import BestCheckpoints, metric_mode

log = logging.getLogger(__name__)

TOP_FILES = "top-*.ckpt"
MIN_PROBABILITY = np.finfo(np.float64).eps  # as in `classification_metrics`


class TopCheckpoints(BestCheckpoints):
    """Keep the weights of the best `average_checkpoints` validations, in addition to the best checkpoint."""

    @property
    def state_key(self) -> str:
        return f"TopCheckpoints {super().state_key}"  # must differ from the key of the best checkpoint's callback

    @property
    def ranking(self) -> list[dict[str, Any]]:
        """`file` (its name) and `score` (as measured during training) of each checkpoint, best first."""
        scores = [(Path(path).name, float(score)) for path, score in self.best_k_models.items()]
        best_first = sorted(scores, key=lambda entry: entry[1], reverse=self.mode == "max")
        return [{"file": file, "score": score} for file, score in best_first]


def make_soup_callbacks(folder: Path, settings: JobSettings) -> list[Callback]:
    """Return the callback that keeps the checkpoints to average; none if `average_checkpoints` is below 2."""
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


def list_top_checkpoints(trainer: Trainer) -> list[dict[str, Any]]:
    """Return `file` and `score` of each checkpoint that the training kept for averaging, best first."""
    return [
        entry
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, TopCheckpoints)
        for entry in callback.ranking
    ]


def delete_top_checkpoints(folder: Path) -> list[str]:
    """Delete the checkpoints that an earlier run kept for averaging, and return the names of the deleted files."""
    files = sorted(folder.glob(TOP_FILES))
    for file in files:
        file.unlink()
    return [file.name for file in files]


def make_greedy_soup(
    load_weights: Callable[[str], Mapping[str, Tensor]],
    model: nn.Module,
    val: EncodedSplit,
    settings: JobSettings,
    candidates: Sequence[Mapping[str, Any]],
    class_weights: Sequence[float],
) -> dict[str, Any]:
    """Load the greedy soup's weights into the model; return its ingredients and gain, for metrics.json.

    Starting with the best checkpoint, each candidate is averaged with the ingredients so far. It becomes an ingredient
    if `early_stop_metric` on val does not get worse. The metric is computed in float32, as in the final evaluation.

    Args:
        load_weights: returns the weights in the checkpoint file of this name.
        candidates: at least one entry of `list_top_checkpoints`, best first.
        class_weights: [classes], for `val_loss`.
    """
    metric = settings.early_stop_metric
    sign = 1 if metric_mode(metric) == "max" else -1
    files = [str(candidate["file"]) for candidate in candidates]

    def evaluate(state: Mapping[str, Tensor]) -> float:
        model.load_state_dict(state)
        probabilities = predict_proba(model, val, settings.batch_size, max_tokens=settings.max_batch_tokens)
        return compute_metric(metric, probabilities, val, class_weights)

    soup, ingredients = load_weights(files[0]), files[:1]
    best_value = first_value = evaluate(soup)
    for file in files[1:]:
        trial = average_weights(soup, load_weights(file), len(ingredients))
        value = evaluate(trial)
        if sign * value >= sign * best_value:
            soup, best_value, ingredients = trial, value, [*ingredients, file]
    model.load_state_dict(soup)
    log.info(
        "Averaged %d of %d checkpoints: %s %.6f; the best checkpoint alone has %.6f",
        *(len(ingredients), len(files), metric, best_value, first_value),
    )
    gain = sign * (best_value - first_value)
    return {"metric": metric, "averaged": ingredients, "value": best_value, "best_alone": first_value, "gain": gain}


def average_weights(mean: Mapping[str, Tensor], new: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the mean of `count` state dicts, updated by one more; integer tensors keep their values in `mean`."""
    return {
        name: value + (new[name] - value) / (count + 1) if value.is_floating_point() else value
        for name, value in mean.items()
    }


def compute_metric(metric: str, probabilities: np.ndarray, val: EncodedSplit, class_weights: Sequence[float]) -> float:
    """Return an `early_stop_metric` of probabilities [rows, classes]; `val_loss` is weighted as during training.

    Raises:
        ValueError: the metric is undefined for these rows.
    """
    if val.labels is None:
        raise ValueError("a metric needs labels")
    if metric.startswith("val/"):
        value = classification_metrics(val.labels, probabilities)[metric.removeprefix("val/")]
        if value is None:
            raise ValueError(f"{metric} is undefined for these rows")
        return value
    of_true_class = probabilities[np.arange(len(probabilities)), val.labels].astype(np.float64)
    losses = -np.log(of_true_class.clip(MIN_PROBABILITY))
    return float(np.average(losses, weights=np.asarray(class_weights)[val.labels]))
