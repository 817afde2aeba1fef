"""Whole plugins in one line each: a text encoder, text alone, and late fusion with a table.

    encoder = Encoder(MyEncoderSettings, MyEncoder)
    text_only = TextOnly(MySettings)
    late_fusion = LateFusion(MyLateFusionSettings)

with the entry points `my_model = "my_module:encoder"` among the text encoders, and `my_model = "my_module:text_only"`
and `multimodal_my_model = "my_module:late_fusion"` among the models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo import hookimpl
from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.towers import Towers, get_encoder_dim
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings


class TextClassifier(nn.Module):
    """Logits from the pooled text alone: projection, ReLU, dropout, classifier."""

    def __init__(self, spec: InputSpec, settings: TextSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        width = settings.hidden_common_dim
        self.classify = ClassifierHead(get_encoder_dim(text_encoder), width, spec.num_classes, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classify(self.text_encoder(batch).pooled)
        return logits


class LateFusionClassifier(nn.Module):
    """Each modality projected to `hidden_common_dim`, joined, and classified by a small network.

    The reference that other fusions must beat (Shi et al. 2021, arXiv 2111.02705).
    """

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.classify = ClassifierHead(2 * width, width, spec.num_classes, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classify(torch.cat(self.towers(batch), dim=-1))
        return logits


class Encoder:
    """The plugin object of a text encoder, whose class is built as `build(spec, settings)`.

    A class that starts from pretrained weights has a method `load_pretrained(settings) -> bool`.
    """

    def __init__(self, settings: type[ModelSettings], build: Callable[[InputSpec, Any], nn.Module]) -> None:
        self._settings, self._build = settings, build

    @hookimpl
    def settings_class(self) -> type[ModelSettings]:
        return self._settings

    @hookimpl
    def build_text_encoder(self, spec: InputSpec, settings: ModelSettings) -> nn.Module:
        return self._build(spec, settings)

    @hookimpl
    def load_pretrained(self, text_encoder: nn.Module, settings: ModelSettings) -> bool:
        load: Callable[[ModelSettings], bool] | None = getattr(text_encoder, "load_pretrained", None)
        return load is not None and load(settings)


class TextOnly:
    """The plugin object of a model that reads text alone."""

    def __init__(self, settings: type[TextSettings]) -> None:
        self._settings = settings

    @hookimpl
    def settings_class(self) -> type[TextSettings]:
        return self._settings

    @hookimpl
    def build_model(self, spec: InputSpec, settings: TextSettings, text_encoder: nn.Module) -> TextClassifier:
        return TextClassifier(spec, settings, text_encoder)


class LateFusion:
    """The plugin object of a late fusion of text and table."""

    def __init__(self, settings: type[FusionSettings]) -> None:
        self._settings = settings

    @hookimpl
    def settings_class(self) -> type[FusionSettings]:
        return self._settings

    @hookimpl
    def build_model(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> LateFusionClassifier:
        return LateFusionClassifier(spec, settings, text_encoder)
