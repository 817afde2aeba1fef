"""Convolutions over words, alone and in late fusion with a table (Kim 2014, arXiv 1408.5882)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.nn.length_groups import encode_in_groups, is_traced
from fusionzoo.nn.packed_tokens import PackedTokens, convolve, max_per_chunk
from fusionzoo.nn.pooling import mean_per_row, token_max
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

PAPER = "Kim 2014, arXiv 1408.5882"
MAX_PACKED_SIZE = 16  # a packed convolution copies the window of each token
Size = Annotated[int, Field(ge=1, le=4096)]


class CnnEncoderSettings(ModelSettings):
    """Settings of the text encoder `cnn`."""

    needs = reads = frozenset({"text"})
    paper = PAPER

    kernel_size: list[Size] = Field(
        [3, 4, 5], min_length=1, max_length=64, description="Words that each group of filters spans."
    )
    num_channels: list[Size] = Field(
        [100], min_length=1, max_length=64, description="Filters per kernel size; more than one entry stacks layers."
    )
    is_embeddings_trainable: bool = Field(True, description="Whether word vectors are tuned with the rest.")
    encoder_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on the word vectors.")


class CnnSettings(TextSettings):
    """Settings of the text-only model `cnn`."""

    paper = PAPER
    text_encoder: Literal["cnn"] = Field("cnn", description="The text encoder of this model.")


class MultimodalCnnSettings(FusionSettings):
    """Settings of `multimodal_cnn`, the late fusion."""

    paper = PAPER
    text_encoder: Literal["cnn"] = Field("cnn", description="The text encoder of this model.")


class CnnEncoder(nn.Module):
    """Features per token [chunks, length, dim] and, pooled, the mean over a row's chunks of the maximum over tokens."""

    def __init__(self, spec: InputSpec, settings: CnnEncoderSettings) -> None:
        super().__init__()
        if spec.text is None:
            raise ValueError("the text encoder 'cnn' needs text")
        self.words = WordEmbedding(spec.text, default_dim=128, trainable=settings.is_embeddings_trainable)
        self.dropout = nn.Dropout(settings.encoder_dropout)
        widths = [self.words.dim, *settings.num_channels]
        self.towers = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(i, o, size) for i, o in pairwise(widths)) for size in settings.kernel_size
        )
        self.max_size = max(settings.kernel_size)
        self.dim = len(settings.kernel_size) * widths[-1]

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        if is_traced() or self.max_size > MAX_PACKED_SIZE:
            tokens, maximum = encode_in_groups(self._encode_padded, batch.tokens, batch.token_mask)
        else:
            tokens, maximum = self._encode_packed(batch)
        pooled = mean_per_row(maximum, batch.chunk_row, batch.rows)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)

    def _encode_packed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the features of tokens [chunks, length, dim] and their maximum [chunks, dim]; computes no padding."""
        layout = PackedTokens(batch.token_mask)
        words = self.dropout(self.words.lookup(batch.tokens[batch.token_mask]))  # [tokens, dim]
        features, maxima = [], []
        for tower in self.towers:
            *below, last = cast("list[nn.Conv1d]", list(tower.children()))
            values = words
            for convolution in below:
                values = convolve(convolution, values, layout).tokens.relu()
            convolved = convolve(last, values, layout)
            features.append(layout.unpack(convolved.tokens).relu())
            maxima.append(max_per_chunk(convolved, layout, features[-1]))
        return torch.cat(features, dim=2), torch.cat(maxima, dim=1)

    def _encode_padded(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same with torch's convolution: for exported graphs, and for windows too wide to be copied."""
        words = self.dropout(self.words(ids, mask)).transpose(1, 2)  # [chunks, dim, length]
        tokens = torch.cat([self._tower(tower, words, mask) for tower in self.towers], dim=1).transpose(1, 2)
        return tokens, token_max(tokens, mask)

    @staticmethod
    def _tower(layers: nn.Module, features: Tensor, mask: Tensor) -> Tensor:
        """Convolutions of one kernel size; positions beyond the mask are zero before each, as beyond the edge."""
        for convolution in layers.children():
            (size,) = cast("nn.Conv1d", convolution).kernel_size
            padded = F.pad(features * mask.unsqueeze(1), ((size - 1) // 2, size // 2))
            features = convolution(padded).relu()
        return features


encoder = Encoder(CnnEncoderSettings, CnnEncoder)
text_only = TextOnly(CnnSettings)
late_fusion = LateFusion(MultimodalCnnSettings)
