"""The simulated device rejects what a GPU rejects, and runs everything else with the values of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import rnn

from conformance_runs import install_mutant, run_one_check
from conftest import Installer
from device_mutants import DEVICE_MUTANTS
from fusionzoo.conformance.simulated_device import MixedDevicesError, simulate_device

WIDTH = 8
ON_A_DEVICE = "check_forward_on_a_device"

Function = Callable[[nn.Module, Tensor, Tensor], Tensor]  # of a layer, values [rows, length, WIDTH] and their mask


def _read_packed(layer: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)[0]


def _assign(target: Tensor, index: Tensor, values: Tensor) -> Tensor:
    target[index] = values
    return target


LSTM = nn.LSTM(WIDTH, 4, batch_first=True)
ATTENTION = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

WORKS: dict[str, tuple[nn.Module, Function]] = {
    "recurrent": (nn.GRU(WIDTH, 4, batch_first=True, bidirectional=True), lambda layer, x, _: layer(x)[0]),
    "packed": (LSTM, lambda layer, x, m: _read_packed(layer, x, m.sum(1).cpu())),
    "attention": (ATTENTION, lambda layer, x, m: layer(x, x, x, key_padding_mask=~m)[0]),
    "scaled dot product": (nn.Identity(), lambda _, x, m: F.scaled_dot_product_attention(x, x, x, m[:, None])),
    "transformer": (nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True), lambda layer, x, _: layer(x)),
    "convolution": (nn.Conv1d(WIDTH, 4, 3), lambda layer, x, _: layer(x.transpose(1, 2))),
    "batch norm": (nn.BatchNorm1d(WIDTH), lambda layer, x, _: layer(x.transpose(1, 2))),
    "embedding": (nn.Embedding(2, 3), lambda layer, _, m: layer(m.long())),
    "mask as index": (nn.Identity(), lambda _, x, m: x[m]),
    "indices of the CPU": (nn.Identity(), lambda _, x, __: x[torch.tensor([1, 0])]),
    "assignment": (nn.Identity(), lambda _, x, m: _assign(torch.zeros_like(x), m, x[m])),
    "nonzero": (nn.Identity(), lambda _, x, m: x[torch.nonzero(m[:, 2]).squeeze(1)]),
    "Python numbers": (nn.Identity(), lambda _, x, m: x * int(m.sum()) + float(x.max()) if bool(m.any()) else x),
    "number of the CPU": (nn.Identity(), lambda _, x, __: x * torch.tensor(2.0)),
    "list": (nn.Identity(), lambda _, x, m: torch.cat([part.sum(0) for part in x[m].split(m.sum(1).tolist())])),
    "text": (nn.Identity(), lambda _, x, __: x * len(f"{x.sum():.3f} {x[0, 0]!r}")),
    "array": (nn.Identity(), lambda _, x, __: x * float(x.detach().cpu().numpy().sum())),
    "from Python": (
        nn.Identity(),
        lambda _, x, __: x.new_tensor([3.0] * WIDTH) * torch.tensor([2.0] * WIDTH, device=x.device),
    ),
    "autocast": (nn.Linear(WIDTH, 3), lambda layer, x, _: _run_in_bf16(layer, x)),
    "inference mode": (nn.Linear(WIDTH, 3), lambda layer, x, _: _run_in_inference_mode(layer, x)),
    "gradient": (nn.Linear(WIDTH, 3), lambda layer, x, _: torch.autograd.grad(layer(x).sum(), layer.weight)[0]),
}


def _run_in_bf16(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, torch.bfloat16):
        return layer(x)


@torch.inference_mode()
def _run_in_inference_mode(layer: nn.Module, x: Tensor) -> Tensor:
    assert not torch.is_grad_enabled()
    return layer(x).transpose(1, 2).flatten(1)


FAILS: dict[str, Function] = {
    "add combines": lambda _, x, __: x + torch.arange(WIDTH),
    "cat combines": lambda _, x, __: torch.cat([x, torch.zeros_like(x, device="cpu")]),
    "mm combines": lambda _, x, __: x[0] @ torch.ones(WIDTH, WIDTH),
    "embedding combines": lambda _, __, m: F.embedding(m.long(), torch.ones(2, 3)),
    "masked_fill combines": lambda _, x, __: x.masked_fill(torch.ones(x.shape, dtype=torch.bool), 0.0),
    "index combines": lambda _, __, m: torch.ones(9)[m.sum(1)],
    "index_put_ combines": lambda _, x, m: _assign(torch.zeros_like(x), m, torch.ones(int(m.sum()), WIDTH)),
    "lengths of pack_padded_sequence": lambda layer, x, m: _read_packed(layer, x, m.sum(1)),
    r"tensor\.cpu\(\)": lambda _, x, __: torch.from_numpy(x.detach().numpy()),
}


def _make_inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([5, 3, 1, 2])
    return torch.randn(4, 5, WIDTH, generator=generator), torch.arange(5) < lengths[:, None]


@pytest.mark.parametrize("name", WORKS)
def test_the_values_are_those_of_the_cpu(name: str) -> None:
    layer, function = WORKS[name]
    layer = deepcopy(layer).eval()
    x, mask = _make_inputs()
    expected = function(layer, x, mask)
    with simulate_device() as device:
        result = function(layer.to(device), x.to(device), mask.to(device))
        assert result.device == device
        on_cpu = result.cpu()
    assert type(on_cpu) is Tensor
    torch.testing.assert_close(on_cpu.float(), expected.float(), atol=1e-2 if name == "autocast" else 1e-5, rtol=1e-5)


@pytest.mark.parametrize("message", FAILS)
def test_what_a_gpu_rejects_is_an_error(message: str) -> None:
    x, mask = _make_inputs()
    FAILS[message](LSTM, x, mask.cpu())  # works on the CPU
    with simulate_device() as device:
        layer = nn.LSTM(WIDTH, 4, batch_first=True).to(device)
        with pytest.raises(MixedDevicesError, match=message):
            FAILS[message](layer, x.to(device), mask.to(device))


def test_torch_is_as_before_after_the_block() -> None:
    before = torch.autocast.__init__, torch.inference_mode.__enter__
    with simulate_device():
        assert torch.autocast.__init__ is not before[0]
    assert (torch.autocast.__init__, torch.inference_mode.__enter__) == before
    with torch.inference_mode():
        assert torch.ones(1).is_inference()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("name", "observed"),
    [
        ("positions_on_the_cpu", "div combines a tensor [16] on the CPU"),
        ("constant_as_an_attribute", "mul combines a tensor [16] on the CPU"),
        ("lengths_on_the_gpu", "the lengths of pack_padded_sequence"),
        ("logits_on_the_cpu", "forward returns logits on the CPU"),
    ],
)
def test_the_report_says_what_fails_and_how_to_fix_it(install: Installer, name: str, observed: str) -> None:
    install_mutant(install, next(mutant for mutant in DEVICE_MUTANTS if mutant.name == name))
    detail = run_one_check("mutant", ON_A_DEVICE).detail
    assert observed in detail
    assert "device=" in detail.partition("Fix: ")[2]
    if name != "logits_on_the_cpu":
        assert "line " in detail
