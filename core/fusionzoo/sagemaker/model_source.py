"""The place of the trained model from which a training starts, as the setting `init_from` names it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.local_paths import to_local_path
from fusionzoo.sagemaker.config_files import read_json_object, unquote
from fusionzoo.sagemaker.paths import Paths

MODEL_CHANNEL = "model"


def locate_source(value: str, paths: Paths) -> Path:
    """Return the folder or file that a value of `init_from` names; `model` is the channel of this name.

    Raises:
        errors.PathError: the value is a URL.
    """
    place, (channel, _, subfolder) = to_local_path("init_from", value), value.partition("/")
    if channel == MODEL_CHANNEL and not place.exists():
        return paths.channel(MODEL_CHANNEL) / subfolder
    return place


def check_source_is_not_output(paths: Paths) -> None:
    """Check that the job does not start from the model of its earlier run, which it moves and then deletes.

    Raises:
        errors.InitFromError: `init_from` is the model folder of this job, in it, or in the folder of the earlier run.
        errors.PathError: `init_from` is a URL.
    """
    value = _read_init_from(paths)
    if value is None:
        return
    place = locate_source(value, paths)
    for folder in (paths.model, paths.earlier_run):
        if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
            raise errors.InitFromError.own_folder(place)


def _read_init_from(paths: Paths) -> str | None:
    """Return the setting as the job reads it; None if a file of settings is damaged, which the job reports."""
    try:
        given = {**_read(paths.channel_hyperparameters), **_read(paths.hyperparameters)}
        given = given or _read(paths.code_hyperparameters)
    except errors.ContainerError:
        return None
    value = unquote(given.get("init_from"))
    return value if isinstance(value, str) else None


def _read(file: Path) -> dict[str, Any]:
    return read_json_object(file) or {}
