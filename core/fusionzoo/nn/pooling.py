"""Masked pooling over packed chunks: padding is never included, and a row's result depends on its own chunks only."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.nn.schema import TextFeatures


def row_membership(chunk_row: Tensor, rows: int) -> Tensor:
    """Return which chunk belongs to which row, [rows, chunks] bool."""
    return torch.arange(rows, device=chunk_row.device)[:, None] == chunk_row[None, :]


def sum_per_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Sum each row's chunks: [chunks, dim] to [rows, dim], in float32 also under autocast.

    Computed as a product with the [rows, chunks] membership matrix, which is deterministic on every device and exports
    to ONNX correctly; `index_add` does not.
    """
    with torch.autocast(values.device.type, enabled=False):
        return row_membership(chunk_row, rows).float() @ values.float()


def mean_per_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Average each row's chunks: [chunks, dim] to [rows, dim] float32; zero for a row without chunks."""
    ones = torch.ones_like(values[:, :1])
    return sum_per_row(values, chunk_row, rows) / sum_per_row(ones, chunk_row, rows).clamp_min(1.0)


def token_mean(tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Average all real tokens of a row with equal weight: [chunks, length, dim] to [rows, dim] float32."""
    real = mask.unsqueeze(-1).float()
    total = sum_per_row((tokens.float() * real).sum(dim=1), chunk_row, rows)
    return total / sum_per_row(real.sum(dim=1), chunk_row, rows).clamp_min(1.0)


def token_max(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum over the real tokens of each chunk: [chunks, length, dim] to [chunks, dim]."""
    lowest = torch.finfo(tokens.dtype).min
    return _max_with_floor(tokens.masked_fill(~mask.unsqueeze(-1), lowest), 1, lowest)


def first_token(tokens: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Average the first token (BERT's [CLS]) of each of a row's chunks: [chunks, length, dim] to [rows, dim]."""
    return mean_per_row(tokens[:, :1].sum(dim=1), chunk_row, rows)  # a batch without chunks may have length 0


def last_token(tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Average the last real token of each of a row's chunks: [chunks, length, dim] to [rows, dim].

    It is the summary of a chunk in a causal model, in which no other token sees all of them.
    """
    is_last = mask & ~F.pad(mask[:, 1:], (0, 1))  # real tokens come first
    return mean_per_row((tokens * is_last.unsqueeze(-1)).sum(dim=1), chunk_row, rows)


def softmax_per_row(scores: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Return attention weights in float32, one softmax over all real tokens of a row, across its chunks.

    Args:
        scores: [chunks, queries, length], any finite values where the mask is False.
        mask: [chunks, length] bool. A row without real tokens gets weights of zero.
        chunk_row: [chunks] int64, the row of each chunk.
        rows: number of rows.

    Returns:
        [chunks, queries, length]: for each query, the weights of a row's chunks sum to one; zero on padding.
    """
    real = mask.unsqueeze(1)
    lowest = torch.finfo(torch.float32).min
    scores = scores.float().masked_fill(~real, lowest)
    chunk_max = _max_with_floor(scores.detach(), 2, lowest)  # [chunks, queries]
    spread = chunk_max.unsqueeze(0).masked_fill(~row_membership(chunk_row, rows).unsqueeze(-1), lowest)
    row_max = _max_with_floor(spread, 1, lowest)  # [rows, queries]
    exponentials = (scores - row_max[chunk_row].unsqueeze(-1)).exp() * real
    total = sum_per_row(exponentials.sum(dim=2), chunk_row, rows)[chunk_row]
    return exponentials / total.unsqueeze(-1).clamp_min(torch.finfo(torch.float32).tiny)


def _max_with_floor(values: Tensor, dim: int, floor: float) -> Tensor:
    """Return the maximum along a dimension; `floor` if the dimension is empty, as in a batch without chunks."""
    lowest = torch.full_like(values.sum(dim=dim, keepdim=True), floor, dtype=values.dtype)
    return torch.cat([values, lowest], dim=dim).amax(dim=dim)


def truncate_rows(text: TextFeatures, max_tokens: int) -> TextFeatures:
    """Keep the first `max_tokens` tokens of each row, counted across its chunks; drop chunks that lie beyond them.

    `pooled` is not changed.
    """
    counts = text.mask.sum(dim=1)  # [chunks]
    row_counts = sum_per_row(counts.unsqueeze(1), text.chunk_row, text.pooled.shape[0]).squeeze(1).long()
    row_starts = row_counts.cumsum(0) - row_counts
    chunk_starts = counts.cumsum(0) - counts - row_starts[text.chunk_row]  # a row's tokens in its earlier chunks
    selected = torch.nonzero(chunk_starts < max_tokens).squeeze(1)
    position = chunk_starts[selected].unsqueeze(1) + torch.arange(text.mask.shape[1], device=selected.device)
    return replace(
        text,
        tokens=text.tokens[selected],
        mask=text.mask[selected] & (position < max_tokens),
        chunk_row=text.chunk_row[selected],
    )


class AttentionPooling(nn.Module):
    """Weighted mean of a row's tokens, with weights from a learned query (Yang et al. 2016, N16-1174)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
        """Pool [chunks, length, dim] to [rows, dim] float32."""
        scores = self.score(tokens).transpose(1, 2)  # [chunks, 1, length]
        weights = softmax_per_row(scores, mask, chunk_row, rows)
        return sum_per_row((weights.transpose(1, 2) * tokens.float()).sum(dim=1), chunk_row, rows)
