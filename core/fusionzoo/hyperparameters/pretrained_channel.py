"""The channel `pretrained`: an encoder or tokenizer that ships with the job, so that it needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import is_folder
from fusionzoo.hyperparameters.decoding import decode_value
from fusionzoo.sagemaker.paths import Paths

PRETRAINED_CHANNEL = "pretrained"
SETTINGS_WITH_MODELS = ("encoder_name", "tokenizer")


def locate_pretrained_models(raw: Mapping[str, Any], paths: Paths) -> dict[str, Any]:
    """Return the hyperparameters with the channel's folder where a value is `pretrained` or `pretrained/FOLDER`.

    Raises:
        errors.HyperparametersError: the channel does not have the folder, or the folder is empty.
    """
    located, problems = dict(raw), []
    for name in SETTINGS_WITH_MODELS:
        value = decode_value(raw[name], {"type": "string"}) if name in raw else None
        if not isinstance(value, str):
            continue
        channel, _, subfolder = value.partition("/")
        if channel != PRETRAINED_CHANNEL or is_folder(value):
            continue
        folder = paths.channel(PRETRAINED_CHANNEL) / subfolder
        if is_folder(str(folder)) and any(folder.iterdir()):
            located[name] = str(folder)
        else:
            problems.append(errors.no_pretrained_channel(name, value, str(folder)))
    if problems:
        raise errors.HyperparametersError(problems)
    return located
