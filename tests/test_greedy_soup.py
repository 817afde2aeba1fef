"""The average of the best checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.nn.inference import predict_scores
from fusionzoo.training.checkpointing import greedy_soup
from fusionzoo.training.checkpointing.checkpoint_io import load_weights
from task_helpers import make_class_objective, make_classification
from training_helpers import LinearModel, make_random_split


def write_checkpoints(folder: Path, *weights: Tensor) -> list[dict[str, Any]]:
    """Write checkpoints of `LinearModel` with these weights [classes, 2] and no bias, best first."""
    names = [f"top-{i}.ckpt" for i in range(len(weights))]
    for name, weight in zip(names, weights, strict=True):
        state = {"model.classify.weight": weight, "model.classify.bias": torch.zeros(2), "class_weights": torch.ones(2)}
        torch.save({"state_dict": state}, folder / name)
    return [{"file": name, "score": 0.0} for name in names]


def make_loader(folder: Path) -> Callable[[str], Mapping[str, Tensor]]:
    return lambda name: load_weights(folder / name)


def make_scorer(data: EncodedSplit) -> Callable[[Mapping[str, Tensor]], np.ndarray]:
    """Return a function that scores all rows with a `LinearModel` that has the given weights."""

    def score(weights: Mapping[str, Tensor]) -> np.ndarray:
        model = LinearModel()
        model.load_state_dict(weights)
        return predict_scores(model, nn.Identity(), data, batch_size=16)

    return score


def make_separable_split(direction: Sequence[float]) -> EncodedSplit:
    """Return rows with the label 1 if their two numbers point in the given direction, else 0."""
    data = make_random_split(200)
    return replace(data, labels=(data.numbers @ np.array(direction) > 0).astype(np.int64))


JUDGE = greedy_soup.Judge(make_class_objective(), make_classification().compute_metrics, CLASSIFICATION_METRICS)
LEFT, RIGHT = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])


@pytest.mark.parametrize("metric", ["val/auroc", "val_loss"])
def test_a_checkpoint_joins_the_average_only_if_val_does_not_get_worse(tmp_path: Path, metric: str) -> None:
    data = make_separable_split([1.0, 1.0])
    candidates = write_checkpoints(tmp_path, LEFT, -5 * RIGHT, RIGHT)
    soup = greedy_soup.make_greedy_soup(make_loader(tmp_path), make_scorer(data), data, metric, candidates, JUDGE)
    assert soup.report["averaged"] == ["top-0.ckpt", "top-2.ckpt"]
    assert torch.allclose(soup.weights["classify.weight"], (LEFT + RIGHT) / 2)
    assert np.array_equal(soup.outputs, make_scorer(data)(soup.weights))
    assert soup.report["value"] == JUDGE.compute(metric, soup.outputs, data)
    assert soup.report["gain"] > 0.01
    assert soup.report["gain"] == pytest.approx(abs(soup.report["value"] - soup.report["best_alone"]))
    assert (soup.report["value"] > soup.report["best_alone"]) == (metric == "val/auroc")


def test_if_no_average_helps_the_best_checkpoint_is_used_unchanged(tmp_path: Path) -> None:
    data = make_separable_split([1.0, 0.0])
    candidates = write_checkpoints(tmp_path, LEFT, -RIGHT)
    soup = greedy_soup.make_greedy_soup(make_loader(tmp_path), make_scorer(data), data, "val/auroc", candidates, JUDGE)
    assert (soup.report["averaged"], soup.report["gain"]) == (["top-0.ckpt"], 0.0)
    assert torch.equal(soup.weights["classify.weight"], LEFT)
    assert np.array_equal(soup.outputs, make_scorer(data)(soup.weights))


def test_the_average_is_the_mean_and_integers_keep_their_values() -> None:
    states = [{"w": torch.tensor([float(i)]), "n": torch.tensor(i)} for i in (1, 2, 6)]
    mean = greedy_soup.average_weights(greedy_soup.average_weights(states[0], states[1], 1), states[2], 2)
    assert (mean["w"].item(), mean["n"].item()) == (3.0, 1)


def test_val_loss_is_weighted_as_in_a_validation() -> None:
    data, logits = make_random_split(60), torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.from_numpy(data.labels), torch.tensor([1.0, 3.0])
    judge = greedy_soup.Judge(
        make_class_objective([1.0, 3.0]), make_classification().compute_metrics, CLASSIFICATION_METRICS
    )
    val_loss = judge.compute("val_loss", logits.numpy(), data)
    assert val_loss == pytest.approx(F.cross_entropy(logits, labels, weights).item(), rel=1e-5)
