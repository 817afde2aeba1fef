"""Open the trained model that `init_from` names: a model folder, a channel, or SageMaker's model.tar.gz."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionzoo import errors
from fusionzoo.architecture import Architecture, restore_architecture
from fusionzoo.artifacts.file_names import MANIFEST_FILE, SETTINGS_FILE, WEIGHTS_FILE
from fusionzoo.artifacts.model_archive import ARCHIVE_FILE, unpacked_model
from fusionzoo.artifacts.plugin_versions import explain_other_plugins
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.data.model_files import parse_json_object
from fusionzoo.data.preprocessor import PREPROCESSOR_FILE, TOKENIZER_FILE, Preprocessor
from fusionzoo.sagemaker.model_source import locate_source
from fusionzoo.sagemaker.paths import Paths

log = logging.getLogger(__name__)

HASHED_FILES = (WEIGHTS_FILE, PREPROCESSOR_FILE, TOKENIZER_FILE)


@dataclass(frozen=True)
class SourceModel:
    """A trained model from which a training starts.

    `place` is its folder or archive, and `digest` a hash of what the training takes from it.
    """

    place: Path
    architecture: Architecture
    preprocessor: Preprocessor
    weights: Mapping[str, Tensor]
    digest: str


def open_source_model(paths: Paths, architecture: Architecture, is_needed: bool) -> SourceModel | None:
    """Return the model that `init_from` names; None if the setting is not set.

    Args:
        is_needed: False for a job that resumes, which may be without the model. It is opened if it is there, to check
            that it is the same.

    Raises:
        errors.InitFromError: there is nothing at this place, or it has another model_class or text encoder.
        errors.ModelArchiveError: the archive is damaged, unsafe, or holds no model.
        errors.ModelFolderError: the folder is not a model folder, or a file in it is missing or damaged.
    """
    if architecture.job.init_from is None:
        return None
    place = locate_model(architecture.job.init_from, paths)
    if not place.exists() and not is_needed:
        log.info("init_from: %s is absent, and not needed to resume.", place)
        return None
    paths.model.mkdir(parents=True, exist_ok=True)
    with _provide_folder(place, paths, architecture.job.max_expansion) as folder:
        return _read_model(place, folder, architecture)


def locate_model(value: str, paths: Paths) -> Path:
    """Return the folder or archive that a value of `init_from` names."""
    place = locate_source(value, paths)
    is_folder_with_archive = (place / ARCHIVE_FILE).is_file() and not (place / MANIFEST_FILE).exists()
    return place / ARCHIVE_FILE if is_folder_with_archive else place


@contextmanager
def _provide_folder(place: Path, paths: Paths, max_expansion: float) -> Iterator[Path]:
    """Yield the folder, or a temporary one with the content of the archive."""
    if not place.is_file():
        if not place.exists():
            raise errors.InitFromError.no_model(place)
        yield place
        return
    with unpacked_model(place, paths.model, max_expansion) as folder:
        yield folder


def _read_model(place: Path, folder: Path, architecture: Architecture) -> SourceModel:
    verified = verify_folder(folder, keep=(SETTINGS_FILE, PREPROCESSOR_FILE, TOKENIZER_FILE))
    settings = parse_json_object(verified.read(SETTINGS_FILE), folder / SETTINGS_FILE)
    _check_same_plugins(place, settings, architecture)
    listed = verified.manifest.files
    hashes = "".join(listed[name].sha256 for name in HASHED_FILES if name in listed)
    with verified.open(WEIGHTS_FILE) as file:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    with explain_other_plugins(place, verified.manifest.plugins):
        source_architecture = restore_architecture(settings, list(verified.manifest.plugins))
    return SourceModel(
        place,
        source_architecture,
        Preprocessor.restore(folder, verified.read),
        weights,
        hashlib.sha256(hashes.encode()).hexdigest()[:16],
    )


def _check_same_plugins(place: Path, settings: Mapping[str, Any], architecture: Architecture) -> None:
    """Check the names before any plugin of the model is imported."""
    current = {"model_class": architecture.model.name}
    if architecture.encoder is not None:
        current["text_encoder"] = architecture.encoder.name
    for setting, name in current.items():
        other = str(settings.get(setting)).rpartition(":")[2]
        if other != name:
            raise errors.InitFromError.other_plugin(place, setting, other, name)
