"""Masked pooling over packed chunks: padding never enters, and each row sees its own chunks only."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from fusionzoo.nn.schema import TextFeatures


def row_membership(chunk_row: Tensor, rows: int) -> Tensor:
    """Which chunk belongs to which row: [rows, chunks] bool."""
    return torch.arange(rows, device=chunk_row.device)[:, None] == chunk_row[None, :]


def sum_per_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Sum of each row's chunks: [chunks, dim] to [rows, dim], in float32 whatever the autocast.

    A product with the [rows, chunks] membership matrix: deterministic on every device, and exported to ONNX
    correctly, which `index_add` is not.
    """
    with torch.autocast(values.device.type, enabled=False):
        return row_membership(chunk_row, rows).float() @ values.float()


def mean_per_row(values: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Mean of each row's chunks: [chunks, dim] to [rows, dim]; zero for a row without chunks."""
    ones = torch.ones_like(values[:, :1])
    return sum_per_row(values, chunk_row, rows) / sum_per_row(ones, chunk_row, rows).clamp_min(1.0)


def token_mean(tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Mean over all real tokens of a row: [chunks, length, dim] to [rows, dim]; each token weighs the same."""
    real = mask.unsqueeze(-1).float()
    total = sum_per_row((tokens.float() * real).sum(dim=1), chunk_row, rows)
    return total / sum_per_row(real.sum(dim=1), chunk_row, rows).clamp_min(1.0)


def token_max(tokens: Tensor, mask: Tensor) -> Tensor:
    """Maximum over the real tokens of a chunk: [chunks, length, dim] to [chunks, dim]."""
    return tokens.masked_fill(~mask.unsqueeze(-1), torch.finfo(tokens.dtype).min).amax(dim=1)


def first_token(tokens: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Mean over a row's chunks of their first token (BERT's [CLS]): [chunks, length, dim] to [rows, dim]."""
    return mean_per_row(tokens[:, 0], chunk_row, rows)


def softmax_per_row(scores: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
    """Attention weights over all real tokens of a row together, however many chunks it has; float32.

    Args:
        scores: [chunks, queries, length], any finite values where the mask is False.
        mask: [chunks, length] bool. A row without any True has weights of zero.

    Returns:
        [chunks, queries, length]: for each query, the weights of a row's chunks sum to one; zero on padding.
    """
    real = mask.unsqueeze(1)
    lowest = torch.finfo(torch.float32).min
    scores = scores.float().masked_fill(~real, lowest)
    of_chunk = scores.detach().amax(dim=2)  # [chunks, queries]
    spread = of_chunk.unsqueeze(0).masked_fill(~row_membership(chunk_row, rows).unsqueeze(-1), lowest)
    nothing = torch.full_like(spread.sum(dim=1, keepdim=True), lowest)  # so that a batch without chunks has a maximum
    of_row = torch.cat([spread, nothing], dim=1).amax(dim=1)  # [rows, queries]
    powers = (scores - of_row[chunk_row].unsqueeze(-1)).exp() * real
    total = sum_per_row(powers.sum(dim=2), chunk_row, rows)[chunk_row]
    return powers / total.unsqueeze(-1).clamp_min(torch.finfo(torch.float32).tiny)


def truncate_rows(text: TextFeatures, limit: int) -> TextFeatures:
    """The features without a row's tokens beyond its first `limit`; chunks that lie wholly beyond are left out.

    `pooled` stays as it is. Tokens are counted over all chunks of a row, in their order.
    """
    counts = text.mask.sum(dim=1)  # [chunks]
    of_row = sum_per_row(counts.unsqueeze(1), text.chunk_row, text.pooled.shape[0]).squeeze(1).long()
    before_row = of_row.cumsum(0) - of_row
    before = counts.cumsum(0) - counts - before_row[text.chunk_row]  # tokens of the same row in earlier chunks
    kept = torch.nonzero(before < limit).squeeze(1)
    position = before[kept].unsqueeze(1) + torch.arange(text.mask.shape[1], device=kept.device)
    return replace(
        text, tokens=text.tokens[kept], mask=text.mask[kept] & (position < limit), chunk_row=text.chunk_row[kept]
    )


class AttentionPooling(nn.Module):
    """Weighted mean of a row's tokens; a learned query decides the weights (Yang et al. 2016, N16-1174)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, tokens: Tensor, mask: Tensor, chunk_row: Tensor, rows: int) -> Tensor:
        """[chunks, length, dim] to [rows, dim] float32."""
        scores = self.score(tokens).transpose(1, 2)  # [chunks, 1, length]
        weights = softmax_per_row(scores, mask, chunk_row, rows)
        return sum_per_row((weights.transpose(1, 2) * tokens.float()).sum(dim=1), chunk_row, rows)
