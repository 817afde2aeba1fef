"""Average the best checkpoints into one model: a greedy soup (Wortsman et al. 2022, arXiv 2203.05482)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.metric_directions import metric_name
from fusionzoo.tasks.objective import Objective
from fusionzoo.training.checkpointing.best_checkpoints import BestCheckpoints, metric_mode
from fusionzoo.training.checkpointing.checkpoint_io import TOP_FILES
from fusionzoo.training.monitoring.validation_metrics import MetricsFunction
from fusionzoo.training.resolved_settings import ResolvedJobSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judge:
    """Computes `early_stop_metric` as a validation does. `directions` says of each metric whether greater is better."""

    objective: Objective
    compute_metrics: MetricsFunction
    directions: Mapping[str, bool]

    def compute(self, metric: str, logits: np.ndarray, val: EncodedSplit) -> float:
        """Return an `early_stop_metric` of logits [rows, outputs].

        Raises:
            ValueError: the metric is undefined for these rows.
        """
        if val.labels is None:
            raise ValueError("a metric needs labels")
        outputs, objective = torch.from_numpy(logits), self.objective.cpu()
        name = metric_name(metric)
        if name is None:
            return float(objective.validation_loss(outputs, torch.tensor(val.labels)))
        value = self.compute_metrics(val.labels, objective.link(outputs).numpy())[name]
        if value is None:
            raise ValueError(f"{metric} is undefined for these rows")
        return value


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


def make_soup_callbacks(folder: Path, settings: ResolvedJobSettings, directions: Mapping[str, bool]) -> list[Callback]:
    """Return the callback that keeps the checkpoints to average; none if `average_checkpoints` is below 2."""
    if settings.average_checkpoints < 2:
        return []
    return [
        TopCheckpoints(
            dirpath=folder,
            filename="top-{step}",
            auto_insert_metric_name=False,
            monitor=settings.early_stop_metric,
            mode=metric_mode(settings.early_stop_metric, directions),
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


@dataclass(frozen=True)
class GreedySoup:
    """Averaged weights, their outputs for the rows of val [rows, outputs], and the entries of metrics.json about it."""

    weights: Mapping[str, Tensor]
    outputs: np.ndarray
    report: Mapping[str, Any]


def make_greedy_soup(
    load_weights: Callable[[str], Mapping[str, Tensor]],
    score_val: Callable[[Mapping[str, Tensor]], np.ndarray],
    val: EncodedSplit,
    metric: str,
    candidates: Sequence[Mapping[str, Any]],
    judge: Judge,
) -> GreedySoup:
    """Return the greedy soup of checkpoints.

    Starting with the best checkpoint, each candidate is averaged with the ingredients so far. It becomes an ingredient
    if the metric does not get worse.

    Args:
        load_weights: returns the weights in the checkpoint file of this name.
        score_val: returns the outputs of the model with these weights for val, in float32 as in the final evaluation.
        val: the rows that decide.
        metric: the `early_stop_metric` of the job.
        candidates: at least one entry of `list_top_checkpoints`, best first.
        judge: the objective and the metrics of the job.
    """
    sign = 1 if metric_mode(metric, judge.directions) == "max" else -1
    files = [str(candidate["file"]) for candidate in candidates]
    soup, ingredients = load_weights(files[0]), files[:1]
    outputs = score_val(soup)
    best_value = first_value = judge.compute(metric, outputs, val)
    for file in files[1:]:
        trial = average_weights(soup, load_weights(file), len(ingredients))
        trial_outputs = score_val(trial)
        value = judge.compute(metric, trial_outputs, val)
        if sign * value >= sign * best_value:
            soup, outputs, best_value, ingredients = trial, trial_outputs, value, [*ingredients, file]
    log.info(
        "Averaged %d of %d checkpoints: %s %.6g; the best checkpoint alone has %.6g",
        *(len(ingredients), len(files), metric, best_value, first_value),
    )
    gain = sign * (best_value - first_value)
    report = {"metric": metric, "averaged": ingredients, "value": best_value, "best_alone": first_value, "gain": gain}
    return GreedySoup(soup, outputs, report)


def average_weights(mean: Mapping[str, Tensor], new: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the mean of `count` state dicts, updated by one more; integer tensors keep their values in `mean`."""
    return {
        name: value + (new[name] - value) / (count + 1) if value.is_floating_point() else value
        for name, value in mean.items()
    }
