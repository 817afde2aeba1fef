"""Choose an architecture: the plugins and settings that hyperparameters name, and the module that they build.

Training and loading a model folder share it. `choose_architecture` reads top to bottom: names, plugins, settings.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.errors import target_errors
from fusionzoo.hyperparameters import (
    Hyperparameters,
    PluginSettings,
    find_core_problems,
    parse_hyperparameters,
    parse_model_class,
    parse_task,
    parse_text_encoder,
    resolve_hyperparameters,
)
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Plugin, Registry, task_support
from fusionzoo.registry.entry_points import GROUP_KINDS
from fusionzoo.settings import JobSettings, ModelSettings
from fusionzoo.tasks.plugin_metrics import RegisteredMetric, join_metrics
from fusionzoo.tasks.task_choice import choose_metrics

if TYPE_CHECKING:
    from torch import nn

    from fusionzoo.nn.schema import InputSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltModel:
    """A module, the text encoder inside it if core passed one in, and what `add_adapters` added to the encoder."""

    model: nn.Module
    text_encoder: nn.Module | None
    adapters: tuple[nn.Parameter, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Architecture:
    """The chosen plugins and the settings of the job."""

    model: Plugin
    encoder: Plugin | None
    hyperparameters: Hyperparameters

    @property
    def job(self) -> JobSettings:
        """Core's settings."""
        return self.hyperparameters.job

    @property
    def data_settings(self) -> DataSettings:
        """The data settings without the columns of a modality that the model does not read."""
        data = DataSettings(**self.job.model_dump(include=set(DataSettings.model_fields)))
        not_read: dict[str, Any] = {}
        if "table" not in self.hyperparameters.model.reads:
            not_read |= {"cat_field_list": [], "tab_field_list": []}
        if "text" not in self.hyperparameters.model.reads:
            not_read |= {"text_name": None}
        return data.model_copy(update=not_read)

    @property
    def encoder_is_pretrained(self) -> bool:
        """Whether the text encoder starts from pretrained weights."""
        return self.hyperparameters.encoder is not None and self.hyperparameters.encoder.pretrained

    @property
    def uses_word_vectors(self) -> bool:
        """Whether the text encoder, or a model without one, starts from word vectors of tokenizer `word`."""
        return self.hyperparameters.encoder is None or self.hyperparameters.encoder.uses_word_vectors

    @property
    def min_steps(self) -> int:
        """The optimizer steps that the new weights of the model and the text encoder need on small data."""
        parts = (self.hyperparameters.model, self.hyperparameters.encoder)
        return max(part.min_steps for part in parts if part is not None)

    def build(self, spec: InputSpec, pretrained: bool = False) -> BuiltModel:
        """Build the module with fresh weights, which depend on torch's seed.

        Args:
            spec: the inputs, which size every layer.
            pretrained: load pretrained weights into the text encoder, if its plugin has them.
        """
        text_encoder = None
        if self.encoder is not None:
            settings = self._encoder_settings
            text_encoder = self.encoder.build_text_encoder(spec, settings)
            if pretrained:
                self._load_pretrained(self.encoder, text_encoder)
        return BuiltModel(self.model.build_model(spec, self.hyperparameters.model, text_encoder), text_encoder)

    def load_pretrained(self, built: BuiltModel) -> None:
        """Load pretrained weights into the text encoder of a built model, if its plugin has them."""
        if self.encoder is not None and built.text_encoder is not None:
            self._load_pretrained(self.encoder, built.text_encoder)

    def _load_pretrained(self, plugin: Plugin, text_encoder: nn.Module) -> None:
        settings = self._encoder_settings
        name, is_loaded = type(settings).__name__, plugin.load_pretrained(text_encoder, settings)
        if settings.pretrained and not is_loaded:
            raise errors.PluginContractError.pretrained_but_not_loaded(plugin.claim, name)
        if is_loaded and not settings.pretrained:
            raise errors.PluginContractError.loaded_but_not_pretrained(plugin.claim, name)
        if is_loaded:
            log.info("Loaded pretrained weights into text encoder '%s'", plugin.name)

    def add_adapters(self, built: BuiltModel) -> BuiltModel:
        """Add the adapters that the settings of the text encoder ask for, such as LoRA, in place.

        They are trained instead of the weights of the text encoder, which must have their first values.
        """
        if self.encoder is None or built.text_encoder is None:
            return built
        own = {id(parameter) for parameter in built.text_encoder.parameters()}
        self.encoder.add_adapters(built.text_encoder, self._encoder_settings)
        return replace(built, adapters=tuple(p for p in built.text_encoder.parameters() if id(p) not in own))

    def merge_adapters(self, built: BuiltModel) -> BuiltModel:
        """Merge the adapters of a model into its weights, in place, so that it has the tensors of a newly built one."""
        if self.encoder is not None and built.text_encoder is not None and built.adapters:
            self.encoder.merge_adapters(built.text_encoder, self._encoder_settings)
        return replace(built, adapters=())

    def tunes_encoder(self, built: BuiltModel) -> bool:
        """Return whether the text encoder is pretrained, and its weights or adapters are trained."""
        if not self.encoder_is_pretrained or built.text_encoder is None:
            return False
        return any(parameter.requires_grad for parameter in built.text_encoder.parameters())

    def describe_encoder(self, spec: InputSpec) -> dict[str, Any]:
        """Return what decides the text encoder's computation, as plain JSON values; its weights are not included.

        Raises:
            ValueError: the architecture has no text encoder, or the job has no text.
        """
        if self.encoder is None or spec.text is None:
            raise ValueError("the architecture has no text encoder")
        return {
            "name": self.encoder.name,
            "distribution": [self.encoder.distribution, self.encoder.version],
            "settings": self._encoder_settings.model_dump(mode="json"),
            "text": {field.name: getattr(spec.text, field.name) for field in fields(spec.text) if field.compare},
        }

    @property
    def metrics(self) -> tuple[RegisteredMetric, ...]:
        """The metrics that the plugins add to those of the task.

        Raises:
            fusionzoo.errors.PluginMetricError: two different metrics have the same name.
        """
        plugins = (self.model, *(() if self.encoder is None else (self.encoder,)))
        return join_metrics((metric for plugin in plugins for metric in plugin.metrics), self.job.task)

    @property
    def metric_directions(self) -> dict[str, bool]:
        """Whether greater is better, for each metric of the job by name."""
        return {**choose_metrics(self.job), **{one.name: one.metric.greater_is_better for one in self.metrics}}

    def versions(self) -> dict[str, str]:
        """Return the version of each plugin's distribution."""
        return {plugin.distribution: plugin.version for plugin in self.plugins}

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The model and, if it has one, its text encoder."""
        return (self.model,) if self.encoder is None else (self.model, self.encoder)

    @property
    def _encoder_settings(self) -> ModelSettings:
        if self.hyperparameters.encoder is None:
            raise ValueError("an architecture with a text encoder has its settings")
        return self.hyperparameters.encoder


def choose_architecture(raw: Mapping[str, Any]) -> Architecture:
    """Return the architecture that flat hyperparameters name, with its settings resolved for this job.

    Call it once per job and process: resolving may read a model hub. The caller logs `hyperparameters.warnings`.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be used, or settings are wrong; all wrong settings together.
    """
    architecture = restore_architecture(raw)
    resolve_encoder = None if architecture.encoder is None else architecture.encoder.resolve
    resolved = resolve_hyperparameters(architecture.hyperparameters, architecture.model.resolve, resolve_encoder)
    return replace(architecture, hyperparameters=resolved)


def restore_architecture(raw: Mapping[str, Any], preferred: Sequence[str] = ()) -> Architecture:
    """Return the architecture that flat hyperparameters name, with its settings as they are.

    A model folder contains settings that are resolved already.

    Args:
        raw: the hyperparameters.
        preferred: the distributions that are meant if several provide a name: those that wrote the model.

    Raises:
        fusionzoo.errors.ZooError: a plugin cannot be used, or settings are wrong; all wrong settings together.
    """
    model_class = parse_model_class(raw)
    if model_class is None:
        raise errors.HyperparametersError(find_core_problems(raw))
    model = Registry.discover(MODELS_GROUP).load(model_class, preferred)
    _check_task(raw, MODELS_GROUP, model)
    model_settings = _describe_settings(model_class, model)
    text_encoder = parse_text_encoder(raw, model_settings)
    if text_encoder is None:
        return Architecture(model, None, parse_hyperparameters(raw, model_settings))
    encoder = Registry.discover(TEXT_ENCODERS_GROUP).load(text_encoder, [model.distribution, *preferred])
    _check_task(raw, TEXT_ENCODERS_GROUP, encoder)
    encoder_settings = _describe_settings(text_encoder, encoder)
    return Architecture(model, encoder, parse_hyperparameters(raw, model_settings, encoder_settings))


def _check_task(raw: Mapping[str, Any], group: str, plugin: Plugin) -> None:
    """Check that a plugin supports the task of the job.

    Raises:
        errors.HyperparametersError: it does not; names the installed plugins that do.
    """
    task, supported = parse_task(raw), plugin.settings_class.tasks
    if task is None or task in supported:
        return
    alternatives = task_support.list_supporting_names(group, task)
    problem = target_errors.task_of_other_plugins(
        task, GROUP_KINDS[group], plugin.name, sorted(supported), alternatives
    )
    raise errors.HyperparametersError([problem])


def _describe_settings(name: str, plugin: Plugin) -> PluginSettings:
    return PluginSettings(name, plugin.settings_class, tuple(one.metric for one in plugin.metrics))
