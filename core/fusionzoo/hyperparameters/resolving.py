"""Resolve plugins' settings for a job: once per process, before any data is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fusionzoo import errors
from fusionzoo.hyperparameters.consistency import find_name_clashes
from fusionzoo.hyperparameters.parsing import Hyperparameters
from fusionzoo.settings import JobSettings, ModelSettings

Resolver = Callable[[ModelSettings, JobSettings], ModelSettings]
"""Returns the settings of one plugin resolved for a job."""


def call_resolve(settings: ModelSettings, job: JobSettings) -> ModelSettings:
    """Return what `resolve` of the settings returns, unchecked."""
    return settings.resolve(job)


def resolve_hyperparameters(
    parsed: Hyperparameters, resolve_model: Resolver = call_resolve, resolve_encoder: Resolver = call_resolve
) -> Hyperparameters:
    """Resolve the settings of the model and its text encoder, and check them together.

    May read local files or a model hub.

    Args:
        parsed: the settings as they are in hyperparameters.json.
        resolve_model: resolves the settings of the model; of an installed plugin, `Plugin.resolve`.
        resolve_encoder: resolves the settings of the text encoder.

    Raises:
        errors.HyperparametersError: all values that cannot work in this job together.
    """
    problems: list[errors.Problem] = []
    model = _resolve(resolve_model, parsed.model, parsed.job, problems)
    encoder = None if parsed.encoder is None else _resolve(resolve_encoder, parsed.encoder, parsed.job, problems)
    resolved = replace(parsed, model=model, encoder=encoder)
    layer_decay, is_pretrained = parsed.job.layer_decay, encoder is not None and encoder.pretrained
    if layer_decay is not None and not is_pretrained and not problems:
        problems.append(errors.layer_decay_without_encoder(layer_decay).problem)
    problems += find_name_clashes(resolved.parts)
    if problems:
        raise errors.HyperparametersError(problems)
    return resolved


def _resolve(
    resolve: Resolver, settings: ModelSettings, job: JobSettings, problems: list[errors.Problem]
) -> ModelSettings:
    try:
        return resolve(settings, job)
    except errors.SettingError as error:
        problems.append(error.problem)
        return settings
