"""Bidirectional LSTM over words, alone and in late fusion with a table (Graves and Schmidhuber 2005)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusionzoo.nn.pooling import AttentionPooling, mean_per_row, token_max, token_mean
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

PAPER = "Graves and Schmidhuber 2005, doi 10.1016/j.neunet.2005.06.042"


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
        self.lstm = nn.LSTM(
            self.words.dim,
            settings.lstm_hidden_dim,
            settings.num_lstm_layers,
            batch_first=True,
            dropout=settings.encoder_dropout if settings.num_lstm_layers > 1 else 0.0,
            bidirectional=True,
        )
        self.dim = 2 * settings.lstm_hidden_dim
        self.pooling = settings.lstm_pooling
        self.attention = AttentionPooling(self.dim) if self.pooling == "attention" else None

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        mask = batch.token_mask
        words = self.dropout(self.words(batch.tokens, mask))
        packed = pack_padded_sequence(words, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = self.lstm(packed)
        tokens, _ = pad_packed_sequence(states, batch_first=True, total_length=mask.shape[1])
        return TextFeatures(tokens, mask, batch.chunk_row, self._pool(tokens, batch))

    def _pool(self, tokens: Tensor, batch: Batch) -> Tensor:
        mask, chunk_row, rows = batch.token_mask, batch.chunk_row, batch.rows
        if self.attention is not None:
            return self.attention(tokens, mask, chunk_row, rows)  # type: ignore[no-any-return]
        if self.pooling == "mean":
            return token_mean(tokens, mask, chunk_row, rows)
        return mean_per_row(token_max(tokens, mask), chunk_row, rows)


encoder = Encoder(LstmEncoderSettings, LstmEncoder)
text_only = TextOnly(LstmSettings)
late_fusion = LateFusion(MultimodalLstmSettings)
