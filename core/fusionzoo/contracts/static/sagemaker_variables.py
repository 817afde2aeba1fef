"""The environment variables that SageMaker sets in a training container with its toolkit, with their values."""

from __future__ import annotations

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


def known_value(name: str) -> str | None:
    """Return the path that SageMaker gives to a variable; None if it sets another value or nothing."""
    if name in FOLDERS:
        return f"{SAGEMAKER_ROOT}/{FOLDERS[name]}"
    if name.startswith(CHANNEL_PREFIX) and len(name) > len(CHANNEL_PREFIX):
        return f"{CHANNELS_FOLDER}/{name.removeprefix(CHANNEL_PREFIX).lower()}"
    return None
