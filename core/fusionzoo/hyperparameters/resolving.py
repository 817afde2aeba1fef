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


def resolve_hyperparameters(
    parsed: Hyperparameters, resolve_model: Resolver, resolve_encoder: Resolver | None
) -> Hyperparameters:
    """Resolve the settings of the model and its text encoder, and check them together.

    May read local files or a model hub.

    Args:
        parsed: the settings as they are in hyperparameters.json.
        resolve_model: `Plugin.resolve` of the model.
        resolve_encoder: `Plugin.resolve` of the text encoder; None without one.

    Raises:
        errors.HyperparametersError: all values that cannot work in this job together.
    """
    problems: list[errors.Problem] = []
    model = _resolve(resolve_model, parsed.model, parsed.job, problems)
    encoder = None
    if parsed.encoder is not None and resolve_encoder is not None:
        encoder = _resolve(resolve_encoder, parsed.encoder, parsed.job, problems)
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
