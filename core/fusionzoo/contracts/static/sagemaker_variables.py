"""The environment variables that SageMaker sets in a training container with its toolkit, with their values."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fusionzoo.contracts.job_kinds import CHANNELS_FOLDER, SAGEMAKER_ROOT

CHANNEL_PREFIX = "SM_CHANNEL_"
FOLDERS = {
    "SM_MODEL_DIR": "model",
    "SM_INPUT_DIR": "input",
    "SM_INPUT_CONFIG_DIR": "input/config",
    "SM_OUTPUT_DIR": "output",
    "SM_OUTPUT_DATA_DIR": "output/data",
    "SM_OUTPUT_INTERMEDIATE_DIR": "output/intermediate",
}


ENVIRONMENT_FOLDERS = {name.removeprefix("SM_").lower(): folder for name, folder in FOLDERS.items()}


def describe_environment(channels: Sequence[str]) -> dict[str, object]:
    """Return what the toolkit's `Environment()` and `SM_TRAINING_ENV` say about the paths of a job with channels."""
    folders = {name: f"{SAGEMAKER_ROOT}/{folder}" for name, folder in ENVIRONMENT_FOLDERS.items()}
    return {**folders, "channel_input_dirs": {channel: f"{CHANNELS_FOLDER}/{channel}" for channel in channels}}


def known_value(name: str, channels: Sequence[str] = ()) -> str | None:
    """Return the value that SageMaker gives to a variable of a job with channels; None if it is not known."""
    if name in FOLDERS:
        return f"{SAGEMAKER_ROOT}/{FOLDERS[name]}"
    if name == "SM_CHANNELS" and channels:
        return json.dumps(list(channels))
    if name == "SM_TRAINING_ENV" and channels:
        return json.dumps(describe_environment(channels))
    if name.startswith(CHANNEL_PREFIX) and len(name) > len(CHANNEL_PREFIX):
        return f"{CHANNELS_FOLDER}/{name.removeprefix(CHANNEL_PREFIX).lower()}"
    return None
