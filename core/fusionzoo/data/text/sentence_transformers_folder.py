"""What the files of a sentence-transformers model state: the folder of its encoder, and how it pools a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusionzoo import errors

MODULES_FILE, CONFIG_FILE = "modules.json", "config.json"
ENCODER_FILE = "sentence_bert_config.json"
ENCODER_FILES = "sentence_*_config.json"  # older versions name the family, as in sentence_roberta_config.json


def find_encoder_folder(setting: str, name: str, folder: Path) -> Path:
    """Return the folder of the encoder: a subfolder if the folder is an older sentence-transformers model.

    Raises:
        errors.SettingError: modules.json is damaged.
    """
    paths = list_module_paths(setting, name, folder, "Transformer")
    return next((folder / path for path in paths if path and (folder / path / CONFIG_FILE).is_file()), folder)


def list_module_paths(setting: str, name: str, folder: Path, kind: str) -> list[str]:
    """Return the subfolders of the modules of a class, such as `Pooling`; empty if this is no such model.

    Raises:
        errors.SettingError: modules.json is damaged.
    """
    file = folder / MODULES_FILE
    if not file.is_file():
        return []
    try:
        modules = json.loads(file.read_text("utf-8"))
        return [str(module["path"]) for module in modules if module["type"].rpartition(".")[2] == kind]
    except (OSError, ValueError, AttributeError, TypeError, LookupError) as cause:
        raise errors.damaged_modules(setting, name, MODULES_FILE, cause) from cause


def read_pooling_modes(setting: str, name: str, folder: Path) -> list[str]:
    """Return the modes of pooling in the folder of a pooling module: `mean`, `cls`, `lasttoken`, `max` and so on.

    Several modes are concatenated.

    Raises:
        errors.SettingError: its configuration is absent or damaged.
    """
    try:
        values: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
        mode = values.get("pooling_mode")
        if mode is not None:
            return [mode] if isinstance(mode, str) else [str(each) for each in mode]
        # Before version 6 of sentence-transformers, each mode was a flag such as pooling_mode_cls_token.
        flags = [key for key, value in values.items() if key.startswith("pooling_mode_") and value is True]
        return [key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in flags]
    except (OSError, ValueError, AttributeError, TypeError) as cause:
        raise errors.damaged_modules(setting, name, f"{folder.name}/{CONFIG_FILE}", cause) from cause


def lowers_case(setting: str, name: str, folder: Path) -> bool:
    """Return whether texts are converted to lower case before the tokenizer of an encoder's folder reads them.

    Raises:
        errors.SettingError: the file that states it is damaged.
    """
    for file in sorted(folder.glob(ENCODER_FILES)):
        try:
            return json.loads(file.read_text("utf-8")).get("do_lower_case") is True
        except (OSError, ValueError, AttributeError) as cause:
            raise errors.damaged_modules(setting, name, file.name, cause) from cause
    return False
