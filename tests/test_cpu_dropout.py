"""A training on a CPU draws the random numbers of dropout faster, with the same distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from frozen_helpers import prepare_job
from fusionzoo.training import cpu_dropout
from shop import TINY_BERT, JobFolder
from training_helpers import make_job_settings

VALUES = 400_000


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def runs_fast(**settings: Any) -> bool:
    """Return whether dropout draws other random numbers than torch's own dropout with the same seed."""
    inputs = torch.ones(VALUES)
    torch.manual_seed(0)
    expected = F.dropout(inputs, 0.5)
    with cpu_dropout.speed_up_dropout(make_job_settings(**settings)):
        torch.manual_seed(0)
        return not torch.equal(nn.Dropout(0.5)(inputs), expected)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_with_the_probability_and_the_mean_is_kept(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    with cpu_dropout.speed_up_dropout(make_job_settings()):
        dropped = F.dropout(torch.ones(VALUES // 10, 10, dtype=dtype), p)
    share, scale = (dropped == 0).double().mean().item(), dropped.max().item()
    deviation = (p * (1 - p) / VALUES) ** 0.5
    assert abs(share - p) < 5 * deviation
    assert scale == pytest.approx(1 / (1 - p), rel=1e-4 if dtype == torch.float32 else 1e-2)
    assert set(dropped.unique().tolist()) == {0.0, scale}
    assert dropped.dtype == dtype


def test_drops_are_independent_of_each_other_and_of_the_previous_call() -> None:
    torch.manual_seed(0)
    with cpu_dropout.speed_up_dropout(make_job_settings()):
        first, second = (F.dropout(torch.ones(VALUES), 0.5) / 2 for _ in range(2))
    centered = first - 0.5
    for other in (second, *(first.roll(shift) for shift in (1, 2, 3, 4, 8))):
        correlation = (centered * (other - 0.5)).mean() * 4
        assert abs(correlation) < 5 / VALUES**0.5


def test_the_gradient_passes_through_the_kept_values_only_also_when_activations_are_recomputed() -> None:
    inputs = torch.randn(300, 200).t().requires_grad_()  # not contiguous
    torch.manual_seed(0)
    with cpu_dropout.speed_up_dropout(make_job_settings()):
        output = checkpoint(lambda values: F.dropout(values, 0.3), inputs, use_reentrant=False)
        output.sum().backward()
    assert inputs.grad is not None
    assert torch.allclose(output, inputs * inputs.grad)
    assert 0 < (inputs.grad == 0).double().mean() < 1


def test_the_seed_determines_the_drops() -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        with cpu_dropout.speed_up_dropout(make_job_settings()):
            outputs.append(F.dropout(torch.ones(VALUES + 3), 0.1))
    assert torch.equal(*outputs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"p": 0.0},
        {"p": 1.0},
        {"training": False},
        {"inplace": True},
        {"input": torch.ones(100)},
    ],
    ids=["p 0", "p 1", "evaluation", "in place", "small"],
)
def test_other_calls_are_those_of_torch(arguments: dict[str, Any]) -> None:
    def call() -> torch.Tensor:
        torch.manual_seed(0)
        given = {"input": torch.ones(VALUES), **arguments}
        return F.dropout(**{**given, "input": given["input"].clone()})

    expected, torchs_dropout = call(), F.dropout
    with cpu_dropout.speed_up_dropout(make_job_settings()):
        assert torch.equal(call(), expected)
    assert F.dropout is torchs_dropout


def test_dropout_is_torchs_own_when_the_block_has_failed() -> None:
    torchs_dropout = F.dropout
    with pytest.raises(ValueError, match="broken"), cpu_dropout.speed_up_dropout(make_job_settings()):
        raise ValueError("broken")
    assert F.dropout is torchs_dropout


def test_only_uncompiled_trainings_on_a_cpu_with_few_threads_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_fast()
    assert not runs_fast(torch_compile=True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: cpu_dropout.MAX_THREADS + 1)
    assert not runs_fast()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not runs_fast()


def test_a_job_trains_with_the_faster_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    def drop_and_count(input: torch.Tensor, p: float) -> torch.Tensor:
        shapes.append(input.ndim)
        return original(input, p)

    original = cpu_dropout.drop
    monkeypatch.setattr(cpu_dropout, "drop", drop_and_count)
    monkeypatch.setattr(cpu_dropout, "MIN_VALUES", 1)
    folder = JobFolder(tmp_path).fill(
        model_class="multimodal_bert", encoder_config=TINY_BERT, num_channels=None, max_epochs=1, rows=32
    )
    prepare_job(folder).fit()
    assert {3, 4} <= set(shapes)  # hidden states, and attention weights
