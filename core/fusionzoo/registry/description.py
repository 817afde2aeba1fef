"""Describe a plugin, or core: what it is, what it reads, and which settings it accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json, to_jsonable_python

from fusionzoo import __version__, errors
from fusionzoo.hookspecs import PluginMetric
from fusionzoo.hyperparameters.decoding import schema_alternatives
from fusionzoo.hyperparameters.schema_references import list_property_schemas
from fusionzoo.hyperparameters.schema_text import allowed_constants
from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, GROUP_KINDS, MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.registry.plugin_settings import MODALITIES
from fusionzoo.registry.providers import Provider
from fusionzoo.settings import JobSettings

CORE_SETTINGS_NAME = "core"


@dataclass(frozen=True)
class Description:
    """One model_class or text_encoder, or core. `needs`, `reads`, `tasks` and `paper` are those of its
    settings class.

    `settings` is the JSON schema of its settings. `metrics` are those that it adds, as plain values.
    """

    kind: str
    name: str
    distribution: str
    version: str
    paper: str | None
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    settings: Mapping[str, Any]
    tasks: tuple[str, ...] = ()
    metrics: tuple[Mapping[str, Any], ...] = ()

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each setting, with references replaced by the definitions that they name."""
        return list_property_schemas(self.settings)

    @property
    def text_encoders(self) -> tuple[str, ...] | None:
        """The text encoders that a model accepts; empty if it accepts any, None if it has no text encoder."""
        schema = self.properties.get("text_encoder")
        if schema is None or self.kind != GROUP_KINDS[MODELS_GROUP]:
            return None
        choices = [allowed_constants(part) for part in schema_alternatives(schema) if part.get("type") != "null"]
        return tuple(name for names in choices for name in names) if all(choices) else ()


def describe_core() -> Description:
    """Describe core's own settings, which every job has."""
    schema = _build_schema(JobSettings)
    return Description(CORE_SETTINGS_NAME, CORE_SETTINGS_NAME, CORE_DISTRIBUTION, __version__, None, (), (), schema)


def describe_plugin(provider: Provider) -> Description:
    """Import a plugin and describe it.

    Raises:
        fusionzoo.errors.ZooError: it cannot be loaded, or core cannot use its settings.
    """
    claim = provider.claim
    plugin = provider.load()
    try:
        settings_class = plugin.settings_class
    except errors.ZooError:
        raise
    except (Exception, SystemExit) as cause:
        raise errors.BrokenPluginError.hook_failed(claim, "settings_class", cause) from cause
    try:
        schema = _build_schema(settings_class)
    except Exception as cause:
        raise errors.BrokenPluginError.no_schema(claim, cause) from cause
    return Description(
        claim.kind,
        claim.name,
        claim.distribution,
        claim.version,
        settings_class.paper,
        tuple(modality for modality in MODALITIES if modality in settings_class.needs),
        tuple(modality for modality in MODALITIES if modality in settings_class.reads),
        schema,
        tuple(sorted(settings_class.tasks)),
        tuple(_describe_metric(one.metric) for one in plugin.metrics),
    )


def describe_name(name: str, text_encoder: str | None = None) -> list[Description]:
    """Describe everything that a name names: a model_class, a text_encoder, or both, and the model's text encoder.

    The model's text encoder is `text_encoder`, or the only one that the model accepts.

    Raises:
        fusionzoo.errors.ZooError: nothing installed has the name, or a plugin cannot be loaded.
    """
    models, encoders = Registry.discover(MODELS_GROUP), Registry.discover(TEXT_ENCODERS_GROUP)
    encoder_provider = _find_provider(encoders, name)
    descriptions = {}
    if encoder_provider is not None:
        descriptions[encoder_provider.entry_point] = describe_plugin(encoder_provider)
    model_provider = _find_provider(models, name)
    if model_provider is None:
        return list(descriptions.values()) or [describe_plugin(models.provider(name))]  # raises UnknownModelError
    model = describe_plugin(model_provider)
    for encoder in (model.text_encoders or ()) if text_encoder is None else (text_encoder,):
        provider = encoders.provider(encoder, model_provider.distribution)
        if provider.entry_point not in descriptions:
            descriptions[provider.entry_point] = describe_plugin(provider)
    return [model, *descriptions.values()]


def _describe_metric(metric: PluginMetric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "greater_is_better": metric.greater_is_better,
        "description": metric.description,
        "tasks": sorted(metric.tasks),
    }


def _find_provider(registry: Registry, name: str) -> Provider | None:
    try:
        return registry.provider(name)
    except errors.UnknownModelError:
        return None


def _build_schema(settings_class: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema, including defaults from factories; NaN and infinite numbers become texts."""
    schema = settings_class.model_json_schema()
    for name, field in settings_class.model_fields.items():
        entry = schema.get("properties", {}).get(field.alias or name)
        if entry is not None and field.default_factory is not None:
            entry["default"] = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
    plain: dict[str, Any] = from_json(to_json(schema, inf_nan_mode="strings"))
    return plain
