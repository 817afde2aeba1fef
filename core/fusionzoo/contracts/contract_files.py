"""Find a contract by its name, or read one from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fusionzoo.contracts.catalog import CONTRACTS
from fusionzoo.contracts.job_kinds import JOB_KINDS
from fusionzoo.contracts.script_contract import (
    InferenceScriptContract,
    ProcessingScriptContract,
    ScriptContract,
    TrainingScriptContract,
)
from fusionzoo.contracts.training_contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.errors import contract_errors

CONTRACT_SUFFIX = "_CONTRACT"
MAX_CONTRACT_BYTES = 1_000_000
CONTRACT_CLASSES = (TrainingScriptContract, ProcessingScriptContract, InferenceScriptContract)


def find_contract(name: str) -> ScriptContract:
    """Return the contract of a name, such as "PYTORCH_TRAIN_CONTRACT" or "pytorch_train", or of a JSON file.

    Raises:
        contract_errors.ContractFileError: there is no such contract or file, or the file cannot be read.
        contract_errors.ContractError: the contract in the file is wrong.
    """
    key = name.upper().replace("-", "_")
    for known in (key, key + CONTRACT_SUFFIX):
        if known in CONTRACTS:
            return CONTRACTS[known]
    if Path(name).suffix.lower() == ".json":
        return read_contract_file(Path(name))
    raise contract_errors.ContractFileError.unknown_name(name, list(CONTRACTS))


def find_contract_of_script(script: Path) -> ScriptContract:
    """Return the contract with the file name of a script as its entry point; otherwise the one of `train.py`."""
    matching = [found for found in CONTRACTS.values() if found.entry_point == script.name]
    return matching[0] if matching else PYTORCH_TRAIN_CONTRACT


def read_contract_file(path: Path) -> ScriptContract:
    """Return the contract in a JSON file that holds its fields.

    Raises:
        contract_errors.ContractFileError: the file cannot be read, is too large, or is not a JSON object.
        contract_errors.ContractError: the contract is wrong.
    """
    fields = _read_fields(path)
    container_type = fields.get("container_type")
    classes = {contract.model_fields["container_type"].default: contract for contract in CONTRACT_CLASSES}
    if not isinstance(container_type, str) or container_type not in classes:
        raise contract_errors.ContractError([contract_errors.unknown_job_kind(str(container_type), JOB_KINDS)])
    try:
        return classes[container_type].model_validate(fields)
    except ValidationError as cause:
        problems = [
            contract_errors.invalid_field(".".join(map(str, error["loc"])), error["msg"]) for error in cause.errors()
        ]
        raise contract_errors.ContractError(problems) from cause


def _read_fields(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. A key that is written twice is an error, because one of its values is lost."""

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if duplicates := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise contract_errors.ContractError([contract_errors.declared_twice("key", key) for key in duplicates])
        return dict(pairs)

    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_CONTRACT_BYTES + 1)
        if len(content) > MAX_CONTRACT_BYTES:
            raise ValueError(f"it has more than {MAX_CONTRACT_BYTES:,} bytes")
        fields = json.loads(content.decode("utf-8-sig"), object_pairs_hook=refuse_duplicates)
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as cause:
        raise contract_errors.ContractFileError.unreadable(path, cause) from cause
    return fields
