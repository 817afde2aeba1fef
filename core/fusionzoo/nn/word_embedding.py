"""Parts that text encoders share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.nn.schema import TextSpec


class WordEmbedding(nn.Module):
    """Token ids [chunks, length] to vectors [chunks, length, dim], zero where the mask is False.

    Starts from the word vectors of the spec where it has them. `default_dim` is the width without them.
    """

    def __init__(self, text: TextSpec, default_dim: int, trainable: bool = True) -> None:
        super().__init__()
        self.dim = text.embedding_dim or default_dim
        self.lookup = nn.Embedding(text.vocab_size, self.dim, padding_idx=text.pad_id)
        if text.embeddings is not None:
            with torch.no_grad():
                self.lookup.weight.copy_(text.embeddings)
        self.lookup.weight.requires_grad_(trainable)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        vectors: Tensor = self.lookup(tokens) * mask.unsqueeze(-1)
        return vectors
