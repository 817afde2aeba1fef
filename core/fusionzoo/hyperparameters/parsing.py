"""Parse flat hyperparameters into the settings of core, the model and its text encoder.

The order is: `parse_model_class`, load that plugin, `parse_text_encoder`, load that plugin, `parse_hyperparameters`
with both settings classes. `fusionzoo.architecture.choose_architecture` does so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from fusionzoo import errors
from fusionzoo.hookspecs import PluginMetric
from fusionzoo.hyperparameters.consistency import (
    canonical_metric,
    check_job_settings,
    check_modalities,
    find_differing_names,
    find_unused_columns,
    list_metrics,
)
from fusionzoo.hyperparameters.decoding import parse_literal
from fusionzoo.hyperparameters.legacy import translate_legacy, translate_model_class
from fusionzoo.hyperparameters.legacy_names import format_renamed
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.settings import JobSettings, ModelSettings
from fusionzoo.tasks.task_choice import TASKS

CORE, MODEL = "core", "model_class"


@dataclass(frozen=True)
class PluginSettings:
    """The name of a plugin, as the hyperparameters give it, its settings class, and the metrics that it adds."""

    name: str
    settings_class: type[ModelSettings]
    metrics: tuple[PluginMetric, ...] = ()


@dataclass(frozen=True)
class Hyperparameters:
    """All settings of a job: valid alone and together."""

    job: JobSettings
    model: ModelSettings
    encoder: ModelSettings | None
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[JobSettings | ModelSettings, ...]:
        """The settings objects that share one file."""
        return (self.job, self.model) if self.encoder is None else (self.job, self.model, self.encoder)

    def as_flat_dict(self) -> dict[str, Any]:
        """Return every effective setting as plain JSON values; `parse_hyperparameters` restores the same settings.

        A name that two classes declare with different defaults is left out if both have their default.
        """
        flat = {key: value for part in self.parts for key, value in part.model_dump(mode="json").items()}
        return {key: value for key, value in flat.items() if key not in find_differing_names(self.parts)}


def parse_model_class(raw: Mapping[str, Any]) -> str | None:
    """Return the name of the model under today's name; None if it is not given or is not a name."""
    name = SettingsDraft(CORE, JobSettings).decode(raw, "model_class")
    return translate_model_class(name) if isinstance(name, str) and name else None


def parse_task(raw: Mapping[str, Any]) -> str | None:
    """Return the task of the job, the default if none is given; None if the value is invalid."""
    core = SettingsDraft(CORE, JobSettings)
    core.fill({key: value for key, value in raw.items() if key == "task"})
    task: str | None = core.get("task")
    return task


def parse_text_encoder(raw: Mapping[str, Any], model: PluginSettings) -> str | None:
    """Return the name of the text encoder: the default if the given one is invalid; None for a model without one."""
    if "text_encoder" not in model.settings_class.model_fields:
        return None
    draft = SettingsDraft(model.name, model.settings_class)
    draft.fill({key: value for key, value in raw.items() if key == "text_encoder"})
    value = draft.get("text_encoder")
    name = draft.default("text_encoder") if value is None else value
    return name if isinstance(name, str) else None


def parse_hyperparameters(
    raw: Mapping[str, Any], model: PluginSettings, encoder: PluginSettings | None = None
) -> Hyperparameters:
    """Translate old names, decode each value by its declared type, and check settings alone and together.

    Args:
        raw: values in either of SageMaker's encodings, or native JSON.
        model: the plugin that `parse_model_class` names.
        encoder: the plugin that `parse_text_encoder` names, if it names one.

    Raises:
        errors.HyperparametersError: all problems of the file together.
    """
    core, model_draft = SettingsDraft(CORE, JobSettings), SettingsDraft(model.name, model.settings_class)
    encoder_draft = None if encoder is None else SettingsDraft(encoder.name, encoder.settings_class)
    metrics = (*model.metrics, *(() if encoder is None else encoder.metrics))
    plugins = [model_draft] if encoder_draft is None else [model_draft, encoder_draft]
    declared = {name for draft in plugins for name in draft.settings_class.model_fields}
    written_name = core.decode(raw, "model_class")
    translation = translate_legacy(raw, declared)
    settings = {**translation.settings, "model_class": model.name}
    problems = list(translation.problems)
    if encoder is not None or not _requires_text_encoder(model):  # otherwise an unknown name may be the encoder's
        problems += _find_unknown_settings(settings, declared | JobSettings.model_fields.keys())
    for draft in plugins:
        draft.fill(settings)
    if encoder_draft is not None and not encoder_draft.problems and core.decode(settings, "tokenizer") is None:
        settings["tokenizer"] = encoder_draft.settings.choose_tokenizer()
    core.fill(settings)
    drafts: list[SettingsDraft[Any]] = [core, *plugins]
    problems += [problem for draft in drafts for problem in draft.problems]
    problems += [*check_job_settings(core, metrics), *check_modalities(core, model_draft)]
    if problems:
        raise errors.HyperparametersError(list(dict.fromkeys(problems)))
    warnings = list(translation.warnings)
    if written_name not in (None, model.name):
        warnings.insert(0, format_renamed("model_class", written_name, "model_class", model.name))
    if unused := find_unused_columns(core, model_draft):
        warnings.append(f"{model.name} does not read these columns of the settings: {', '.join(unused)}.")
    encoder_settings = None if encoder_draft is None else encoder_draft.settings
    return Hyperparameters(_complete(core.settings, metrics), model_draft.settings, encoder_settings, tuple(warnings))


def find_core_problems(raw: Mapping[str, Any]) -> list[errors.Problem]:
    """Return the problems of core's settings if `model_class` is invalid, so that no plugin can be loaded."""
    objects = [
        key for key, value in raw.items() if isinstance(decoded := parse_literal(value), dict) and MODEL in decoded
    ]
    if objects:
        return [errors.settings_in_object(key) for key in objects]
    core = SettingsDraft(CORE, JobSettings)
    translation = translate_legacy(raw, declared=())
    core.fill(translation.settings)
    return list(dict.fromkeys([*translation.problems, *core.problems, *check_job_settings(core)]))


def _find_unknown_settings(settings: Mapping[str, Any], known: Set[str]) -> list[errors.Problem]:
    absent = known - settings.keys()
    return [
        errors.unknown_setting(key, parse_literal(value), known, absent)
        for key, value in settings.items()
        if key not in known
    ]


def _complete(job: JobSettings, metrics: Sequence[PluginMetric]) -> JobSettings:
    """Return the settings with the canonical name of `early_stop_metric`, and the loss of the task if none is given."""
    metric = canonical_metric(job.early_stop_metric, list_metrics(job.task, metrics))
    return job.model_copy(update={"early_stop_metric": metric, "loss": job.loss or TASKS[job.task].losses[0]})


def _requires_text_encoder(model: PluginSettings) -> bool:
    field = model.settings_class.model_fields.get("text_encoder")
    return field is not None and field.is_required()
