"""The word embedding layer of text encoders that have none of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.nn.schema import TextSpec


class WordEmbedding(nn.Module):
    """Embed token ids [chunks, length] as vectors [chunks, length, dim]; zero where the mask is False.

    Args:
        text: the spec of the text. If it has word vectors, the embedding starts from them.
        default_dim: the width if the spec has no word vectors.
        trainable: whether the vectors are trained.
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
