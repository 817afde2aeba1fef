"""The subject of a check: an architecture or a text encoder with small settings, built as a job builds it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from fusionzoo import errors
from fusionzoo.architecture import Architecture, BuiltModel
from fusionzoo.conformance import reference_encoder
from fusionzoo.conformance.small_settings import make_small_settings
from fusionzoo.conformance.subject_request import SubjectRequest
from fusionzoo.conformance.synthetic_rows import (
    MAX_CHUNKS,
    MAX_TOKENS,
    SUBWORD_TOKENIZER,
    WORD_TOKENIZER,
    encode_rows,
    make_rows,
    make_spec,
)
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.hyperparameters.parsing import Hyperparameters
from fusionzoo.nn.fitted_module import list_fitted_modules
from fusionzoo.nn.schema import InputSpec
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Plugin, Registry
from fusionzoo.registry.entry_points import GROUP_KINDS
from fusionzoo.registry.plugin_settings import find_default_encoder
from fusionzoo.settings import JobSettings, ModelSettings
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.tasks.task_examples import TaskExample, make_examples, settings_for_outputs

EXAMPLE_ROWS, FIT_ROWS = 16, 48


class Subject:
    """A plugin with its settings, completed to a model that can be built.

    A fusion is combined with the reference text encoder, unless the request names an installed one. A text encoder is
    combined with core's text classifier.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be loaded, or the request names a text encoder that the plugin does
            not accept.
    """

    def __init__(self, request: SubjectRequest) -> None:
        self.request = request
        self._architectures: dict[InputSpec, Architecture] = {}
        self.trained_weights: dict[InputSpec, dict[str, Any]] = {}  # see `fusionzoo.conformance.forward`
        self.example: TaskExample | None = None
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
        name = self._choose_encoder()
        if name is None:
            suffix = ""
        elif name == reference_encoder.NAME:
            self.encoder, suffix = reference_encoder.make_text_encoder_plugin(), " with the reference text encoder"
        else:
            encoders = Registry.discover(TEXT_ENCODERS_GROUP)
            self.encoder = encoders.load(name, preferred=[self.provider.distribution])
            suffix = f" with text encoder '{name}'"
        self.title = self.plugin_title + suffix

    @property
    def module(self) -> str:
        """The module that the plugin's entry point names."""
        return self.provider.entry_point.module

    @property
    def has_classes(self) -> bool:
        """Whether the plugin supports classification, in which only differences of the logits of a row matter."""
        return "classification" in self.plugin.settings_class.tasks

    def _choose_encoder(self) -> str | None:
        """Return the name of the requested text encoder, of the one that the model fixes, or of the reference."""
        requested, field = self.request.text_encoder, self.plugin.settings_class.model_fields.get("text_encoder")
        if field is None:
            if requested is not None:
                problem = f"{self.plugin_title} has no text encoder to choose"
                raise errors.setting_not_checked("text_encoder", requested, problem)
            return None
        accepted = TypeAdapter[Any](field.annotation or str)
        if requested is not None:
            if not _accepts(accepted, requested):
                problem = f"{self.plugin_title} fixes its text encoder"
                raise errors.setting_not_checked("text_encoder", requested, problem)
            return requested
        if _accepts(accepted, reference_encoder.NAME):
            return reference_encoder.NAME
        return find_default_encoder(self.plugin.settings_class)

    @cached_property
    def settings(self) -> ModelSettings:
        """The model's `small()` settings, updated by the request.

        Raises:
            fusionzoo.errors.HyperparametersError: a value is invalid.
        """
        changes = {} if self.is_encoder else dict(self.request.settings)
        if self.encoder is not None:
            changes["text_encoder"] = self.encoder.name
        return _make_settings(self.model, changes)

    @cached_property
    def encoder_settings(self) -> ModelSettings | None:
        """The text encoder's `small()` settings, updated by the request.

        Raises:
            fusionzoo.errors.HyperparametersError: a value is invalid.
        """
        changes = self.request.settings if self.is_encoder else self.request.encoder_settings
        if self.encoder is not None:
            return _make_settings(self.encoder, changes)
        if changes:
            problem = f"{self.plugin_title} has no text encoder"
            raise errors.setting_not_checked(next(iter(changes)), next(iter(changes.values())), problem)
        return None

    @cached_property
    def spec(self) -> InputSpec:
        """The inputs that the model reads; core passes no others."""
        return make_spec(self.settings.reads, self._tokenizer)

    @cached_property
    def alternative_spec(self) -> InputSpec:
        """`spec` with word vectors if it has none, and without if it has; `spec` itself if the plugins reject it."""
        other = make_spec(
            self.settings.reads, SUBWORD_TOKENIZER if self._tokenizer == WORD_TOKENIZER else WORD_TOKENIZER
        )
        try:
            self.architecture(other)
        except errors.SettingError:
            return self.spec
        return other

    @property
    def _tokenizer(self) -> str:
        return WORD_TOKENIZER if self.encoder is None else self.encoder.settings_class.default_tokenizer

    def architecture(self, spec: InputSpec) -> Architecture:
        """Return the plugins with their settings, resolved once for a job with these inputs.

        Raises:
            fusionzoo.errors.SettingError: a plugin rejects the job.
        """
        if spec not in self._architectures:
            self._architectures[spec] = self._resolve(spec)
        return self._architectures[spec]

    def resolved_request(self) -> SubjectRequest:
        """Return the request with the resolved settings for `spec`, as a model folder stores them.

        Raises:
            fusionzoo.errors.SettingError: a plugin rejects the job.
        """
        settings = self.architecture(self.spec).hyperparameters
        encoder = None if settings.encoder is None else settings.encoder.model_dump(mode="json")
        return replace(self.request, resolved=(settings.model.model_dump(mode="json"), encoder))

    def _resolve(self, spec: InputSpec) -> Architecture:
        values = {
            "model_class": self.model.name,
            "id_name": "id",
            "label_name": "label",
            "text_name": None if spec.text is None else "text",
            "cat_field_list": [c.name for c in spec.categories],
            "tab_field_list": [n.name for n in spec.numbers],
            "tokenizer": self._tokenizer if spec.text is None else spec.text.tokenizer,
            "max_sen_len": MAX_TOKENS if spec.text is None else spec.text.max_tokens,
            "max_total_chunks": MAX_CHUNKS if spec.text is None else spec.text.max_chunks,
            **self._make_target_settings(spec),
        }
        job = JobSettings.model_validate(values)
        if self.request.resolved is not None:
            return self._restore(job, *self.request.resolved)
        try:
            settings, encoder = self.model.resolve(self.settings, job), None
            if self.encoder is not None and self.encoder_settings is not None:
                encoder = self.encoder.resolve(self.encoder_settings, job)
            return Architecture(self.model, self.encoder, Hyperparameters(job, settings, encoder))
        except errors.SettingError as fault:
            errors.add_note(
                fault,
                "The checks use the settings that `small()` returns. "
                "Fix: make `small()` return settings that need no files and no network.",
            )
            raise

    def _make_target_settings(self, spec: InputSpec) -> Mapping[str, Any]:
        """Return the settings of the job of the subject, or of any task that the plugin supports."""
        if self.example is not None:
            return self.example.settings
        task = next(task for task in TASKS if task in self.plugin.settings_class.tasks)
        return settings_for_outputs(task, spec.num_outputs)

    def _restore(
        self, job: JobSettings, model_values: Mapping[str, Any], encoder_values: Mapping[str, Any] | None
    ) -> Architecture:
        """Return the plugins with settings that are resolved already."""
        model = self.model.settings_class.model_validate(model_values)
        if self.encoder is None or encoder_values is None:
            return Architecture(self.model, self.encoder, Hyperparameters(job, model, None))
        encoder = self.encoder.settings_class.model_validate(encoder_values)
        return Architecture(self.model, self.encoder, Hyperparameters(job, model, encoder))

    def build(self, spec: InputSpec | None = None, seed: int = 0) -> nn.Module:
        """Return the model with initial weights from the seed, in evaluation mode."""
        return self.build_parts(spec, seed).model

    def build_parts(self, spec: InputSpec | None = None, seed: int = 0) -> BuiltModel:
        """Return the model as `build` does, and the text encoder inside it."""
        spec = spec or self.spec
        built = self.build_unfitted(spec, seed)
        train = self.make_train(spec)
        with torch.no_grad():
            for module in list_fitted_modules(built.model).values():
                module.fit(train)  # `check_fitted_modules` checks the result
        return built

    def build_unfitted(self, spec: InputSpec | None = None, seed: int = 0) -> BuiltModel:
        """Return the model before its fitted modules have seen rows, in evaluation mode."""
        spec = spec or self.spec
        architecture = self.architecture(spec)
        torch.manual_seed(seed)
        built = architecture.build(spec)
        built.model.eval()
        return built

    def make_train(self, spec: InputSpec) -> EncodedSplit:
        """Return the training split for fitted modules: not the rows with which the model is checked."""
        if self.example is None:
            return encode_rows(spec, make_rows(spec, max(FIT_ROWS, 3 * spec.num_outputs), seed=10))
        labels = self.example.task.target.standardize(self.example.labels)
        return replace(encode_rows(spec, make_rows(spec, EXAMPLE_ROWS, seed=10)), labels=labels)

    @property
    def job_title(self) -> str:
        """The kind of job in which the subject is checked; empty if the kind does not matter."""
        return "" if self.example is None else self.example.title

    def in_jobs_of_each_task(self) -> Iterator[Subject]:
        """Yield this subject in a job of each kind of each task that the plugin supports."""
        for task in TASKS:
            if task in self.plugin.settings_class.tasks:
                for example in make_examples(task, EXAMPLE_ROWS):
                    other = self._copy()
                    other.example = example
                    other.title = f"{self.title} in a {example.title}"
                    yield other

    def _copy(self) -> Subject:
        """Return a copy without what depends on the model or the job."""
        other = copy(self)
        other._architectures, other.trained_weights = {}, {}
        return other

    def with_settings(self, changes: Mapping[str, Any]) -> Subject:
        """Return this plugin with other values of its settings.

        Raises:
            fusionzoo.errors.HyperparametersError: the settings class rejects a value.
        """
        other = self._copy()
        other.request = replace(self.request, settings={**self.request.settings, **changes})
        vars(other).pop("settings", None)
        vars(other).pop("encoder_settings", None)
        _ = other.settings, other.encoder_settings
        return other

    def with_token_classifier(self) -> Subject:
        """Return this text encoder in a model that reads only its tokens."""
        other = self._copy()
        other.model = reference_encoder.make_token_classifier_plugin()
        other.title = f"{self.plugin_title} in a model that reads its tokens"
        return other


def _accepts(accepted: TypeAdapter[Any], value: str) -> bool:
    try:
        accepted.validate_python(value)
    except ValidationError:
        return False
    return True


def _make_settings(plugin: Plugin, changes: Mapping[str, Any]) -> ModelSettings:
    settings_class = plugin.settings_class
    small = make_small_settings(plugin)
    values = {name: getattr(small, name) for name in settings_class.model_fields}
    if all(name in values and values[name] == value for name, value in changes.items()):
        return small
    try:
        return settings_class.model_validate({**values, **changes})
    except ValidationError as error:
        problems = [
            errors.invalid_plugin_setting(
                ".".join(str(part) for part in problem["loc"]) or plugin.name,
                problem["input"],
                problem["msg"],
                settings_class.__name__,
            )
            for problem in error.errors(include_url=False)
        ]
        raise errors.HyperparametersError(problems) from error
