"""Two whole plugins in one line each: text alone, and late fusion with a table, for the author of a text encoder.

    text_only = TextOnly(MySettings)
    late_fusion = LateFusion(MyLateFusionSettings)

and the entry points `my_model = "my_module:text_only"`, `multimodal_my_model = "my_module:late_fusion"`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo import hookimpl
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.tabular import TabularEncoder
from fusionzoo.nn.text import width_of
from fusionzoo.settings import FusionSettings


class TextClassifier(nn.Module):
    """Logits from the pooled text alone: projection, ReLU, dropout, classifier."""

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.classify = _head(width_of(text_encoder), settings, spec.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classify(self.text_encoder(batch).pooled)
        return logits


class LateFusionClassifier(nn.Module):
    """Each modality projected to `hidden_common_dim`, joined, and classified by a small network.

    The reference that other fusions must beat (Shi et al. 2021, arXiv 2111.02705).
    """

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        width = settings.hidden_common_dim
        self.text_encoder = text_encoder
        self.text = nn.Sequential(nn.Linear(width_of(text_encoder), width), nn.LayerNorm(width))
        self.table = nn.Sequential(TabularEncoder(spec, width, dropout=settings.dropout), nn.LayerNorm(width))
        self.classify = _head(2 * width, settings, spec.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        text = self.text(self.text_encoder(batch).pooled)
        logits: Tensor = self.classify(torch.cat([text, self.table(batch)], dim=-1))
        return logits


def _head(width: int, settings: FusionSettings, num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, settings.hidden_common_dim),
        nn.ReLU(),
        nn.Dropout(settings.dropout),
        nn.Linear(settings.hidden_common_dim, num_classes),
    )


class _Recipe:
    def __init__(self, settings: type[FusionSettings]) -> None:
        self._settings = settings

    @hookimpl
    def settings_class(self) -> type[FusionSettings]:
        return self._settings


class TextOnly(_Recipe):
    """The plugin object of a model that reads text alone."""

    @hookimpl
    def build_model(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> TextClassifier:
        return TextClassifier(spec, settings, text_encoder)


class LateFusion(_Recipe):
    """The plugin object of a late fusion of text and table."""

    @hookimpl
    def build_model(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> LateFusionClassifier:
        return LateFusionClassifier(spec, settings, text_encoder)
