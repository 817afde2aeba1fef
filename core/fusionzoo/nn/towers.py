"""The common first part of a fusion: one vector of the text and one of the table, with the same width and scale."""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.nn.heads import Projection
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.tabular import TabularEncoder
from fusionzoo.settings import FusionSettings


class Towers(nn.Module):
    """Return the pooled text and the table of a batch, each [rows, hidden_common_dim], normalized by LayerNorm."""

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.dim = settings.hidden_common_dim
        self.text_encoder = text_encoder
        self.text = Projection(get_encoder_dim(text_encoder), self.dim)
        encoder = TabularEncoder(spec, self.dim, settings.field_dim, settings.dropout, settings.numeric_embedding)
        self.table = nn.Sequential(encoder, nn.LayerNorm(self.dim))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.text(self.text_encoder(batch).pooled), self.table(batch)


def get_encoder_dim(text_encoder: nn.Module) -> int:
    """Return `text_encoder.dim`, the width of the encoder's features.

    Raises:
        TypeError: the encoder has no int attribute `dim`.
    """
    dim = getattr(text_encoder, "dim", None)
    if not isinstance(dim, int):
        raise TypeError(f"the text encoder {type(text_encoder).__name__} needs an int attribute `dim`, not {dim!r}")
    return dim
