"""Validate one script against one contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fusionzoo.contracts.contract_fields import ContractFields
from fusionzoo.contracts.static import requirement_check
from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.budget import MAX_STEPS, Budget
from fusionzoo.contracts.static.interpreter import make_machine, run_script
from fusionzoo.contracts.static.judgment import (
    Judgment,
    find_misplaced_artifacts,
    find_undecided,
    find_unwritten_artifacts,
    judge,
    show_place,
)
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.project_modules import ModuleFinder
from fusionzoo.contracts.static.source_files import Unreadable, parse_file
from fusionzoo.contracts.static.uses import UseRecorder
from fusionzoo.contracts.static.values import Function, Value, constant
from fusionzoo.contracts.validation_report import ValidationReport, Verdict
from fusionzoo.errors.wording import pluralize

OWN_PACKAGE = "fusionzoo"
FOLDER_PARAMETERS = ("model_dir", "model_folder")
"""The names of the parameter that is the folder of the model."""
MAX_UNDECIDED = 10  # notes on paths that a user gives


def validate_file(
    path: Path, contract: ContractFields, packages: Sequence[str] = (), max_steps: int = MAX_STEPS
) -> ValidationReport:
    """Return the report on a script. A script that cannot be read or parsed is an error in it, not an exception.

    Args:
        packages: installed packages that belong to the project; fusionzoo always does.
        max_steps: bounds the analysis; the report says if they were not enough.
    """
    report = ValidationReport(path.name, type(contract).__name__)
    source = parse_file(path, "__main__")
    if isinstance(source, Unreadable):
        place = show_place(source.path, source.line)
        return replace(report, errors=[f"{place}: {source.message}. Fix: {source.fix}"])
    finder = ModuleFinder(source.path, (OWN_PACKAGE, *packages))
    recorder = _make_recorder(contract)
    machine = make_machine(finder, recorder, Budget(max_steps))
    run_script(machine, source, _find_entry_points(contract))
    found = judge(contract, recorder.uses)
    unwritten = find_unwritten_artifacts(contract, recorder.uses)
    errors = [
        *found.errors,
        *find_misplaced_artifacts(contract, recorder.uses, unwritten),
        *_find_unread_variables(contract, recorder),
        *_find_missing_functions(contract, source),
        *requirement_check.compare_requirements(
            contract.framework_requirements, requirement_check.read_requirements(source.path.parent)
        ),
    ]
    warnings = [
        *found.warnings,
        *_find_undeclared_variables(contract, recorder),
        *_find_unknown_options(contract, recorder),
        *_describe_unwritten(contract, found, unwritten),
        *requirement_check.compare_imports(contract.framework_requirements, _find_imports(source, finder)),
    ]
    notes = _list_notes(machine, finder, recorder, found)
    return replace(
        report, errors=errors, warnings=warnings, evidence=found.evidence, verdicts=found.verdicts, notes=notes
    )


def _make_recorder(contract: ContractFields) -> UseRecorder:
    """Return a recorder that knows what the container of a contract sets and passes."""
    arguments: dict[str, str | None] = getattr(contract, "arguments", {})
    return UseRecorder(
        sets_sagemaker_variables=contract.container_type == "SageMaker Training Job",
        arguments={name: value for name, value in arguments.items() if value},
        defaults=dict(contract.optional_env_vars),
    )


def _called_functions(contract: ContractFields) -> dict[str, list[str]]:
    """Return the functions that the container of a contract calls, with the names of their parameters."""
    return getattr(contract, "functions", {})


def _find_entry_points(contract: ContractFields) -> dict[str, dict[str, Value]]:
    """Return the functions that the container of a contract calls, with the arguments that are known."""
    folder = next(iter(contract.expected_input_paths.values()), "")
    return {
        name: {parameter: constant(folder) for parameter in parameters if parameter in FOLDER_PARAMETERS}
        for name, parameters in _called_functions(contract).items()
    }


def _find_unread_variables(contract: ContractFields, recorder: UseRecorder) -> list[str]:
    read = {variable.name for variable in recorder.variables}
    return [
        f"The script never reads the required environment variable {name}. Fix: read it, or make it optional."
        for name in contract.required_env_vars
        if name not in read
    ]


def _find_undeclared_variables(contract: ContractFields, recorder: UseRecorder) -> list[str]:
    declared = {*contract.required_env_vars, *contract.optional_env_vars}
    first = {variable.name: variable for variable in reversed(list(recorder.variables))}
    return [
        f"{show_place(variable.file, variable.line)}: the script reads the environment variable {name}, which the "
        "contract does not declare."
        for name, variable in sorted(first.items())
        if name not in declared
    ]


def _find_unknown_options(contract: ContractFields, recorder: UseRecorder) -> list[str]:
    """Return a warning for each command-line option of the contract that the script does not define."""
    arguments: dict[str, str | None] = getattr(contract, "arguments", {})
    return [
        f"The definition of the command-line option --{name} was not found, which the contract passes."
        for name in arguments
        if name.replace("-", "_") not in recorder.options
    ]


def _find_missing_functions(contract: ContractFields, source: ModuleSource) -> list[str]:
    names = {} if source.frame is None else source.frame.names
    return [
        f"{show_place(source.path)}: the script does not define {name}({', '.join(parameters)}), which an endpoint "
        "calls. Fix: define it."
        for name, parameters in _called_functions(contract).items()
        if not any(isinstance(atom, Function) for atom in names.get(name, ()))
    ]


def _describe_unwritten(contract: ContractFields, found: Judgment, unwritten: dict[str, list[str]]) -> list[str]:
    folders = contract.expected_output_paths
    return [
        f"No write of these artifacts was found in {folders[name]}: {', '.join(files)}."
        for name, files in unwritten.items()
        if found.verdicts[folders[name]] is not Verdict.MISSING
    ]


def _find_imports(source: ModuleSource, finder: ModuleFinder) -> dict[str, requirement_check.Import]:
    modules = [source, *finder.modules()]
    return requirement_check.find_imports(modules, {module.name.partition(".")[0] for module in modules})


def _list_notes(machine: Machine, finder: ModuleFinder, recorder: UseRecorder, found: Judgment) -> list[str]:
    """Return what the analysis could not follow."""
    notes = list(machine.budget.notes)
    notes += [
        f"{show_place(one.path, one.line)}: {one.message}, so this module is not followed" for one in finder.unreadable
    ]
    notes += list(find_undecided(recorder.uses))[:MAX_UNDECIDED]
    if recorder.unknown_paths:
        notes.append(f"{pluralize(recorder.unknown_paths, 'use')} of a path that is not known before the run")
    if notes and Verdict.MISSING in found.verdicts.values():
        notes.append("A path that is missing may be used where the analysis could not follow")
    return notes
