"""The pooling that a pretrained sentence encoder was trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from fusionzoo.data.text.pretrained_files import PretrainedSource, download_file, find_repository, is_folder
from fusionzoo.data.text.sentence_transformers_folder import (
    CONFIG_FILE,
    MODULES_FILE,
    list_module_paths,
    read_pooling_modes,
)

log = logging.getLogger(__name__)

Pooling = Literal["mean", "first", "last", "pooler"]
DEFAULT_POOLING: Pooling = "mean"
POOLING_OF_MODE: Mapping[str, Pooling] = MappingProxyType({"mean": "mean", "cls": "first", "lasttoken": "last"})


def choose_pooling(source: PretrainedSource) -> Pooling:
    """Return the pooling of a pretrained model that sentence-transformers saved, and the mean for other models.

    Raises:
        fusionzoo.errors.SettingError: the model's list of modules, or its pooling module, is damaged.
    """
    modes = _read_modes(source)
    if modes is None:
        return DEFAULT_POOLING
    if len(modes) == 1 and modes[0] in POOLING_OF_MODE:
        pooling = POOLING_OF_MODE[modes[0]]
        log.info("pooling = %s: '%s' was trained with it (sentence-transformers: %s)", pooling, source.name, modes[0])
        return pooling
    log.warning(
        "'%s' was trained with a pooling (sentence-transformers: %s) that fusionzoo does not have, so pooling is %s.",
        *(source.name, " and ".join(modes) or "none", DEFAULT_POOLING),
    )
    return DEFAULT_POOLING


def _read_modes(source: PretrainedSource) -> list[str] | None:
    """Return the modes of the model's pooling module; None if it has none."""
    location = find_repository(source)
    on_hub = not is_folder(location)
    if on_hub:
        modules_file = download_file(source, MODULES_FILE)
        if modules_file is None:
            return None
        location = str(modules_file.parent)
    paths = list_module_paths(source.setting, source.name, Path(location), "Pooling")
    if not paths:
        return None
    if on_hub:
        download_file(source, f"{paths[0]}/{CONFIG_FILE}")
    return read_pooling_modes(source.setting, source.name, Path(location) / paths[0])
