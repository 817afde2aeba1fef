"""Plugin objects in one line each: a text encoder, a fusion of text and table, a text-only model, late fusion.

    encoder = Encoder(MyEncoderSettings, MyEncoder)
    plugin = Fusion(MyFusionSettings, MyFusion)
    text_only = TextOnly(MyTextOnlySettings)
    late_fusion = LateFusion(MyLateFusionSettings)

Entry points name these objects: `my_encoder = "my_module:encoder"` in the group `fusionzoo.text_encoders`, and
`multimodal_my_fusion = "my_module:plugin"` in the group `fusionzoo.models`.

A plugin with an optional hook subclasses a recipe and adds the hook as a method:

    class MyPlugin(Fusion):
        @hookimpl
        def callbacks(self, settings): ...
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo import hookimpl
from fusionzoo.nn.heads import ResidualHead
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.nn.text_head import TextHead
from fusionzoo.nn.towers import Towers
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

__all__ = ["Encoder", "Fusion", "LateFusion", "LateFusionClassifier", "TextClassifier", "TextOnly"]


class Encoder:
    """The plugin object of a text encoder.

    Args:
        settings: the settings class.
        build: the encoder's class, or a function; called as `build(spec, settings)`. If the module has a method
            `load_pretrained(settings) -> bool`, it becomes the hook of that name, and so do `add_adapters(settings)`
            and `merge_adapters(settings)`.
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

    @hookimpl
    def add_adapters(self, text_encoder: nn.Module, settings: ModelSettings) -> None:
        add: Callable[[ModelSettings], None] | None = getattr(text_encoder, "add_adapters", None)
        if add is not None:
            add(settings)

    @hookimpl
    def merge_adapters(self, text_encoder: nn.Module, settings: ModelSettings) -> None:
        merge: Callable[[ModelSettings], None] | None = getattr(text_encoder, "merge_adapters", None)
        if merge is not None:
            merge(settings)


class Fusion:
    """The plugin object of a model, with or without a text encoder.

    Args:
        settings: the settings class.
        build: the model's class, or a function; called as `build(spec, settings, text_encoder)`. `text_encoder` is
            None if the settings have no field `text_encoder`.
    """

    def __init__(self, settings: type[ModelSettings], build: Callable[[InputSpec, Any, Any], nn.Module]) -> None:
        self._settings, self._build = settings, build

    @hookimpl
    def settings_class(self) -> type[ModelSettings]:
        return self._settings

    @hookimpl
    def build_model(self, spec: InputSpec, settings: ModelSettings, text_encoder: nn.Module | None) -> nn.Module:
        return self._build(spec, settings, text_encoder)


class TextClassifier(nn.Module):
    """Compute logits from the text only: from its pooled features through one hidden layer, and from its n-grams."""

    def __init__(self, spec: InputSpec, settings: TextSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.classify = TextHead(spec, settings, text_encoder)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classify(batch, self.text_encoder(batch).pooled)
        return logits


class LateFusionClassifier(nn.Module):
    """Add the logits of the text alone, of the table alone, and of both vectors through one hidden layer.

    The baseline that other fusions must beat (Shi et al. 2021, arXiv 2111.02705).
    """

    def __init__(self, spec: InputSpec, settings: FusionSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        self.towers = Towers(spec, settings, text_encoder)
        width = self.towers.dim
        self.classify = ResidualHead(2 * width, width, spec.num_outputs, settings.dropout)

    def forward(self, batch: Batch) -> Tensor:
        text, table, logits = self.towers(batch)
        fused: Tensor = logits + self.classify(torch.cat([text, table], dim=-1))
        return fused


class TextOnly(Fusion):
    """The plugin object of a text-only model: `TextClassifier` over the text encoder that the settings name."""

    def __init__(self, settings: type[TextSettings]) -> None:
        super().__init__(settings, TextClassifier)


class LateFusion(Fusion):
    """The plugin object of a late fusion of text and table: `LateFusionClassifier` over a text encoder."""

    def __init__(self, settings: type[FusionSettings]) -> None:
        super().__init__(settings, LateFusionClassifier)
