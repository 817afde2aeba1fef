"""Resolve plugins' settings for a job: once per process, before any data is read."""

from __future__ import annotations

from dataclasses import replace

from fusionzoo import errors
from fusionzoo.hyperparameters.consistency import find_name_clashes
from fusionzoo.hyperparameters.parsing import Hyperparameters
from fusionzoo.settings import JobSettings, ModelSettings


def resolve_hyperparameters(parsed: Hyperparameters) -> Hyperparameters:
    """Call `ModelSettings.resolve` of the model and its text encoder, and check what they return.

    May read local files or a model hub.

    Raises:
        errors.HyperparametersError: all values that cannot work in this job together.
    """
    problems: list[errors.Problem] = []
    model = _resolve(parsed.model, parsed.job, problems)
    encoder = None if parsed.encoder is None else _resolve(parsed.encoder, parsed.job, problems)
    resolved = replace(parsed, model=model, encoder=encoder)
    layer_decay, is_pretrained = parsed.job.layer_decay, encoder is not None and encoder.pretrained
    if layer_decay is not None and not is_pretrained and not problems:
        problems.append(errors.layer_decay_without_encoder(layer_decay).problem)
    problems += find_name_clashes(resolved.parts)
    if problems:
        raise errors.HyperparametersError(problems)
    return resolved


def _resolve(settings: ModelSettings, job: JobSettings, problems: list[errors.Problem]) -> ModelSettings:
    try:
        return settings.resolve(job)
    except errors.SettingError as error:
        problems.append(error.problem)
        return settings
