"""The files that settings name: the trained model of `init_from`, and none in a folder that the job replaces."""

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


def check_sources_are_not_outputs(paths: Paths) -> None:
    """Check that no setting names a file of the model folder, or of the earlier run: the job moves and replaces them.

    Raises:
        errors.PathError: a setting does, such as `init_from` or `tokenizer`; or `init_from` is a URL.
    """
    for name, value in _read_settings(paths).items():
        place = _locate(name, unquote(value), paths)
        for folder in (paths.model, paths.earlier_run):
            if place and Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
                raise errors.PathError.in_output(name, place)


def _locate(name: str, value: object, paths: Paths) -> Path | None:
    """Return the file or folder that a setting names; None without one. A single name may be that of a column."""
    if not isinstance(value, str):
        return None
    if name == "init_from":
        return locate_source(value, paths)
    if os.sep not in value:
        return None
    try:
        place = to_local_path(name, value)
    except errors.PathError:  # the job reports it if the setting is a path
        return None
    return place if place.exists() else None


def _read_settings(paths: Paths) -> dict[str, Any]:
    """Return the settings as the job reads them; none if a file of settings is damaged, which the job reports."""
    try:
        given = {**_read(paths.channel_hyperparameters), **_read(paths.hyperparameters)}
        return given or _read(paths.code_hyperparameters)
    except errors.ContainerError:
        return {}


def _read(file: Path) -> dict[str, Any]:
    return read_json_object(file) or {}
