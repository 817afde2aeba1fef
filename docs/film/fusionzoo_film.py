"""Feature-wise linear modulation: the table scales and shifts the text (Perez et al. 2018, arXiv 1709.07871)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.recipes import Fusion
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings


class FilmSettings(FusionSettings):
    """Settings of `multimodal_film`."""

    paper = "Perez et al. 2018, arXiv 1709.07871"

    num_layers: int = Field(1, ge=1, le=16, description="Number of layers in which the table modulates the text.")


class FilmLayer(nn.Module):
    """Compute `(1 + gamma(table)) * W text + beta(table)`: a scale and a shift for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text, self.scale_and_shift = nn.Linear(width, width), nn.Linear(width, 2 * width)

    def forward(self, text: Tensor, table: Tensor) -> Tensor:
        scale, shift = self.scale_and_shift(table).chunk(2, dim=-1)  # [rows, width] each
        modulated: Tensor = (1 + scale) * self.text(text) + shift
        return modulated


class Film(nn.Module):
    """Modulate the text by the table in each layer, with a ReLU after it; then classify it, besides each alone."""

    def __init__(self, spec: InputSpec, settings: FilmSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.layers = nn.ModuleList(FilmLayer(width) for _ in range(settings.num_layers))
        self.classify = ResidualHead(width, width, spec.num_outputs, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        text, table, logits = self.towers(batch)  # [rows, width] twice, and [rows, num_outputs]
        for layer in self.layers:
            text = layer(text, table).relu()
        fused: Tensor = logits + self.classify(text)
        return fused


plugin = Fusion(FilmSettings, Film)
