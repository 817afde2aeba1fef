"""The model of a job after its training: the best weights, or the average of several, with merged adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.architecture import BuiltModel
from fusionzoo.training import shipping
from fusionzoo.training.checkpointing import best_checkpoints, greedy_soup
from fusionzoo.training.checkpointing.restore_check import load_fitting_weights
from fusionzoo.training.distributed import collectives, fsdp_support
from fusionzoo.training.training_run import TrainingRun


def load_final_model(run: TrainingRun, summary: Mapping[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """Return the model with its final weights, in every process, and the summary with the averaged checkpoints."""
    architecture, folder = run.architecture, run.paths.checkpoints
    is_sharded = fsdp_support.uses_fsdp(run.job, run.world)
    built = architecture.add_adapters(architecture.build(run.data.spec)) if is_sharded else run.built
    model = built.model
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # Lightning leaves it on the CPU
    best_checkpoints.load_best(folder, model, run.job_fingerprint)
    merged = architecture.merge_adapters(built)
    judge = greedy_soup.Judge(run.objective, run.evaluator.compute_metrics, architecture.metric_directions)
    candidates = summary["top_checkpoints"]
    if not candidates or shipping.is_stopped(summary):  # averaging takes too much of the time that is left
        return model, dict(summary)

    def load(file: str) -> Mapping[str, Tensor]:
        return load_merged_weights(run, merged, file)

    soup = collectives.broadcast_from_first(
        lambda: greedy_soup.make_greedy_soup(load, model, run.data.splits["val"], run.job, candidates, judge)
    )
    collectives.broadcast_weights(model)
    return model, {**summary, "averaging": soup}


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
