"""Remove the results of an earlier run, so that a run that fails leaves nothing that could be mistaken for its own.

A complete model is set aside with its evaluation until the run has written its own model: a wrong setting must not cost
a trained model. Other files stay: a user may keep files in the model folder.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from fusionzoo.atomic_files import delete, delete_leftovers, translate_write_errors
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, XGBOOST_TRAIN_CONTRACT, ScriptContract
from fusionzoo.contracts.training_contracts import BOOSTER_FILE, MANIFEST_FILE
from fusionzoo.errors import OtherModelError
from fusionzoo.sagemaker.paths import Paths

log = logging.getLogger(__name__)

TRAINING_LOGS = "tensorboard/"
PREDICTIONS = "*_predictions.*"
MODEL_MARKS = {PYTORCH_TRAIN_CONTRACT.entry_point: MANIFEST_FILE, XGBOOST_TRAIN_CONTRACT.entry_point: BOOSTER_FILE}
"""The file that shows that a model is that of a training script."""


def set_earlier_results_aside(paths: Paths) -> None:
    """Move a complete model of an earlier run and its evaluation to `paths.earlier_run`.

    Delete an incomplete model, an evaluation without a model, and temporary files. Checkpoints and logs stay.

    Raises:
        errors.OtherModelError: the model folder has a model of train_xgboost.py.
        errors.OutputError: something cannot be moved or deleted.
    """
    check_no_other_model(paths.base, PYTORCH_TRAIN_CONTRACT)
    aside, aside_model = paths.earlier_run, paths.earlier_run / paths.model.name
    with translate_write_errors(aside):
        if (paths.model / MANIFEST_FILE).is_file():
            if (aside_model / MANIFEST_FILE).is_file():  # otherwise a run was killed while it moved the files
                shutil.rmtree(aside)
            move_files(find_matching(paths.output_data, _list_artifacts("data_output")), aside)
            # The manifest shows that a model is complete, so it leaves last.
            files = find_matching(paths.model, _list_artifacts("model_output"))
            move_files(sorted(files, key=lambda path: path.name == MANIFEST_FILE), aside_model)
            log.info("Moved the model of an earlier run to %s until this run has written its own", aside)
    delete_earlier_model(paths.model)
    if names := delete_evaluation(paths.output_data):
        log.info("Deleted the results of an earlier run in %s: %s", paths.output_data, ", ".join(names))
    for folder in (paths.model, paths.output_data):
        delete_leftovers(folder)


def delete_results_set_aside(paths: Paths) -> None:
    """Delete the model and the evaluation of an earlier run, because this run has written its own.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    with translate_write_errors(paths.earlier_run):
        if paths.earlier_run.is_dir():
            shutil.rmtree(paths.earlier_run)


def delete_earlier_model(folder: Path) -> None:
    """Delete the files of an earlier model from a model folder.

    Raises:
        errors.OutputError: a file cannot be deleted.
    """
    if names := delete_matching(folder, _list_artifacts("model_output")):
        log.info("Deleted the earlier model in %s: %s", folder, ", ".join(names))


def delete_evaluation(folder: Path) -> list[str]:
    """Delete metrics, predictions and plots from the folder `output/data`, and return their names. Its logs stay.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    return delete_matching(folder, _list_artifacts("data_output"))


def _list_artifacts(output: str) -> list[str]:
    """Return the names and patterns of what a job leaves in an output, without the logs of its training."""
    artifacts = PYTORCH_TRAIN_CONTRACT.artifacts[output]
    return list_file_names([name for name in artifacts if name != TRAINING_LOGS])


def list_file_names(artifacts: Iterable[str]) -> list[str]:
    """Return the names and patterns of the files and folders that a script writes as these artifacts.

    A user may keep other predictions in the same folder.
    """
    names = [name.removesuffix("/") for name in artifacts]
    own = [f"{split}_predictions.*" for split in ("val", "test")]
    return [name for name in names if name != PREDICTIONS] + (own if PREDICTIONS in names else [])


def check_no_other_model(root: Path, contract: ScriptContract) -> None:
    """Check that the model folder of a script has no model of the other training script, which would be damaged.

    Raises:
        errors.OtherModelError: it has one.
    """
    for output in {"model_output"} & set(contract.artifacts):
        folder = root / contract.relative_path(output)
        for other, name in MODEL_MARKS.items():
            if other != contract.entry_point and (folder / name).is_file():
                raise OtherModelError(folder, other, name)


def delete_matching(folder: Path, patterns: list[str]) -> list[str]:
    """Delete the files and folders directly in a folder with a name that matches a pattern; return their names.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    with translate_write_errors(folder):
        matches = find_matching(folder, patterns)
        for path in matches:
            delete(path)
    return [path.name for path in matches]


def find_matching(folder: Path, patterns: list[str]) -> list[Path]:
    """Return the files and folders directly in a folder with a name that matches a pattern."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if any(fnmatchcase(path.name, pattern) for pattern in patterns)]


def move_files(paths: Iterable[Path], folder: Path) -> None:
    """Move files and folders, in this order, into a folder, which is created if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.move(path, folder / path.name)
