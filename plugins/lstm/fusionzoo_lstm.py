"""Bidirectional LSTM over words, alone and in late fusion with a table (Graves and Schmidhuber 2005)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionzoo.nn.length_groups import encode_in_groups
from fusionzoo.nn.pooling import AttentionPooling, mean_per_row, token_max, token_mean
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

PAPER = "Graves and Schmidhuber 2005, doi 10.1016/j.neunet.2005.06.042"
# A step of an LSTM takes about as long for few chunks as for many, so a group costs little more than its tokens.
GROUP_OVERHEAD, MAX_GROUPS = 32, 6


class LstmEncoderSettings(ModelSettings):
    """Settings of the text encoder `lstm`."""

    needs = reads = frozenset({"text"})
    paper = PAPER
    min_steps = 800

    lstm_hidden_dim: int = Field(128, ge=1, le=8192, description="Width of each direction's state.")
    num_lstm_layers: int = Field(1, ge=1, le=16, description="LSTMs on top of each other.")
    lstm_pooling: Literal["max", "mean", "attention"] = Field(
        "max", description="A text's vector: maximum over each chunk's words, mean of all words, or learned weights."
    )
    is_embeddings_trainable: bool = Field(True, description="Whether word vectors are tuned with the rest.")
    encoder_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout on the word vectors and between layers.")


class LstmSettings(TextSettings):
    """Settings of the text-only model `lstm`."""

    paper = PAPER
    text_encoder: Literal["lstm"] = Field("lstm", description="The text encoder of this model.")


class MultimodalLstmSettings(FusionSettings):
    """Settings of `multimodal_lstm`, the late fusion."""

    paper = PAPER
    text_encoder: Literal["lstm"] = Field("lstm", description="The text encoder of this model.")


class LstmEncoder(nn.Module):
    """Both directions' states per token [chunks, length, dim] and one vector per row; padding is never read."""

    def __init__(self, spec: InputSpec, settings: LstmEncoderSettings) -> None:
        super().__init__()
        if spec.text is None:
            raise ValueError("the text encoder 'lstm' needs text")
        self.words = WordEmbedding(spec.text, default_dim=128, trainable=settings.is_embeddings_trainable)
        self.dropout = nn.Dropout(settings.encoder_dropout)
        hidden, layers = settings.lstm_hidden_dim, settings.num_lstm_layers
        widths = [self.words.dim, *[2 * hidden] * (layers - 1)]
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for _ in range(2)) for width in widths
        )
        self.dim = 2 * settings.lstm_hidden_dim
        self.pooling = settings.lstm_pooling
        self.attention = AttentionPooling(self.dim) if self.pooling == "attention" else None

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        (tokens,) = encode_in_groups(self._encode, batch.tokens, batch.token_mask, GROUP_OVERHEAD, MAX_GROUPS)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, self._pool(tokens, batch))

    def _encode(self, ids: Tensor, mask: Tensor) -> tuple[Tensor]:
        """Return the states [chunks, length, dim]; an LSTM in each direction reads a chunk's padding last."""
        mirrored = _mirror_tokens(mask)
        states = self.words(ids, mask)
        for pair in self.layers:
            forward, backward = cast("nn.ModuleList", pair)
            words = self.dropout(states)
            ahead, behind = _run(forward, words), _run(backward, _reorder(words, mirrored))
            states = torch.cat([ahead, _reorder(behind, mirrored)], dim=2)
        return (states,)

    def _pool(self, tokens: Tensor, batch: Batch) -> Tensor:
        mask, chunk_row, rows = batch.token_mask, batch.chunk_row, batch.rows
        if self.attention is not None:
            return self.attention(tokens, mask, chunk_row, rows)  # type: ignore[no-any-return]
        if self.pooling == "mean":
            return token_mean(tokens, mask, chunk_row, rows)
        return mean_per_row(token_max(tokens, mask), chunk_row, rows)


def _mirror_tokens(mask: Tensor) -> Tensor:
    """Return the positions [chunks, length] that reverse the order of each chunk's real tokens and keep padding."""
    position = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    return torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - position, position)


def _run(lstm: nn.Module, words: Tensor) -> Tensor:
    """Return the states of an LSTM. On a CPU they are float32: only few CPUs have the kernel in bfloat16."""
    with torch.autocast("cpu", enabled=False):
        states: Tensor = lstm(words)[0]
    return states


def _reorder(values: Tensor, positions: Tensor) -> Tensor:
    return values.gather(1, positions.unsqueeze(2).expand(-1, -1, values.shape[2]))


encoder = Encoder(LstmEncoderSettings, LstmEncoder)
text_only = TextOnly(LstmSettings)
late_fusion = LateFusion(MultimodalLstmSettings)
