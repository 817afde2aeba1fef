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
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, ScriptContract
from fusionzoo.contracts.training_contracts import MANIFEST_FILE
from fusionzoo.sagemaker.paths import Paths

log = logging.getLogger(__name__)

TRAINING_LOGS = "tensorboard/"


def set_earlier_results_aside(paths: Paths) -> None:
    """Move a complete model of an earlier run and its evaluation to `paths.earlier_run`.

    Delete an incomplete model, an evaluation without a model, and temporary files. Checkpoints and logs stay.

    Raises:
        errors.OutputError: something cannot be moved or deleted.
    """
    aside, aside_model = paths.earlier_run, paths.earlier_run / paths.model.name
    with translate_write_errors(aside):
        if (paths.model / MANIFEST_FILE).is_file():
            if (aside_model / MANIFEST_FILE).is_file():  # otherwise a run was killed while it moved the files
                shutil.rmtree(aside)
            _move(_find_matching(paths.output_data, _list_artifacts("data_output")), aside)
            # The manifest shows that a model is complete, so it leaves last.
            files = _find_matching(paths.model, _list_artifacts("model_output"))
            _move(sorted(files, key=lambda path: path.name == MANIFEST_FILE), aside_model)
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
    if names := _delete_matching(folder, _list_artifacts("model_output")):
        log.info("Deleted the earlier model in %s: %s", folder, ", ".join(names))


def delete_evaluation(folder: Path) -> list[str]:
    """Delete metrics, predictions and plots from the folder `output/data`, and return their names. Its logs stay.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    return _delete_matching(folder, _list_artifacts("data_output"))


def _list_artifacts(output: str) -> list[str]:
    """Return the names and patterns of what a job leaves in an output, without the logs of its training."""
    artifacts = PYTORCH_TRAIN_CONTRACT.artifacts[output]
    return [name.removesuffix("/") for name in artifacts if name != TRAINING_LOGS]


def delete_artifacts(root: Path, contract: ScriptContract) -> None:
    """Delete what an earlier run of a script left: the artifacts of its contract, and temporary files.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    for output, artifacts in contract.artifacts.items():
        folder = root / contract.relative_path(output)
        if names := _delete_matching(folder, [name.removesuffix("/") for name in artifacts]):
            log.info("Deleted the results of an earlier run in %s: %s", folder, ", ".join(names))
        delete_leftovers(folder)


def _delete_matching(folder: Path, patterns: list[str]) -> list[str]:
    """Delete the files and folders directly in a folder with a name that matches a pattern; return their names.

    Raises:
        errors.OutputError: something cannot be deleted.
    """
    with translate_write_errors(folder):
        matches = _find_matching(folder, patterns)
        for path in matches:
            delete(path)
    return [path.name for path in matches]


def _find_matching(folder: Path, patterns: list[str]) -> list[Path]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in paths if any(fnmatchcase(path.name, pattern) for pattern in patterns)]


def _move(paths: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        shutil.move(path, folder / path.name)
