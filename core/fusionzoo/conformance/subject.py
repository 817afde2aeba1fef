"""What is checked: an architecture or a text encoder, with small settings, built as a job builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import torch
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined
from torch import nn

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.conformance import reference_encoder
from fusionzoo.conformance.synthetic_rows import MAX_CHUNKS, MAX_TOKENS, SUBWORDS, WORD, make_spec
from fusionzoo.hyperparameters.parsing import Hyperparameters
from fusionzoo.nn.schema import InputSpec
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Plugin, Registry
from fusionzoo.registry.entry_points import GROUP_KINDS
from fusionzoo.settings import JobSettings, ModelSettings


@dataclass(frozen=True)
class SubjectRequest:
    """What was asked for, in plain values, so that a fresh process can be asked for the same.

    `settings` are those of the model, or of the text encoder where `group` is that of the encoders.
    """

    group: str
    name: str
    text_encoder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)


class Subject:
    """A plugin, what core puts around it, and their settings.

    A fusion over any text encoder stands over the kit's own, unless the request names an installed one; a text
    encoder stands in core's text classifier.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be loaded, or there is no text encoder to choose.
    """

    def __init__(self, request: SubjectRequest) -> None:
        self.request = request
        registry = Registry.discover(request.group)
        self.provider = registry.provider(request.name)
        self.plugin = registry.load(request.name)
        self.encoder: Plugin | None = None
        self.is_encoder = request.group == TEXT_ENCODERS_GROUP
        self.plugin_title = f"{GROUP_KINDS[request.group]} '{request.name}'"
        if self.is_encoder:
            self.model, self.encoder = reference_encoder.make_text_classifier_plugin(), self.plugin
            self.title = f"{self.plugin_title} in core's text classifier"
            return
        self.model = self.plugin
        name = self._encoder_name()
        if name is None:
            over = ""
        elif name == reference_encoder.NAME:
            self.encoder, over = reference_encoder.make_text_encoder_plugin(), " over the kit's own text encoder"
        else:
            self.encoder, over = Registry.discover(TEXT_ENCODERS_GROUP).load(name), f" over text encoder '{name}'"
        self.title = self.plugin_title + over

    @property
    def module(self) -> str:
        """The module that the plugin's entry point names."""
        return self.provider.entry_point.module

    def _encoder_name(self) -> str | None:
        """The text encoder that was asked for, the one that the model fixes, or the kit's own; None without any."""
        asked, setting = self.request.text_encoder, self.plugin.settings_class.model_fields.get("text_encoder")
        if setting is None:
            if asked is not None:
                problem = f"{self.plugin_title} has no text encoder to choose"
                raise errors.SettingError("text_encoder", asked, problem, "leave it out")
            return None
        accepted = TypeAdapter[Any](setting.annotation or str)
        if asked is not None:
            if not _accepts(accepted, asked):
                problem = f"{self.plugin_title} fixes its text encoder"
                raise errors.SettingError("text_encoder", asked, problem, "leave it out")
            return asked
        if _accepts(accepted, reference_encoder.NAME):
            return reference_encoder.NAME
        default = setting.get_default(call_default_factory=True)
        return next(iter(get_args(setting.annotation)), None) if default in (None, PydanticUndefined) else str(default)

    @cached_property
    def settings(self) -> ModelSettings:
        """The model's settings: small ones, with what the request changes.

        Raises:
            fusionzoo.errors.HyperparametersError: a change is refused.
        """
        given = {} if self.is_encoder else dict(self.request.settings)
        if self.encoder is not None:
            given["text_encoder"] = self.encoder.name
        return _settings(self.model, given)

    @cached_property
    def encoder_settings(self) -> ModelSettings | None:
        """The text encoder's settings: small ones, with what the request changes.

        Raises:
            fusionzoo.errors.HyperparametersError: a change is refused.
        """
        given = self.request.settings if self.is_encoder else self.request.encoder_settings
        if self.encoder is not None:
            return _settings(self.encoder, given)
        if given:
            problem = f"{self.plugin_title} has no text encoder"
            raise errors.SettingError(next(iter(given)), next(iter(given.values())), problem, "leave it out")
        return None

    @cached_property
    def spec(self) -> InputSpec:
        """The inputs that the model reads: core gives it no others."""
        return make_spec(self.settings.reads, self._tokenizer)

    @cached_property
    def other_spec(self) -> InputSpec:
        """The same with word vectors where `spec` has none, and without where it has, if the plugins take that."""
        other = make_spec(self.settings.reads, SUBWORDS if self._tokenizer == WORD else WORD)
        try:
            self.architecture(other)
        except errors.SettingError:
            return self.spec
        return other

    @property
    def _tokenizer(self) -> str:
        return WORD if self.encoder is None else self.encoder.settings_class.default_tokenizer

    def architecture(self, spec: InputSpec) -> Architecture:
        """The plugins with their settings resolved for a job of such inputs.

        Raises:
            fusionzoo.errors.SettingError: a plugin refuses the job.
        """
        values = {
            "model_class": self.model.name,
            "id_name": "id",
            "label_name": "label",
            "text_name": None if spec.text is None else "text",
            "cat_field_list": [c.name for c in spec.categories],
            "tab_field_list": [n.name for n in spec.numbers],
            "num_classes": spec.num_classes,
            "tokenizer": self._tokenizer if spec.text is None else spec.text.tokenizer,
            "max_sen_len": MAX_TOKENS,
            "max_total_chunks": MAX_CHUNKS,
        }
        job = JobSettings.model_validate(values)
        try:
            encoder = None if self.encoder_settings is None else self.encoder_settings.resolve(job)
            return Architecture(self.model, self.encoder, Hyperparameters(job, self.settings.resolve(job), encoder))
        except errors.SettingError as fault:
            fault.add_note("A check takes the settings that `small()` returns: they need no files and no network.")
            raise

    def build(self, spec: InputSpec | None = None, seed: int = 0) -> nn.Module:
        """The module with the weights that the seed draws, in evaluation mode."""
        spec = spec or self.spec
        architecture = self.architecture(spec)
        torch.manual_seed(seed)
        return architecture.build(spec).model.eval()


