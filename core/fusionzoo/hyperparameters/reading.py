"""Read hyperparameters.json from the places where SageMaker, a channel or the code puts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.hyperparameters.decoding import is_finite
from fusionzoo.sagemaker.config_files import read_text_file
from fusionzoo.sagemaker.paths import Paths

SAGEMAKER_PREFIX = "sagemaker_"  # settings of SageMaker itself, which it writes into the same file
TUNING_METRIC = "_tuning_objective_metric"


def read_hyperparameters(paths: Paths) -> dict[str, Any]:
    """Return the flat settings as they are written, not decoded.

    Keys of the main file override those of a channel named `config`. The file that ships with the code is used only
    if both are empty.

    Raises:
        errors.HyperparametersError: no file contains a setting, or a file is not a JSON object of plain values.
    """
    settings = {**_read_file(paths.channel_hyperparameters), **_read_file(paths.hyperparameters)}
    settings = settings or _read_file(paths.code_hyperparameters)
    if not settings:
        places = [paths.hyperparameters, paths.channel_hyperparameters, paths.code_hyperparameters]
        raise errors.HyperparametersError([errors.missing_hyperparameters(places)])
    return settings


def _read_file(path: Path) -> dict[str, Any]:
    """Return the settings in one file without SageMaker's own; empty if there is no such file."""
    problems: list[errors.Problem] = []

    def collect_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        duplicates = sorted({key for key in keys if keys.count(key) > 1})
        problems.extend(errors.duplicate_setting(path, key) for key in duplicates)
        return dict(pairs)

    try:
        content = json.loads(read_text_file(path), object_pairs_hook=collect_duplicates)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except json.JSONDecodeError as cause:
        place = f" line {cause.lineno} column {cause.colno}"
        raise errors.HyperparametersError([errors.invalid_json(path, place, cause.msg)]) from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise errors.HyperparametersError([errors.unreadable_hyperparameters(path, cause)]) from cause
    except (ValueError, RecursionError) as cause:  # a number with thousands of digits, or deeply nested lists
        raise errors.HyperparametersError([errors.invalid_json(path, "", str(cause))]) from cause
    if not isinstance(content, dict):
        raise errors.HyperparametersError([errors.hyperparameters_not_an_object(path, content)])
    problems += [errors.nonfinite_setting(key, value, path) for key, value in content.items() if not is_finite(value)]
    if problems:
        raise errors.HyperparametersError(problems)
    return {k: v for k, v in content.items() if not k.startswith(SAGEMAKER_PREFIX) and k != TUNING_METRIC}
