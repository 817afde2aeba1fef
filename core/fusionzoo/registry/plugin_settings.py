"""The settings of a plugin: the class is checked when the plugin is loaded, and what `resolve` returns once per job."""

from __future__ import annotations

from typing import get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fusionzoo import errors
from fusionzoo.hyperparameters.settings_draft import SettingsDraft
from fusionzoo.settings import ALL_TASKS, JobSettings, Modality, ModelSettings

MODALITIES: tuple[Modality, ...] = get_args(Modality)


def check_settings_class(claim: errors.Claim, value: object) -> type[ModelSettings]:
    """Return the value if it is a settings class that every job with the plugin can use.

    Raises:
        errors.BrokenPluginError: it is not a subclass of `ModelSettings`, uses names of core's settings, has an unknown
            task or modality, cannot be described as JSON, has aliases or computed fields, or a default that it rejects
            itself.
    """
    if not (isinstance(value, type) and issubclass(value, ModelSettings)):
        raise errors.BrokenPluginError.not_settings(claim, value)
    fields = value.model_fields
    if collisions := [name for name in JobSettings.model_fields if name in fields]:
        raise errors.BrokenPluginError.settings_collide(claim, collisions)
    tasks: object = value.tasks
    if not isinstance(tasks, set | frozenset) or not tasks or not tasks <= ALL_TASKS:
        raise errors.BrokenPluginError.wrong_tasks(claim, tasks, sorted(ALL_TASKS))
    for name in ("needs", "reads"):
        modalities: object = getattr(value, name)
        if not isinstance(modalities, set | frozenset) or not modalities <= set(MODALITIES):
            raise errors.BrokenPluginError.no_modalities(claim, name, modalities)
    if aliased := [name for name, field in fields.items() if _has_alias(field)]:
        raise errors.PluginContractError.aliased_fields(claim, value.__name__, aliased)
    if computed := list(value.model_computed_fields):
        raise errors.PluginContractError.computed_fields(claim, value.__name__, computed)
    _check_defaults(claim, value)
    return value


def _has_alias(field: FieldInfo) -> bool:
    return any((field.alias, field.validation_alias, field.serialization_alias))


def find_default_encoder(settings_class: type[ModelSettings]) -> str | None:
    """Return the text encoder of the default settings, or the first one that they allow; None: there is none."""
    field = settings_class.model_fields.get("text_encoder")
    if field is None:
        return None
    default = field.get_default(call_default_factory=True)
    return next(iter(get_args(field.annotation)), None) if default in (None, PydanticUndefined) else str(default)


def resolve_settings(claim: errors.Claim, settings: ModelSettings, job: JobSettings) -> ModelSettings:
    """Return what `resolve` of the settings returns for this job, if a model folder with it can be read.

    Raises:
        errors.ZooError: `resolve` refuses the job, with an error of its own.
        errors.PluginContractError: it raised another exception, or returned something other than valid settings.
    """
    name = type(settings).__name__
    try:
        resolved: object = settings.resolve(job)
    except errors.ZooError:
        raise
    except (Exception, SystemExit) as cause:
        raise errors.PluginContractError.resolve_raised(claim, name, cause) from cause
    if not isinstance(resolved, ModelSettings) or type(resolved) is not type(settings):
        raise errors.PluginContractError.resolve_returned(claim, name, resolved)
    draft = SettingsDraft(name, type(settings))
    try:
        _read_back(draft, resolved)
    except Exception as cause:
        raise errors.PluginContractError.resolved_invalid(claim, name, [errors.describe_exception(cause)]) from cause
    if draft.problems:
        raise errors.PluginContractError.resolved_invalid(claim, name, _describe(draft.problems))
    written, read = resolved.model_dump(mode="json"), draft.settings.model_dump(mode="json")
    if changes := [f"{key} from {written[key]} to {read[key]}" for key in written if written[key] != read[key]]:
        raise errors.PluginContractError.changed_by_reading(claim, name, changes)
    return resolved


def _check_defaults(claim: errors.Claim, settings_class: type[ModelSettings]) -> None:
    """Check the default of each setting alone. pydantic does not, and the model folder could not be read.

    Whether the defaults fit together is not checked: a user who must choose a value gets the message of the validator.
    """
    name = settings_class.__name__
    try:
        draft = SettingsDraft(name, settings_class)
    except Exception as cause:
        raise errors.BrokenPluginError.no_schema(claim, cause) from cause
    try:
        _read_back(draft, settings_class.model_construct())
    except Exception as cause:
        raise errors.PluginContractError.invalid_defaults(claim, name, [errors.describe_exception(cause)]) from cause
    optional = [field for field, info in settings_class.model_fields.items() if not info.is_required()]
    if problems := [problem for field in optional for problem in draft.problems_of(field)]:
        raise errors.PluginContractError.invalid_defaults(claim, name, _describe(problems))


def _read_back(draft: SettingsDraft[ModelSettings], settings: ModelSettings) -> None:
    """Write settings as a model folder has them, and read them as the folder is read."""
    draft.fill(settings.model_dump(mode="json", warnings=False))


def _describe(problems: list[errors.Problem]) -> list[str]:
    return [f"{problem.where}: {problem.message}" for problem in problems]