def make_requests(
    name: str, text_encoder: str | None, settings: Mapping[str, Any], encoder_settings: Mapping[str, Any]
) -> list[SubjectRequest]:
    """What a name stands for: a model class, a text encoder, or both. `settings` are the model's where it is both.

    Raises:
        fusionzoo.errors.UnknownModelError: nothing installed has the name.
        fusionzoo.errors.SettingError: what is given is of no use to a text encoder.
    """
    model = SubjectRequest(MODELS_GROUP, name, text_encoder, settings, encoder_settings)
    if not _is_provided(TEXT_ENCODERS_GROUP, name):
        return [model]
    if _is_provided(MODELS_GROUP, name):
        return [model, SubjectRequest(TEXT_ENCODERS_GROUP, name, settings=encoder_settings)]
    if text_encoder is not None:
        problem = f"'{name}' is a text encoder itself"
        raise errors.SettingError("text_encoder", text_encoder, problem, "leave it out")
    return [SubjectRequest(TEXT_ENCODERS_GROUP, name, settings={**encoder_settings, **settings})]


def _is_provided(group: str, name: str) -> bool:
    try:
        Registry.discover(group).provider(name)
    except errors.UnknownModelError:
        return False
    return True


def _accepts(accepted: TypeAdapter[Any], value: str) -> bool:
    try:
        accepted.validate_python(value)
    except ValidationError:
        return False
    return True


def _settings(plugin: Plugin, changes: Mapping[str, Any]) -> ModelSettings:
    kind = plugin.settings_class
    small = kind.small()
    values = {name: getattr(small, name) for name in kind.model_fields}
    if all(name in values and values[name] == value for name, value in changes.items()):
        return small
    try:
        return kind.model_validate({**values, **changes})
    except ValidationError as refused:
        problems = [
            errors.invalid_plugin_setting(
                ".".join(str(place) for place in error["loc"]) or plugin.name,
                error["input"],
                error["msg"],
                kind.__name__,
            )
            for error in refused.errors(include_url=False)
        ]
        raise errors.HyperparametersError(problems) from refused
