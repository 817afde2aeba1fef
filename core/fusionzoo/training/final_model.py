"""The model of a job after its training: the best weights, or the average of several, with merged adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from fusionzoo.architecture import BuiltModel
from fusionzoo.training import shipping
from fusionzoo.training.checkpointing import best_checkpoints, greedy_soup
from fusionzoo.training.checkpointing.greedy_soup import GreedySoup
from fusionzoo.training.checkpointing.restore_check import load_fitting_weights
from fusionzoo.training.device import find_device
from fusionzoo.training.distributed import collectives, fsdp_support, split_scoring
from fusionzoo.training.training_run import TrainingRun


@dataclass(frozen=True)
class FinalModel:
    """The model with its final weights.

    Attributes:
        model: the trained network.
        summary: the training summary, with the averaged checkpoints.
        outputs: outputs [rows, outputs] of splits that have been scored with these weights.
    """

    model: nn.Module
    summary: dict[str, Any]
    outputs: Mapping[str, np.ndarray]


def load_final_model(run: TrainingRun, summary: Mapping[str, Any]) -> FinalModel:
    """Return the model with its final weights, in every process."""
    architecture, folder = run.architecture, run.paths.checkpoints
    is_sharded = fsdp_support.uses_fsdp(run.job, run.world)
    built = architecture.add_adapters(architecture.build(run.data.spec)) if is_sharded else run.built
    model = built.model
    model.to(find_device())  # Lightning leaves it on the CPU
    best_checkpoints.load_best(folder, model, run.job_fingerprint)
    merged = architecture.merge_adapters(built)
    candidates = summary["top_checkpoints"]
    if not candidates or shipping.is_stopped(summary):  # averaging takes too much of the time that is left
        return FinalModel(model, dict(summary), {})
    soup = average_checkpoints(run, merged, candidates)
    model.load_state_dict(soup.weights)
    return FinalModel(model, {**summary, "averaging": soup.report}, {"val": soup.outputs})


def average_checkpoints(run: TrainingRun, merged: BuiltModel, candidates: Sequence[Mapping[str, Any]]) -> GreedySoup:
    """Return the greedy soup of a run, in every process; each process scores its share of val.

    Args:
        run: the run.
        merged: the model without adapters. It gets other weights.
        candidates: the checkpoints, which only the first process reads.
    """
    model, val, metric = merged.model, run.data.splits["val"], run.job.early_stop_metric

    def load(file: str) -> Mapping[str, Tensor]:
        if collectives.is_first_process():
            model.load_state_dict(load_merged_weights(run, merged, file))
        collectives.broadcast_weights(model)
        return {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}

    def score_val(weights: Mapping[str, Tensor]) -> np.ndarray:
        model.load_state_dict(weights)
        return split_scoring.score_split(model, nn.Identity(), val, run.job, run.world)

    judge = greedy_soup.Judge(run.objective, run.evaluator.compute_metrics, run.architecture.metric_directions)
    return greedy_soup.make_greedy_soup(load, score_val, val, metric, candidates, judge)


def load_merged_weights(run: TrainingRun, merged: BuiltModel, file: str) -> Mapping[str, Tensor]:
    """Return the weights of a checkpoint of the run, with its adapters merged: the average of factors is not that of
    their products.

    Args:
        merged: the model without adapters; afterwards it has these weights if the run has adapters.
    """
    path = run.paths.checkpoints / file
    with_adapters = run.architecture.add_adapters(merged)
    weights = load_fitting_weights(path, merged.model, run.job_fingerprint)
    if not with_adapters.adapters:
        return weights
    merged.model.load_state_dict(weights)
    run.architecture.merge_adapters(with_adapters)
    return {name: value.clone() for name, value in merged.model.state_dict().items()}
