"""What a plugin, or core, says of itself: what it is, what it reads, and the settings that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json, to_json, to_jsonable_python

from fusionzoo import __version__, errors
from fusionzoo.registry.discovery import (
    CORE_DISTRIBUTION,
    GROUP_KINDS,
    MODELS_GROUP,
    TEXT_ENCODERS_GROUP,
    Provider,
    Registry,
)
from fusionzoo.sagemaker.paths import schema_alternatives
from fusionzoo.settings import JobSettings, ModelSettings, describe

CORE_SETTINGS_NAME = "core"
MODALITIES = ("text", "table")


@dataclass(frozen=True)
class Description:
    """Of one model_class or text_encoder, or of core; `needs`, `reads` and `paper` are those of its settings class.

    `settings` is the JSON schema of its settings.
    """

    kind: str
    name: str
    distribution: str
    version: str
    paper: str | None
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    settings: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The schema of each setting; where it refers to a definition, that one."""
        definitions = self.settings.get("$defs", {})
        return {name: _inlined(schema, definitions) for name, schema in self.settings.get("properties", {}).items()}

    @property
    def text_encoders(self) -> tuple[str, ...] | None:
        """The text encoders that a model is tied to; empty where it takes any, None where it takes none."""
        schema = self.properties.get("text_encoder")
        if schema is None or self.kind != GROUP_KINDS[MODELS_GROUP]:
            return None
        named = [errors.only_values(part) for part in schema_alternatives(schema) if part.get("type") != "null"]
        return tuple(name for names in named for name in names) if all(named) else ()


def describe_core() -> Description:
    """Core's own settings, which every job has."""
    return Description(
        CORE_SETTINGS_NAME, CORE_SETTINGS_NAME, CORE_DISTRIBUTION, __version__, None, (), (), _schema(JobSettings)
    )


def describe_plugin(provider: Provider) -> Description:
    """What one plugin says; imports it.

    Raises:
        fusionzoo.errors.ZooError: it cannot be loaded, or its settings are not what core can use.
    """
    claim = provider.claim
    plugin = provider.load()
    try:
        kind = plugin.settings_class
    except errors.ZooError:
        raise
    except (Exception, SystemExit) as fault:
        raise errors.BrokenPluginError.hook_failed(claim, "settings_class", fault) from fault
    try:
        schema = _schema(kind)
    except Exception as fault:
        raise errors.BrokenPluginError.no_schema(claim, fault) from fault
    return Description(
        claim.kind,
        claim.name,
        claim.distribution,
        claim.version,
        kind.paper,
        _modalities(claim, kind, "needs"),
        _modalities(claim, kind, "reads"),
        schema,
    )


def describe_name(name: str, text_encoder: str | None = None) -> list[Description]:
    """All that a name stands for: a model_class, a text_encoder, or both; and the text encoder that the model has.

    That is `text_encoder`, or the one that the model is tied to.

    Raises:
        fusionzoo.errors.ZooError: nothing installed has the name, or a plugin cannot be loaded.
    """
    models, encoders = Registry.discover(MODELS_GROUP), Registry.discover(TEXT_ENCODERS_GROUP)
    as_encoder = _provider(encoders, name)
    found = {} if as_encoder is None else {as_encoder.entry_point: describe_plugin(as_encoder)}
    as_model = _provider(models, name)
    if as_model is None:
        return list(found.values()) or [describe_plugin(models.provider(name))]  # which raises
    model = describe_plugin(as_model)
    for wanted in (model.text_encoders or ()) if text_encoder is None else (text_encoder,):
        provider = encoders.provider(wanted)
        found.setdefault(provider.entry_point, describe_plugin(provider))
    return [model, *found.values()]


def _provider(registry: Registry, name: str) -> Provider | None:
    try:
        return registry.provider(name)
    except errors.UnknownModelError:
        return None


def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema, with the defaults that are made by a factory, and without numbers that JSON does not have."""
    schema = describe(kind)
    for name, field in kind.model_fields.items():
        shown = schema.get("properties", {}).get(field.alias or name)
        if shown is not None and field.default_factory is not None:
            shown["default"] = to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))
    plain: dict[str, Any] = from_json(to_json(schema, inf_nan_mode="strings"))
    return plain


def _inlined(schema: Any, definitions: Mapping[str, Any], within: frozenset[str] = frozenset()) -> Any:
    """The schema with each reference replaced by what it refers to, unless that holds the reference itself."""
    if isinstance(schema, list):
        return [_inlined(one, definitions, within) for one in schema]
    if not isinstance(schema, dict):
        return schema
    target = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if target in definitions and target not in within:
        own = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_inlined(definitions[target], definitions, within | {target}), **own}
    return {key: _inlined(value, definitions, within) for key, value in schema.items()}


def _modalities(claim: errors.Claim, kind: type[ModelSettings], name: str) -> tuple[str, ...]:
    found: object = getattr(kind, name)
    if not isinstance(found, (set, frozenset)) or not found <= set(MODALITIES):
        raise errors.BrokenPluginError.no_modalities(claim, name, found)
    return tuple(modality for modality in MODALITIES if modality in found)
