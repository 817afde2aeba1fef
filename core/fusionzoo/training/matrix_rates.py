"""Measure how fast this machine computes the matrix products of a model, in float32 and under bf16 autocast.

On a CPU, one thread computes them, and its CPU time counts: other programs on the same cores change it little.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.settings import JobSettings

MAX_SECONDS = 0.08  # for the rounds of measurement together
MAX_ROUNDS = 20
MIN_ROUNDS = 2
CPU_PRODUCT_SIZE = 2e8  # multiplications per product: some milliseconds on one core
MIN_ROWS, MAX_CPU_ROWS, MAX_GPU_ROWS = 128, 1024, 4096


@dataclass(frozen=True)
class MatrixRates:
    """The rates in GFLOP/s at which a linear layer [rows, width_in] -> [rows, width_out] trains on this machine.

    A rate covers the forward and backward pass, including the conversions of autocast. It is that of one core or of the
    GPU (`hardware`).
    """

    rows: int
    width_in: int
    width_out: int
    float32: float
    bf16: float
    hardware: str = "one core"

    def __str__(self) -> str:
        shape = f"{self.rows} x {self.width_in} x {self.width_out} on {self.hardware}"
        return f"matrix products of {shape}: float32 {self.float32:.0f} GFLOP/s, bf16 {self.bf16:.0f} GFLOP/s"


def measure_matrix_rates(model: nn.Module, settings: JobSettings, device: torch.device) -> MatrixRates:
    """Return the rates for the weight shape that holds most of the model's weights, with the rows of a training batch.

    Takes some tens of milliseconds on a CPU. The random state of torch does not change.
    """
    width_out, width_in = find_main_weight_shape(model)
    rows = _count_rows(settings, width_in * width_out, device)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, width_in, generator=generator).to(device).requires_grad_()
    weight = torch.randn(width_out, width_in, generator=generator).to(device).requires_grad_()
    with _use_one_thread():
        seconds = _time_products(inputs, weight)
    operations = 6 * rows * width_in * width_out  # three products, each of multiplications and additions
    rates = {dtype: operations / duration / 1e9 for dtype, duration in seconds.items()}
    hardware = "one core" if device.type == "cpu" else "the GPU"
    return MatrixRates(rows, width_in, width_out, rates[torch.float32], rates[torch.bfloat16], hardware)


def _time_products(inputs: Tensor, weight: Tensor) -> dict[torch.dtype, float]:
    """Return the shortest time of a product in float32 and under bf16 autocast."""
    for dtype in (torch.float32, torch.bfloat16):
        _time_product(inputs, weight, dtype)  # the first call chooses and prepares kernels
    seconds: dict[torch.dtype, float] = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    spent = 0.0
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and spent > MAX_SECONDS:
            break
        for dtype, best in seconds.items():  # in turns, so that a disturbance affects both
            duration = _time_product(inputs, weight, dtype)
            seconds[dtype], spent = min(best, duration), spent + duration
    return seconds


@contextmanager
def _use_one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def find_main_weight_shape(model: nn.Module) -> tuple[int, int]:
    """Return (width_out, width_in) of the weight shape that holds most of the model's weights, embeddings aside.

    The weight of a convolution counts as the matrix that it is multiplied as; (1, 1) if the model has no weight matrix.
    """
    sizes: Counter[tuple[int, int]] = Counter({(1, 1): 0})
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            continue
        for parameter in module.parameters(recurse=False):
            if parameter.ndim > 1 and parameter.numel():
                sizes[parameter.shape[0], parameter.numel() // parameter.shape[0]] += parameter.numel()
    return sizes.most_common(1)[0][0]


def _count_rows(settings: JobSettings, weights: int, device: torch.device) -> int:
    """Return the rows that the layer gets in a training batch, fewer if the measurement would take too long."""
    tokens = settings.max_sen_len if settings.text_name else 1
    rows = settings.max_batch_tokens or settings.batch_size * tokens
    if device.type != "cpu":
        return min(rows, MAX_GPU_ROWS)
    return min(rows, MAX_CPU_ROWS, max(MIN_ROWS, int(CPU_PRODUCT_SIZE // weights)))


def _time_product(inputs: Tensor, weight: Tensor, dtype: torch.dtype) -> float:
    """Return the seconds of one forward and backward pass in float32, or under bf16 autocast."""
    device = inputs.device
    is_mixed = dtype != torch.float32
    read_clock = time.thread_time if device.type == "cpu" else time.perf_counter
    _synchronize(device)
    begin = read_clock()
    with torch.autocast(device.type, dtype=dtype if is_mixed else None, enabled=is_mixed, cache_enabled=False):
        result = F.linear(inputs, weight)
    torch.autograd.grad(result, (inputs, weight), torch.ones_like(result))
    _synchronize(device)
    return read_clock() - begin


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
