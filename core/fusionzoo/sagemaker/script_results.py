"""The results of an earlier run of a script: they are set aside until a run has written its own, so that no error
loses them.

A run that fails leaves nothing that could be mistaken for its own results.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.atomic_files import TEMPORARY_PREFIX, delete_leftovers, translate_write_errors
from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT, TABULAR_PREPROCESS_CONTRACT, XGBOOST_TRAIN_CONTRACT
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.sagemaker.earlier_results import (
    check_no_other_model,
    delete_matching,
    find_matching,
    list_file_names,
    move_files,
)

log = logging.getLogger(__name__)

EARLIER_RUN = "_earlier_run"  # in each output folder; readers of channels skip names that begin with "_"
LAST_ARTIFACTS: Mapping[str, tuple[str, str]] = {
    TABULAR_PREPROCESS_CONTRACT.entry_point: ("report", "schema.json"),
    MODEL_EVALUATION_CONTRACT.entry_point: ("evaluation", "metrics.json"),
    XGBOOST_TRAIN_CONTRACT.entry_point: ("data_output", "metrics.json"),
}
"""The output and the name of what a script writes after all else: results are complete if it is there."""


@dataclass(frozen=True)
class ScriptResults:
    """The artifacts of a script's contract below a root folder. Other files in its output folders stay."""

    root: Path
    contract: ScriptContract

    @property
    def main_folder(self) -> Path:
        """The output folder of the artifact that is written last."""
        return self._locate(LAST_ARTIFACTS[self.contract.entry_point][0])

    def set_aside(self) -> None:
        """Move complete results of an earlier run to the folder EARLIER_RUN of each output folder.

        Delete incomplete results and temporary files.

        Raises:
            errors.OtherModelError: the model folder has a model of another script.
            errors.OutputError: something cannot be moved or deleted.
        """
        check_no_other_model(self.root, self.contract)
        last = self.main_folder / LAST_ARTIFACTS[self.contract.entry_point][1]
        if last.is_file():
            if (self.main_folder / EARLIER_RUN / last.name).is_file():  # else a run was killed while it moved the files
                self.delete_set_aside()
            for folder, names in self._list_folders():
                with translate_write_errors(folder):
                    files = sorted(find_matching(folder, names), key=lambda path: path == last)
                    move_files(files, folder / EARLIER_RUN)
            log.info(
                "Moved the results of an earlier run to %s in its folders until this run has written its own: %s",
                *(EARLIER_RUN, ", ".join(str(folder) for folder, _ in self._list_folders())),
            )
        self.delete()

    def delete_set_aside(self) -> None:
        """Delete the results of an earlier run that were set aside.

        Raises:
            errors.OutputError: something cannot be deleted.
        """
        for folder, _ in self._list_folders():
            aside = folder / EARLIER_RUN
            with translate_write_errors(aside):
                if aside.is_dir():
                    # A run that is killed while it deletes them must not leave a part of them under this name.
                    shutil.rmtree(aside.rename(folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"))

    def delete(self) -> None:
        """Delete the artifacts and temporary files, but not what was set aside.

        Raises:
            errors.OutputError: something cannot be deleted.
        """
        for folder, names in self._list_folders():
            if deleted := delete_matching(folder, names):
                log.info("Deleted incomplete results in %s: %s", folder, ", ".join(deleted))
            delete_leftovers(folder)

    def _list_folders(self) -> list[tuple[Path, list[str]]]:
        """Return each output folder with the names and patterns of its artifacts, the main folder last."""
        folders = [
            (self._locate(output), list_file_names(artifacts)) for output, artifacts in self.contract.artifacts.items()
        ]
        return sorted(folders, key=lambda folder: folder[0] == self.main_folder)

    def _locate(self, output: str) -> Path:
        return self.root / self.contract.relative_path(output)
