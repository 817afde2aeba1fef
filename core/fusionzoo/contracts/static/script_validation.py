"""Validate one script against one contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fusionzoo.contracts.contract_fields import ContractFields
from fusionzoo.contracts.job_kinds import channel_of
from fusionzoo.contracts.static import requirement_check
from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.budget import MAX_STEPS, Budget
from fusionzoo.contracts.static.interpreter import make_machine, run_script
from fusionzoo.contracts.static.judgment import (
    Judgment,
    find_lost_writes,
    find_misplaced_artifacts,
    find_undecided,
    find_unwritten_artifacts,
    judge,
)
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.project_modules import ModuleFinder
from fusionzoo.contracts.static.source_files import Unreadable, parse_file, show_place
from fusionzoo.contracts.static.uses import UseRecorder
from fusionzoo.contracts.static.values import Bound, Const, Function, Text, Value, constant
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
    found = judge(contract, recorder.uses, recorder.unknown, _list_gaps(machine, finder))
    unwritten = find_unwritten_artifacts(contract, recorder.uses)
    errors = [
        *found.errors,
        *find_misplaced_artifacts(contract, recorder.uses, unwritten),
        *_find_unread_variables(contract, recorder),
        *_find_function_problems(contract, source),
        *requirement_check.compare_requirements(
            contract.framework_requirements, requirement_check.read_requirements(source.path.parent)
        ),
    ]
    warnings = [
        *found.warnings,
        *dict.fromkeys(find_lost_writes(recorder.uses)),
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
    channels = [channel_of(path) for path in contract.expected_input_paths.values()]
    return UseRecorder(
        sets_sagemaker_variables=contract.container_type == "SageMaker Training Job",
        channels=tuple(dict.fromkeys(channel for channel in channels if channel)),
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


def _find_function_problems(contract: ContractFields, source: ModuleSource) -> list[str]:
    """Return an error for each function of an endpoint that the script does not define, or that takes other values."""
    names = {} if source.frame is None else source.frame.names
    found = []
    for name, parameters in _called_functions(contract).items():
        value = names.get(name, ())
        call = f"{name}({', '.join(parameters)})"
        if all(isinstance(atom, Const | Text) for atom in value):
            start = f"{show_place(source.path)}: the script does not define {call}"
            found.append(f"{start}, which an endpoint calls. Fix: define it.")
        for atom in value:
            function = atom.function if isinstance(atom, Bound) else atom
            if isinstance(function, Function) and not _accepts(function, len(parameters) + isinstance(atom, Bound)):
                place = show_place(function.frame.module.path, function.node.lineno)
                found.append(
                    f"{place}: {name} does not accept the arguments of {call}, as an endpoint calls it. Fix: take them."
                )
    return found


def _accepts(function: Function, count: int) -> bool:
    """Return whether a function can be called with so many values; the toolkit may pass a context, too."""
    parameters = function.node.args
    most = len(parameters.posonlyargs) + len(parameters.args)
    least = most - len(parameters.defaults)
    needs_keyword = any(default is None for default in parameters.kw_defaults)
    return least <= count + 1 and (count <= most or parameters.vararg is not None) and not needs_keyword


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


def _list_gaps(machine: Machine, finder: ModuleFinder) -> list[str]:
    """Return what the analysis could not follow, although a path may be used there."""
    return [
        *machine.budget.notes,
        *(
            f"{show_place(one.path, one.line)}: {one.message}, so this module is not followed"
            for one in finder.unreadable
        ),
    ]


def _list_notes(machine: Machine, finder: ModuleFinder, recorder: UseRecorder, found: Judgment) -> list[str]:
    """Return what the analysis could not follow."""
    notes = _list_gaps(machine, finder)
    notes += list(find_undecided(recorder.uses))[:MAX_UNDECIDED]
    if recorder.unknown:
        notes.append(f"{pluralize(len(recorder.unknown), 'use')} of a path that is not known before the run")
    if notes and Verdict.MISSING in found.verdicts.values():
        notes.append("A path that is missing may be used where the analysis could not follow")
    return notes
