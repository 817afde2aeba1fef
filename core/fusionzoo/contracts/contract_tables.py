"""A contract as tables, which the command line prints and the docs contain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fusionzoo.contracts.script_contract import InferenceScriptContract, ProcessingScriptContract, ScriptContract


@dataclass(frozen=True)
class ContractTable:
    """One table of a contract: its title, the names of its columns, and its rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def list_tables(contract: ScriptContract) -> list[ContractTable]:
    """Return the tables of a contract that have rows."""
    return [table for table in _make_tables(contract) if table.rows]


def _make_tables(contract: ScriptContract) -> Iterator[ContractTable]:
    optional = contract.optional_paths
    names = [*contract.expected_input_paths, *contract.expected_output_paths, *contract.required_env_vars]
    meanings = {name: contract.meanings.get(name, "") for name in [*names, *contract.optional_env_vars]}
    yield ContractTable(
        "Inputs",
        ("logical name", "path", "script must read it", "job must have it", "meaning"),
        [
            (
                name,
                path,
                _answer(name not in optional),
                _answer(name not in contract.optional_inputs),
                meanings[name],
            )
            for name, path in contract.expected_input_paths.items()
        ],
    )
    yield ContractTable(
        "Outputs",
        ("logical name", "path", "script must write it", "artifacts", "meaning"),
        [
            (
                name,
                path,
                _answer(name not in optional),
                ", ".join(contract.artifacts.get(name, ())),
                meanings[name],
            )
            for name, path in contract.expected_output_paths.items()
        ],
    )
    variables = [(name, "required") for name in contract.required_env_vars] + list(contract.optional_env_vars.items())
    yield ContractTable(
        "Environment variables",
        ("variable", "default", "meaning"),
        [(name, default, meanings[name]) for name, default in variables],
    )
    if isinstance(contract, ProcessingScriptContract):
        arguments = contract.arguments.items()
        rows = [(f"--{name}", "required" if default is None else default) for name, default in arguments]
        yield ContractTable("Arguments", ("argument", "default"), rows)
    if isinstance(contract, InferenceScriptContract):
        functions = [(name, ", ".join(parameters)) for name, parameters in contract.functions.items()]
        yield ContractTable("Functions", ("function", "parameters"), functions)
    yield ContractTable("Packages", ("package", "version"), list(contract.framework_requirements.items()))
    constraints = list(contract.version_constraints.items())
    yield ContractTable("Constraints on further packages", ("package", "version"), constraints)


def _answer(condition: bool) -> str:
    return "yes" if condition else "no"
