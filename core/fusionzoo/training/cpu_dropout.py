"""Draw the random numbers of dropout faster while a model trains on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo.settings import JobSettings

MAX_THREADS = 8  # torch's own dropout draws in parallel, this one does not
MIN_VALUES = 2**14  # of a tensor; for smaller ones the additional calls take longer than the random numbers
VALUES_PER_WORD = 4  # 16-bit random numbers in one draw of 64 bits
NUMBERS = 2**16  # distinct 16-bit random numbers


@contextmanager
def speed_up_dropout(settings: JobSettings) -> Iterator[None]:
    """Within the block, `torch.nn.functional.dropout`, which `nn.Dropout` calls, is faster on a CPU.

    The probability of a drop and the expected value stay the same; the random numbers, which still come from torch's
    generator, are other ones. With a GPU, many threads or `torch_compile`, nothing changes.
    """
    if torch.cuda.is_available() or settings.torch_compile or torch.get_num_threads() > MAX_THREADS:
        yield
        return
    torchs_dropout = F.dropout

    def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if training and not inplace and can_drop(input, p):
            return drop(input, p)
        return torchs_dropout(input, p, training, inplace)

    # Not a TorchFunctionMode: it is off inside `backward`, where activation checkpointing repeats the forward pass.
    F.dropout = dropout
    try:
        yield
    finally:
        F.dropout = torchs_dropout


def can_drop(input: Tensor, p: float) -> bool:
    """Return whether `drop` supports the arguments, and is faster than torch."""
    is_plain = type(input) is Tensor and not input.is_nested and input.is_floating_point()
    return is_plain and input.device.type == "cpu" and input.numel() >= MIN_VALUES and 0 < _round(p) < NUMBERS


def drop(input: Tensor, p: float) -> Tensor:
    """Return the input with each value dropped with probability `p`, rounded to a multiple of 2^-16.

    The other values are scaled by 1 / (1 - p), so that the expected value is exactly the input. A 64-bit random
    number decides about four values; torch draws a number for each of them.
    """
    dropped = _round(p)
    words = torch.empty(-(-input.numel() // VALUES_PER_WORD), dtype=torch.int64).random_(-(2**63), None)
    numbers = words.view(torch.int16)[: input.numel()].view(input.shape)
    kept = numbers.ge_(dropped - NUMBERS // 2)  # in place, 0 or 1: the conversion of bool to float is slow
    return input * kept.to(input.dtype).mul_(NUMBERS / (NUMBERS - dropped))


def _round(p: float) -> int:
    return round(p * NUMBERS)
