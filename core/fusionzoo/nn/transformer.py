"""A transformer block over the tokens of chunks that trains, scores each row independently, and exports to ONNX."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TransformerBlock(nn.Module):
    """Self-attention among the real tokens of a chunk, then a feed-forward block, each pre-norm with a residual.

    It replaces `nn.TransformerEncoderLayer(..., batch_first=True, norm_first=True)` (Xiong et al. 2020, arXiv
    2002.04745). Token features include no positions.

    Args:
        dim: the width of the features; `heads` must divide it.
        heads: the number of attention heads.
        hidden: the width of the feed-forward block; by default 4 * dim.
        dropout: the dropout of attention weights and of both branches.

    Raises:
        ValueError: `heads` does not divide `dim`.
    """

    def __init__(self, dim: int, heads: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim is {dim}, which heads {heads} does not divide")
        hidden = hidden or 4 * dim
        self.heads, self.dropout = heads, dropout
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))
        self.feed_forward = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim), nn.Dropout(dropout)
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return features [chunks, length, dim] of tokens [chunks, length, dim]; mask [chunks, length] True = real.

        Padding is never attended to. The features of padded positions are finite and have no meaning.
        """
        tokens = tokens + self._attend(self.attention_norm(tokens), mask)
        updated: Tensor = tokens + self.feed_forward(self.feed_forward_norm(tokens))
        return updated

    def _attend(self, tokens: Tensor, mask: Tensor) -> Tensor:
        parts = self.query_key_value(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        # A finite bias, because the attention of a chunk without real tokens would be NaN with minus infinity.
        bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, torch.finfo(query.dtype).min)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, bias[:, None, None, :], dropout)
        result: Tensor = self.out(attended.transpose(1, 2).flatten(start_dim=2))
        return result
