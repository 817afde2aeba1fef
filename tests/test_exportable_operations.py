"""Operations that torch's exporter rejects or exports with another type: their replacements are equal, and export."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from fusionzoo.artifacts.exportable_operations import ExportableOperations, computed_parametrizations
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.artifacts.onnx_tracing import TracedModule, write_onnx

WIDTH = 3


class Compute(nn.Module):
    """Applies a function to rows [rows, 3]."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, rows: Tensor) -> Tensor:
        return self.function(rows) * self.weight


def export_and_run(module: nn.Module, path: Path, rows: Tensor) -> np.ndarray:
    """Return what the module computes for other rows than the example with which it is exported."""
    traced = TracedModule(module.eval(), (torch.randn(2, WIDTH),), ["rows"], "out", {"rows": {0: "rows"}})
    write_onnx(traced, path)
    (out,) = open_onnx_session(path, path.read_bytes()).run(["out"], {"rows": rows.numpy()})
    return np.asarray(out)


TABLE = torch.arange(5.0)
FUNCTIONS = {
    "full_int": lambda rows: rows + TABLE[torch.full((rows.shape[0], 1), 2)],
    "full_of_a_size": lambda rows: rows + TABLE[torch.full((1,), rows.shape[1])],
    "full_float": lambda rows: rows + torch.full((rows.shape[0], 1), 0.5),
    "full_bool": lambda rows: rows * (torch.full((rows.shape[0], 1), True) & (rows > 0)),
    "full_by_name": lambda rows: rows * torch.full((rows.shape[0], 1), fill_value=False),
    "full_like_bool": lambda rows: rows * torch.full_like(rows > 0, True),
    "new_full_bool": lambda rows: rows * (rows > 0).new_full((rows.shape[0], 1), True),
    "where_of_bools": lambda rows: rows * torch.where(rows > 0, True, False),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_constant_exports_with_the_type_that_torch_gives_it(name: str, tmp_path: Path) -> None:
    rows = torch.randn(5, WIDTH)
    expected = FUNCTIONS[name](rows)
    with ExportableOperations():
        assert torch.equal(FUNCTIONS[name](rows), expected)
    found = export_and_run(Compute(FUNCTIONS[name]), tmp_path / "model.onnx", rows)
    assert np.allclose(found, expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("value", [1, 1.5, True, torch.tensor(2), torch.tensor(2.5)], ids=str)
def test_full_keeps_its_dtype(value: float | Tensor) -> None:
    expected = torch.full((2, 2), value)
    with ExportableOperations():
        found = torch.full((2, 2), value)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bilinear_layer_exports(bias: bool, tmp_path: Path) -> None:
    layer, rows = nn.Bilinear(WIDTH, WIDTH, 4, bias=bias), torch.randn(5, WIDTH)
    model = Compute(lambda x: layer(x, x + 1))
    model.layer = layer  # so that its weights are not constants of the graph
    found = export_and_run(model, tmp_path / "model.onnx", rows)
    assert np.allclose(found, layer(rows, rows + 1).detach().numpy(), atol=1e-5)


PARAMETRIZATIONS = {
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight_norm": parametrizations.weight_norm,
}


@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_a_parametrized_layer_exports_and_stays_parametrized(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(PARAMETRIZATIONS[name](nn.Linear(WIDTH, WIDTH)), nn.ReLU(), nn.Linear(WIDTH, 2)).eval()
    rows, state = torch.randn(5, WIDTH), {key: value.clone() for key, value in model.state_dict().items()}
    expected = model(rows).detach()
    assert np.allclose(export_and_run(model, tmp_path / "model.onnx", rows), expected.numpy(), atol=1e-6)
    assert parametrize.is_parametrized(model[0], "weight")
    assert {key: value.tolist() for key, value in model.state_dict().items()} == {
        key: value.tolist() for key, value in state.items()
    }
    assert torch.equal(model(rows), expected)


def test_in_the_context_a_parametrized_weight_is_a_parameter_and_an_error_restores_the_layer() -> None:
    layer = parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)).eval()
    weight = layer.weight.detach().clone()
    with computed_parametrizations(layer):
        assert type(layer) is nn.Linear
        assert dict(layer.named_parameters()).keys() == {"weight", "bias"}
        assert torch.equal(layer.weight, weight)
    with pytest.raises(KeyError), computed_parametrizations(layer):
        raise KeyError
    assert parametrize.is_parametrized(layer, "weight")
    assert torch.equal(layer.weight, weight)


FAILED_EXPORT = """
import torch
from pathlib import Path
from torch import nn
from fusionzoo.artifacts.onnx_tracing import TracedModule, write_onnx

class Quantile(nn.Module):
    def forward(self, rows):
        return rows.quantile(0.5, dim=1)

try:
    write_onnx(TracedModule(Quantile(), (torch.randn(2, 3),), ["rows"], "out", {}), Path("model.onnx"))
except Exception as error:
    print(type(error).__name__)
"""


def test_a_failed_export_prints_no_graph(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FAILED_EXPORT], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert ran.stdout == "UnsupportedOperatorError\n"
    assert ran.stderr == ""
