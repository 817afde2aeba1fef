"""Text tokens and table fields attend to each other (co-attention, Lu et al. 2019, arXiv 1908.02265)."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo import hookimpl
from fusionzoo.errors import SettingError
from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.pooling import softmax_per_row, sum_per_row, token_mean, truncate_rows
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.tabular import TabularEncoder
from fusionzoo.nn.towers import get_encoder_dim
from fusionzoo.settings import FusionSettings, JobSettings


class CrossAttnSettings(FusionSettings):
    """Settings of `multimodal_cross_attn`."""

    paper = "Lu et al. 2019, arXiv 1908.02265"

    num_layers: int = Field(1, ge=1, le=24, description="Rounds in which text and table attend to each other.")
    num_heads: int = Field(4, ge=1, le=64, description="Attention heads; they divide hidden_common_dim.")
    max_text_tokens: int = Field(
        1024, ge=2, le=1_000_000, description="Tokens of a row that take part, from its start; the encoder reads all."
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_common_dim % self.num_heads:
            raise ValueError(
                f"hidden_common_dim is {self.hidden_common_dim}, no multiple of num_heads {self.num_heads}"
            )
        return self

    def resolve(self, job: JobSettings) -> Self:
        """These settings, if the job's table has fields enough."""
        _refuse_one_key(len(job.cat_field_list) + len(job.tab_field_list))
        return self


def _refuse_one_key(fields: int) -> None:
    if fields < 2:
        problem = f"the table has {fields} field, and attention over a single key is always 1"
        remedy = "name two fields or more in cat_field_list and tab_field_list, or take another fusion"
        raise SettingError("model_class", "multimodal_cross_attn", problem, remedy)


class Attention(nn.Module):
    """Queries, keys and values of one direction, and how its result joins what asked."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.answer = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def split(self, asking: Tensor, answering: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [n, heads, asking, d], keys and values [m, heads, answering, d]."""
        key, value = self.key_value(self.answer(answering)).chunk(2, dim=-1)
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.query(self.ask(asking)), key, value)
        )
        return query, key, value

    def join(self, asking: Tensor, found: Tensor) -> Tensor:
        """`asking` [n, asking, width] plus what it found [n, heads, asking, d]."""
        joined: Tensor = asking + self.out(found.transpose(1, 2).flatten(2))
        return joined


class CrossLayer(nn.Module):
    """Each token attends to its row's fields, each field to all of its row's tokens; then both are transformed."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.to_fields, self.to_tokens = Attention(width, heads, dropout), Attention(width, heads, dropout)
        self.text, self.table = _transform(width, dropout), _transform(width, dropout)

    def forward(self, text: TextFeatures, fields: Tensor) -> tuple[TextFeatures, Tensor]:
        tokens, chunk_row, rows = text.tokens, text.chunk_row, fields.shape[0]
        query, key, value = self.to_fields.split(tokens, fields)
        seen = F.scaled_dot_product_attention(query, key[chunk_row], value[chunk_row])
        new_tokens = self.to_fields.join(tokens, seen)

        query, key, value = self.to_tokens.split(fields, tokens)
        scores = query[chunk_row] @ key.transpose(2, 3) / query.shape[-1] ** 0.5  # [chunks, heads, fields, length]
        weights = softmax_per_row(scores.flatten(1, 2), text.mask, chunk_row, rows).view(scores.shape)
        read = weights.to(value.dtype) @ value  # [chunks, heads, fields, d]
        seen = sum_per_row(read.flatten(1), chunk_row, rows).view(rows, *read.shape[1:])
        new_fields = self.to_tokens.join(fields, seen)

        new_tokens, new_fields = new_tokens + self.text(new_tokens), new_fields + self.table(new_fields)
        return replace(text, tokens=new_tokens), new_fields


def _transform(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(dropout)
    )


class CrossAttention(nn.Module):
    """Late fusion that also sees what the modalities found in each other: the mean token and field after attention."""

    def __init__(self, spec: InputSpec, settings: CrossAttnSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        _refuse_one_key(len(spec.categories) + len(spec.numbers))
        width, field_dim = settings.hidden_common_dim, settings.field_dim
        self.text_encoder, self.max_tokens = text_encoder, settings.max_text_tokens
        self.table = TabularEncoder(spec, width, field_dim, settings.dropout, settings.numeric_embedding)
        self.pooled, self.token, self.field = (
            nn.Linear(w, width) for w in (get_encoder_dim(text_encoder), get_encoder_dim(text_encoder), field_dim)
        )
        self.layers = nn.ModuleList(
            CrossLayer(width, settings.num_heads, settings.dropout) for _ in range(settings.num_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.classify = ClassifierHead(4 * width, width, spec.num_classes, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        features, embedded = self.text_encoder(batch), self.table.fields(batch)
        text = truncate_rows(features, self.max_tokens)
        text, fields = replace(text, tokens=self.token(text.tokens)), self.field(embedded)
        for layer in self.layers:
            text, fields = layer(text, fields)
        mean = token_mean(text.tokens, text.mask, text.chunk_row, batch.rows)
        seen = self.pooled(features.pooled), self.table.join(embedded), mean, fields.mean(dim=1)
        logits: Tensor = self.classify(torch.cat([n(x) for n, x in zip(self.norms, seen, strict=True)], dim=-1))
        return logits


@hookimpl
def settings_class() -> type[CrossAttnSettings]:
    return CrossAttnSettings


@hookimpl
def build_model(spec: InputSpec, settings: CrossAttnSettings, text_encoder: nn.Module) -> CrossAttention:
    return CrossAttention(spec, settings, text_encoder)
