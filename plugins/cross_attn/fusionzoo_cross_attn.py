"""Text tokens and table fields attend to each other (co-attention, Lu et al. 2019, arXiv 1908.02265)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.errors import SettingError
from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.packed_tokens import TokenLayout, choose_layout
from fusionzoo.nn.pooling import softmax_per_row, sum_per_row, token_mean, truncate_rows
from fusionzoo.nn.recipes import Fusion
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.text_head import get_encoder_dim
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings, JobSettings

if TYPE_CHECKING:
    from typing_extensions import Self


class CrossAttnSettings(FusionSettings):
    """Settings of `multimodal_cross_attn`."""

    paper = "Lu et al. 2019, arXiv 1908.02265"

    num_layers: int = Field(
        1, ge=1, le=24, description="Number of layers in which text and table attend to each other."
    )
    attention_dim: int = Field(
        128, ge=1, le=4096, description="Width of the tokens and fields that attend to each other."
    )
    num_heads: int = Field(4, ge=1, le=64, description="Number of attention heads; must divide attention_dim.")
    max_text_tokens: int = Field(
        1024,
        ge=2,
        le=1_000_000,
        description="Maximum number of a row's tokens, from its start, that take part in cross-attention; the text "
        "encoder reads all of them.",
    )

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.attention_dim % self.num_heads:
            raise ValueError(f"attention_dim is {self.attention_dim}, which num_heads {self.num_heads} does not divide")
        return self

    def resolve(self, job: JobSettings) -> Self:
        """Return the settings unchanged if the job's table has enough fields.

        Raises:
            SettingError: the table has fewer than two fields.
        """
        _check_fields(len(job.cat_field_list) + len(job.tab_field_list))
        return self


def _check_fields(fields: int) -> None:
    if fields < 2:
        noun = "field" if fields == 1 else "fields"
        problem = f"the table has {fields} {noun}, and attention over a single key always has the weight 1"
        remedy = "list at least two fields in cat_field_list and tab_field_list, or choose another fusion"
        raise SettingError("model_class", "multimodal_cross_attn", problem, remedy)


class Attention(nn.Module):
    """The projections of multi-head attention in one direction, with pre-norm and a residual connection."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query_norm, self.key_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def project(self, target: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries of target [..., width], and the keys and values of source [..., width]."""
        key, value = self.key_value(self.key_norm(source)).chunk(2, dim=-1)
        return self.query(self.query_norm(target)), key, value

    def split(self, projected: Tensor) -> Tensor:
        """Return [n, length, width] as [n, heads, length, d]."""
        heads: Tensor = projected.unflatten(-1, (self.heads, -1))  # type: ignore[no-untyped-call]
        return heads.transpose(1, 2)

    def add(self, target: Tensor, attended: Tensor) -> Tensor:
        """Add attended values to target, both [..., width]."""
        updated: Tensor = target + self.out(attended)
        return updated


class CrossLayer(nn.Module):
    """Each token attends to its row's fields, and each field to its row's tokens; then a feed-forward block each."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.to_fields, self.to_tokens = Attention(width, heads, dropout), Attention(width, heads, dropout)
        self.text, self.table = _feed_forward(width, dropout), _feed_forward(width, dropout)

    def forward(self, tokens: Tensor, fields: Tensor, layout: TokenLayout, chunk_row: Tensor) -> tuple[Tensor, Tensor]:
        """Return new tokens, laid out as `layout` has it, and new fields [rows, fields, width]."""
        rows = fields.shape[0]
        query, key, value = self.to_fields.project(tokens, fields)
        query, key, value = (self.to_fields.split(x) for x in (layout.unpack(query), key[chunk_row], value[chunk_row]))
        attended = F.scaled_dot_product_attention(query, key, value)  # [chunks, heads, length, d]
        new_tokens = self.to_fields.add(tokens, layout.pack(attended.transpose(1, 2).flatten(2)))

        query, key, value = self.to_tokens.project(fields, tokens)
        query, key, value = (self.to_tokens.split(x) for x in (query, layout.unpack(key), layout.unpack(value)))
        scores = query[chunk_row] @ key.transpose(2, 3) / query.shape[-1] ** 0.5  # [chunks, heads, fields, length]
        weights = softmax_per_row(scores.flatten(1, 2), layout.mask, chunk_row, rows).view(scores.shape)
        chunk_values = weights.to(value.dtype) @ value  # [chunks, heads, fields, d]
        attended = sum_per_row(chunk_values.flatten(1), chunk_row, rows).view(rows, *chunk_values.shape[1:])
        new_fields = self.to_tokens.add(fields, attended.transpose(1, 2).flatten(2))

        return new_tokens + self.text(new_tokens), new_fields + self.table(new_fields)


def _feed_forward(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(dropout)
    )


class CrossAttention(nn.Module):
    """Late fusion with two more inputs: the mean token and the mean field after cross-attention."""

    def __init__(self, spec: InputSpec, settings: CrossAttnSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        _check_fields(len(spec.categories) + len(spec.numbers))
        self.towers, self.max_tokens = Towers(spec, settings, text_encoder), settings.max_text_tokens
        width = settings.attention_dim
        self.token, self.field = nn.Linear(get_encoder_dim(text_encoder), width), nn.Linear(settings.field_dim, width)
        self.layers = nn.ModuleList(
            CrossLayer(width, settings.num_heads, settings.dropout) for _ in range(settings.num_layers)
        )
        self.token_norm, self.field_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        width_in, hidden = 2 * (self.towers.dim + width), self.towers.dim
        self.classify = ResidualHead(width_in, hidden, spec.num_outputs, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        features, embedded = self.towers.text_encoder(batch), self.towers.table.fields(batch)
        text = truncate_rows(features, self.max_tokens)
        layout = choose_layout(text.mask)
        tokens, fields = self.token(layout.pack(text.tokens)), self.field(embedded)
        for layer in self.layers:
            tokens, fields = layer(tokens, fields, layout, text.chunk_row)
        mean_token = token_mean(layout.unpack(tokens), text.mask, text.chunk_row, batch.rows)
        towers = self.towers.join(batch, features, embedded)
        parts = towers.text, towers.table, self.token_norm(mean_token), self.field_norm(fields.mean(dim=1))
        logits: Tensor = towers.logits + self.classify(torch.cat(parts, dim=-1))
        return logits


plugin = Fusion(CrossAttnSettings, CrossAttention)
