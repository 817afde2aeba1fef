"""Masked pooling over packed chunks: padding never enters, and each row sees its own chunks only."""

from __future__ import annotations

import torch
from torch import Tensor


def sum_by_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Sum of each row's chunks: [chunks, dim] to [rows, dim], in float32 whatever the autocast.

    A product with the [rows, chunks] membership matrix: deterministic on every device, and exported to ONNX
    correctly, which `index_add` is not.
    """
    with torch.autocast(values.device.type, enabled=False):
        membership = torch.arange(rows, device=values.device)[:, None] == chunk_row[None, :]
        return membership.float() @ values.float()


def mean_by_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Mean of each row's chunks: [chunks, dim] to [rows, dim]; zero for a row without chunks."""
    ones = torch.ones_like(values[:, :1])
    return sum_by_row(values, chunk_row, rows) / sum_by_row(ones, chunk_row, rows).clamp_min(1.0)


def token_mean(tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Mean over all real tokens of a row: [chunks, length, dim] to [rows, dim]; each token weighs the same."""
    real = mask.unsqueeze(-1).float()
    total = sum_by_row((tokens.float() * real).sum(dim=1), chunk_row, rows)
    return total / sum_by_row(real.sum(dim=1), chunk_row, rows).clamp_min(1.0)


def token_max(tokens: Tensor, mask: Tensor) -> Tensor:
    """Maximum over the real tokens of a chunk: [chunks, length, dim] to [chunks, dim]."""
    return tokens.masked_fill(~mask.unsqueeze(-1), torch.finfo(tokens.dtype).min).amax(dim=1)
