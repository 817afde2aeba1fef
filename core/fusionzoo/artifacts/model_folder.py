"""The model folder: written completely or not at all, and loaded offline from its own files."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fusionzoo import __version__, errors
from fusionzoo.architecture import Architecture, restore_architecture
from fusionzoo.artifacts import onnx_export
from fusionzoo.artifacts.file_names import ARTIFACTS_FILE, ONNX_CHECK_FILE, ONNX_FILE, SETTINGS_FILE, WEIGHTS_FILE
from fusionzoo.atomic_files import staged_folder, translate_write_errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.model_files import model_file_errors, read_json_object
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.nn.inference import predict_scores
from fusionzoo.nn.schema import InputSpec
from fusionzoo.sagemaker.earlier_results import delete_earlier_model
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "lightning", "transformers", "tokenizers", "numpy", "onnx", "onnxruntime")
VERIFIED_ROWS = 64


def write_model_folder(
    folder: Path,
    architecture: Architecture,
    preprocessor: Preprocessor,
    model: nn.Module,
    val: EncodedSplit,
    val_scores: np.ndarray,
) -> None:
    """Write all files of the model folder, or none. An earlier model is deleted just before the new files replace it.

    Before that, the model is loaded from the new files and must reproduce `val_scores` [rows, outputs] for the first
    validation rows.

    Raises:
        errors.OutputError: a file cannot be written.
        errors.ExportError: the scores of the ONNX file differ from those of the model, and `onnx` is "required".
        errors.ReadBackError: the scores of the model that was loaded from the files differ.
    """
    settings, link = architecture.hyperparameters.as_flat_dict(), make_link(choose_task(preprocessor))
    with staged_folder(folder) as staging:
        with translate_write_errors(folder / WEIGHTS_FILE):
            torch.save({k: v.cpu() for k, v in model.state_dict().items()}, staging / WEIGHTS_FILE)
        with translate_write_errors(folder / ARTIFACTS_FILE):
            torch.save(_collect_artifacts(architecture, preprocessor, model, settings), staging / ARTIFACTS_FILE)
        with translate_write_errors(folder):
            preprocessor.save(staging)
            _write_json(staging / SETTINGS_FILE, settings)
        if architecture.job.onnx != "off":
            with translate_write_errors(folder / ONNX_FILE), allow_failed_export(architecture.job):
                comparison = onnx_export.export_onnx(model, link, val, staging / ONNX_FILE, preprocessor.max_tokens)
                _write_json(staging / ONNX_CHECK_FILE, comparison)
        _verify(staging, val, val_scores)
        if not (staging / ONNX_CHECK_FILE).exists():
            (staging / ONNX_FILE).unlink(missing_ok=True)  # it failed the comparison
        delete_earlier_model(folder)  # a process killed during the move must not leave files of two models


@contextmanager
def allow_failed_export(job: JobSettings) -> Iterator[None]:
    """In the block, turn a failed ONNX export into a warning if the job does not require one.

    Raises:
        errors.ExportError: the export failed, and `onnx` is "required".
    """
    try:
        yield
    except errors.ExportError as error:
        if job.onnx == "required":
            raise
        log.warning("The model folder will have no %s, because onnx is %s: %s", ONNX_FILE, job.onnx, error.message)


def load_model(folder: Path) -> tuple[nn.Module, Preprocessor]:
    """Load the trained model in evaluation mode, and its preprocessor. The plugins of the model must be installed.

    Raises:
        errors.ModelFolderError: a file is missing or damaged.
        errors.ZooError: a plugin that the model needs is missing, or does not fit the stored settings.
    """
    architecture = restore_architecture(read_json_object(folder / SETTINGS_FILE))
    preprocessor = Preprocessor.load(folder)
    model = architecture.build(InputSpec.from_preprocessor(preprocessor)).model
    with model_file_errors(folder / WEIGHTS_FILE):
        model.load_state_dict(torch.load(folder / WEIGHTS_FILE, map_location="cpu", weights_only=True))
    return model.eval(), preprocessor


def _collect_artifacts(
    architecture: Architecture, preprocessor: Preprocessor, model: nn.Module, settings: dict[str, Any]
) -> dict[str, Any]:
    spec = asdict(InputSpec.from_preprocessor(preprocessor))
    if spec["text"] is not None:
        spec["text"].pop("embeddings")
    text = preprocessor.text
    return {
        "config": settings,
        "model_class": architecture.job.model_class,
        "vocab": {} if text is None else text.tokenizer.backend.get_vocab(),
        "embedding_mat": None if text is None or text.vectors is None else torch.from_numpy(text.vectors.copy()),
        "input_spec": _to_lists(spec),
        **choose_task(preprocessor).artifact_entries(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "python": platform.python_version(),
            "fusionzoo": __version__,
            **architecture.versions(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def _to_lists(value: Any) -> Any:
    """Return the value with lists for tuples at every level: it must load with `weights_only=True` and from JSON."""
    if isinstance(value, dict):
        return {key: _to_lists(entry) for key, entry in value.items()}
    return [_to_lists(entry) for entry in value] if isinstance(value, list | tuple) else value


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def _verify(folder: Path, val: EncodedSplit, val_scores: np.ndarray) -> None:
    torch.load(folder / ARTIFACTS_FILE, map_location="cpu", weights_only=True)
    model, preprocessor = load_model(folder)
    link = make_link(choose_task(preprocessor))
    rows = np.arange(min(VERIFIED_ROWS, len(val)))
    difference = link.difference(predict_scores(model, link, val, len(rows), rows), val_scores[rows])
    if not difference <= onnx_export.TOLERANCE:
        raise errors.ReadBackError(folder, difference, onnx_export.TOLERANCE)
