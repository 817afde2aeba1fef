"""Validate the scripts of a folder against contracts, by reading their code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionzoo.contracts.contract_files import find_contract_of_script
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.contracts.static.budget import MAX_STEPS
from fusionzoo.contracts.static.script_validation import validate_file
from fusionzoo.contracts.validation_report import ValidationReport


class ScriptContractValidator:
    """Validates the scripts of a folder. A script is never imported or run.

    Args:
        directory: the folder that holds the scripts.
        packages: installed packages that belong to the project, so that their code is followed; fusionzoo always is.
        max_steps: bounds the analysis of a script; a report says if they were not enough.
    """

    def __init__(self, directory: str | Path, packages: Sequence[str] = (), max_steps: int = MAX_STEPS) -> None:
        self._directory, self._packages, self._max_steps = Path(directory), tuple(packages), max_steps

    def validate_script(self, script: str | Path, contract: ScriptContract | None = None) -> ValidationReport:
        """Return the report on a script. A script that cannot be read or parsed is an error in it, not an exception.

        Args:
            contract: by default the one with this entry point, or that of `train.py`.
        """
        path = self._directory / script
        return validate_file(path, contract or find_contract_of_script(path), self._packages, self._max_steps)
