"""The common first part of a fusion: a vector of the text, a vector of the table, and the logits of each alone."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.tabular import TabularEncoder
from fusionzoo.nn.text_head import TextHead, get_encoder_dim
from fusionzoo.settings import FusionSettings


class TowerOutput(NamedTuple):
    """What `Towers` returns for a batch.

    Attributes:
        text: [rows, hidden_common_dim], a linear projection of the encoder's pooled features. Not normalized: LayerNorm
            costs accuracy here, see docs/decisions/fusions-start-as-text.md.
        table: [rows, hidden_common_dim], normalized by LayerNorm.
        logits: [rows, num_outputs], those of the text alone plus those of the table alone.
    """

    text: Tensor
    table: Tensor
    logits: Tensor


class Towers(nn.Module):
    """Encode text and table each alone; a fusion adds its own logits, from both, to `logits`.

    The logits of the text are those of the text-only model, and the logits of the table start at zero. So a fusion
    that ends with a `ResidualHead` starts as the text-only model, and a table without signal costs it nothing.
    """

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.dim = settings.hidden_common_dim
        self.text_encoder = text_encoder
        self.text = nn.Linear(get_encoder_dim(text_encoder), self.dim)
        self.table = TabularEncoder(spec, self.dim, settings.field_dim, settings.dropout, settings.numeric_embedding)
        self.table_norm = nn.LayerNorm(self.dim)
        self.text_head = TextHead(spec, settings, text_encoder)
        self.table_head = ResidualHead(self.dim, self.dim, spec.num_outputs, settings.dropout)

    def forward(self, batch: Batch) -> TowerOutput:
        return self.join(batch, self.text_encoder(batch), self.table.fields(batch))

    def join(self, batch: Batch, text: TextFeatures, fields: Tensor) -> TowerOutput:
        """Return the output from features of the text encoder and embedded fields [rows, fields, field_dim]."""
        table = self.table_norm(self.table.join(fields))
        return TowerOutput(self.text(text.pooled), table, self.text_head(batch, text.pooled) + self.table_head(table))
