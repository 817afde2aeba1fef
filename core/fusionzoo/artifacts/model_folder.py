"""The model folder: written completely or not at all, and loaded offline from its own files."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fusionzoo import __version__, errors
from fusionzoo.architecture import Architecture, restore_architecture
from fusionzoo.artifacts import onnx_export
from fusionzoo.artifacts.file_names import (
    ARTIFACTS_FILE,
    MANIFEST_FILE,
    ONNX_CHECK_FILE,
    ONNX_FILE,
    SETTINGS_FILE,
    WEIGHTS_FILE,
)
from fusionzoo.artifacts.manifest import (
    Calibration,
    Column,
    Decision,
    ModelDescription,
    SplitFingerprint,
    write_manifest,
)
from fusionzoo.artifacts.plugin_versions import explain_other_plugins
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.atomic_files import flush_folder, hold_signals, staged_folder, temporary_folder, translate_write_errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.model_files import model_file_errors, parse_json_object
from fusionzoo.data.preprocessor import PREPROCESSOR_FILE, TOKENIZER_FILE, Preprocessor
from fusionzoo.nn.inference import predict_scores
from fusionzoo.nn.schema import InputSpec
from fusionzoo.sagemaker.earlier_results import delete_earlier_model
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task import Task
from fusionzoo.tasks.task_choice import choose_task

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "lightning", "transformers", "tokenizers", "numpy", "onnx", "onnxruntime")
VERIFIED_ROWS = 64


@dataclass(frozen=True)
class TrainedModel:
    """What a training leaves.

    Attributes:
        training_data: by split.
        metrics: by split, of the model with its final weights.
    """

    architecture: Architecture
    preprocessor: Preprocessor
    model: nn.Module
    training_data: Mapping[str, SplitFingerprint]
    metrics: Mapping[str, Mapping[str, float | None]]


def write_model_folder(
    folder: Path,
    trained: TrainedModel,
    val: EncodedSplit,
    val_scores: np.ndarray,
    before_move: Callable[[], None] = lambda: None,
) -> None:
    """Write all files of the model folder, or none. An earlier model is deleted just before the new files replace it.

    Before that, the model is loaded from the new files and must reproduce `val_scores` [rows, outputs] for the first
    validation rows. manifest.json is written last, and is the last file that appears in `folder`.

    Args:
        folder: the model folder.
        trained: the model and what describes it.
        val: the validation rows.
        val_scores: what the trained model computes for them.
        before_move: called when all files are written and verified. If it fails, `folder` is unchanged.

    Raises:
        errors.OutputError: a file cannot be written.
        errors.ExportError: the scores of the ONNX file differ from those of the model, and `onnx` is "required".
        errors.ReadBackError: the scores of the model that was loaded from the files differ, or are not finite.
    """
    architecture, preprocessor, model = trained.architecture, trained.preprocessor, trained.model
    settings = architecture.hyperparameters.as_flat_dict()
    with ExitStack() as during_move, staged_folder(folder, last_file=MANIFEST_FILE) as staging:
        with translate_write_errors(folder / WEIGHTS_FILE):
            torch.save({k: v.cpu() for k, v in model.state_dict().items()}, staging / WEIGHTS_FILE)
        with translate_write_errors(folder / ARTIFACTS_FILE):
            torch.save(_collect_artifacts(architecture, preprocessor, model, settings), staging / ARTIFACTS_FILE)
        with translate_write_errors(folder):
            preprocessor.save(staging)
            _write_json(staging / SETTINGS_FILE, settings)
        if architecture.job.onnx != "off":
            with translate_write_errors(folder / ONNX_FILE), allow_failed_export(architecture.job):
                _export(trained, val, staging)
        with translate_write_errors(folder / MANIFEST_FILE):
            write_manifest(staging, _describe(trained))
        _verify(staging, architecture, val, val_scores)
        flush_folder(staging)  # now, so that only renames remain after the earlier model has been deleted
        during_move.enter_context(hold_signals())
        before_move()
        delete_earlier_model(folder)  # a process killed during the move must not leave files of two models


def _export(trained: TrainedModel, val: EncodedSplit, folder: Path) -> None:
    """Write model.onnx and its check; a file that fails the check does not appear in the folder."""
    link = make_link(choose_task(trained.preprocessor))
    with temporary_folder(folder) as temporary:
        path = temporary / ONNX_FILE
        comparison = onnx_export.export_onnx(trained.model, link, val, path, trained.preprocessor.max_tokens)
        path.replace(folder / ONNX_FILE)
    _write_json(folder / ONNX_CHECK_FILE, comparison)


def _describe(trained: TrainedModel) -> ModelDescription:
    architecture, task = trained.architecture, choose_task(trained.preprocessor)
    return ModelDescription(
        fusionzoo=__version__,
        plugins=architecture.versions(),
        model_class=architecture.job.model_class,
        text_encoder=None if architecture.encoder is None else architecture.encoder.name,
        task=architecture.job.task,
        target=task.report_entries(),
        columns=_list_columns(trained.preprocessor.settings),
        calibration=_describe_calibration(task),
        decision=_describe_decision(task),
        training_data=dict(trained.training_data),
        metrics={split: dict(metrics) for split, metrics in trained.metrics.items()},
    )


def _describe_calibration(task: Task) -> Calibration | None:
    scaling = task.rules.scaling
    return None if scaling is None else Calibration(scales=list(scaling.scales), biases=list(scaling.biases))


def _describe_decision(task: Task) -> Decision:
    rule = task.rules.decision
    if rule is None:
        return Decision(rule=task.decision_rule)
    costs = [list(row) for row in rule.costs] or None
    return Decision(rule=rule.name, thresholds=list(rule.thresholds) or None, cost_matrix=costs)


def _list_columns(settings: DataSettings) -> list[Column]:
    return [
        *(Column(name=name, role="id") for name in [settings.id_name] if name is not None),
        *(Column(name=name, role="text") for name in settings.text_columns),
        *(Column(name=name, role="category") for name in settings.cat_field_list),
        *(Column(name=name, role="number") for name in settings.tab_field_list),
        *(Column(name=name, role="label") for name in settings.label_columns),
    ]


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


def load_model(folder: str | Path) -> tuple[nn.Module, Preprocessor]:
    """Load the trained model in evaluation mode, and its preprocessor. The plugins of the model must be installed.

    Every file that manifest.json lists is verified first.

    Raises:
        errors.ModelFolderError: the folder or a file is missing, damaged, changed or of a later version; or a plugin
            is missing, or has another version that does not fit.
        errors.ZooError: a plugin does not fit the stored settings.
    """
    folder = Path(folder)
    verified = verify_folder(folder, keep=(SETTINGS_FILE, PREPROCESSOR_FILE, TOKENIZER_FILE))
    settings = parse_json_object(verified.read(SETTINGS_FILE), folder / SETTINGS_FILE)
    settings.pop("early_stop_metric", None)  # a newer version of a plugin may no longer have this metric
    preprocessor = Preprocessor.restore(folder, verified.read)
    with verified.open(WEIGHTS_FILE) as file:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    with explain_other_plugins(folder, verified.manifest.plugins):
        architecture = restore_architecture(settings, list(verified.manifest.plugins))
        model = architecture.build(InputSpec.from_preprocessor(preprocessor)).model
        with model_file_errors(folder / WEIGHTS_FILE):
            model.load_state_dict(weights)
    return model.eval(), preprocessor


def _collect_artifacts(
    architecture: Architecture, preprocessor: Preprocessor, model: nn.Module, settings: dict[str, Any]
) -> dict[str, Any]:
    spec = asdict(InputSpec.from_preprocessor(preprocessor))
    if spec["text"] is not None:
        spec["text"].pop("embeddings")
    text = preprocessor.text
    vocabulary = {} if text is None else text.tokenizer.backend.get_vocab()  # in random order
    return {
        "config": settings,
        "model_class": architecture.job.model_class,
        "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
        "embedding_mat": None if text is None or text.vectors is None else torch.from_numpy(text.vectors.copy()),
        "input_spec": _to_lists(spec),
        **choose_task(preprocessor).artifact_entries(),
        "calibration": _to_lists(preprocessor.rules.as_json()["scaling"]),
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


def _verify(folder: Path, architecture: Architecture, val: EncodedSplit, val_scores: np.ndarray) -> None:
    """Check that the model of the folder reproduces scores of val, in smaller batches than those of the job."""
    torch.load(folder / ARTIFACTS_FILE, map_location="cpu", weights_only=True)
    model, preprocessor = load_model(folder)
    link = make_link(choose_task(preprocessor))
    rows = np.arange(min(VERIFIED_ROWS, len(val)))
    expected = val_scores[rows]
    if wrong := onnx_export.count_nonfinite_rows(expected):
        raise errors.ReadBackError.not_finite(onnx_export.name_class(model), wrong, len(rows))
    batch_size = min(len(rows), architecture.job.batch_size) // 2 or len(rows)
    scores = predict_scores(model, link, val, batch_size, rows)
    difference = link.difference(scores, expected)
    if difference <= onnx_export.TOLERANCE:
        return
    mixed = link.difference(predict_scores(model, link, val, 1, rows), scores)
    if mixed > onnx_export.TOLERANCE:
        raise errors.PluginContractError.mixes_rows(architecture.model.claim, mixed)
    raise errors.ReadBackError.differs(folder, difference, onnx_export.TOLERANCE)
