"""The chosen architecture: its plugins, its settings, and how they become one module. Training and loading share it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.hyperparameters import parsing
from fusionzoo.hyperparameters.parsing import Hyperparameters
from fusionzoo.registry.discovery import MODELS_GROUP, TEXT_ENCODERS_GROUP, Plugin, Registry
from fusionzoo.settings import JobSettings, ModelSettings

if TYPE_CHECKING:
    from torch import nn

    from fusionzoo.nn.schema import InputSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltModel:
    """A module, and the text encoder inside it where core injected one."""

    model: nn.Module
    text_encoder: nn.Module | None


@dataclass(frozen=True)
class Architecture:
    """The plugins that were asked for, with their checked settings."""

    model: Plugin
    encoder: Plugin | None
    hyperparameters: Hyperparameters

    @property
    def job(self) -> JobSettings:
        """Core's settings."""
        return self.hyperparameters.job

    @property
    def data_settings(self) -> DataSettings:
        """The data settings, without the columns of a modality that the model does not read."""
        data = DataSettings(**self.job.model_dump(include=set(DataSettings.model_fields)))
        unread: dict[str, Any] = {}
        if "table" not in self.hyperparameters.model.reads:
            unread |= {"cat_field_list": [], "tab_field_list": []}
        if "text" not in self.hyperparameters.model.reads:
            unread |= {"text_name": None}
        return data.model_copy(update=unread)

    def build(self, spec: InputSpec, pretrained: bool = False) -> BuiltModel:
        """The module with fresh weights, or with pretrained ones in its text encoder; the torch seed decides."""
        text_encoder = None
        if self.encoder is not None:
            settings = self._encoder_settings
            text_encoder = self.encoder.build_text_encoder(spec, settings)
            if pretrained and self.encoder.load_pretrained(text_encoder, settings):
                log.info("Text encoder '%s' starts from pretrained weights.", self.encoder.name)
        return BuiltModel(self.model.build_model(spec, self.hyperparameters.model, text_encoder), text_encoder)

    @property
    def _encoder_settings(self) -> ModelSettings:
        if self.hyperparameters.encoder is None:
            raise ValueError("an architecture with a text encoder has its settings")
        return self.hyperparameters.encoder

    @property
    def encoder_is_pretrained(self) -> bool:
        """Whether the text encoder starts from pretrained weights."""
        return self.hyperparameters.encoder is not None and self.hyperparameters.encoder.pretrained

    def encoder_identity(self, spec: InputSpec) -> dict[str, Any]:
        """What the text encoder's code and settings are, in plain JSON values; not its weights."""
        if self.encoder is None or spec.text is None:
            raise ValueError("there is no text encoder")
        return {
            "name": self.encoder.name,
            "distribution": [self.encoder.distribution, self.encoder.version],
            "settings": self._encoder_settings.model_dump(mode="json"),
            "text": {f.name: getattr(spec.text, f.name) for f in fields(spec.text) if f.compare},
        }

    def versions(self) -> dict[str, str]:
        """Distribution and version of each plugin in use."""
        return {p.distribution: p.version for p in (self.model, self.encoder) if p is not None}


def choose_architecture(raw: Mapping[str, Any]) -> Architecture:
    """The architecture that flat hyperparameters ask for; `hyperparameters.warnings` are for the caller to tell.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be used, or settings are wrong; all faults of them together.
    """
    loaded: dict[str, Plugin] = {}

    def settings_of(group: str, name: str) -> type[ModelSettings]:
        loaded[group] = Registry.discover(group).load(name)
        return loaded[group].settings_class

    parsed = parsing.parse_hyperparameters(
        raw,
        lambda name: settings_of(MODELS_GROUP, name),
        lambda name: settings_of(TEXT_ENCODERS_GROUP, name),
    )
    return Architecture(loaded[MODELS_GROUP], loaded.get(TEXT_ENCODERS_GROUP), parsed)
