"""`fusionzoo contract validate`."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionzoo.cli.output import AsJson, colorize, exit_on_user_error, one_line, print_json, print_line, print_table
from fusionzoo.cli.path_option import path_argument

if TYPE_CHECKING:
    from fusionzoo.contracts import ScriptContract, ValidationReport

COLORS = {"PROVEN": "green", "POSSIBLE": "yellow", "MISSING": "red"}
UNUSED = "unused"
"""The verdict that is shown for an optional path that the script does not use."""

Script = Annotated[Path, path_argument("SCRIPT", "The script to read.")]
Contract = Annotated[
    str | None,
    typer.Option(help="A contract, or a JSON file with one; by default the one with the name of the script."),
]
Packages = Annotated[
    list[str] | None,
    typer.Option("--package", help="An installed package that belongs to the project; repeatable."),
]


def validate(script: Script, contract: Contract = None, package: Packages = None, as_json: AsJson = False) -> None:
    """Read the code of a script and prove which paths of its contract it uses; the script is not run.

    A path counts where the code reads or writes it. Exits with status 1 if the script breaks its contract.
    """
    with exit_on_user_error():
        from fusionzoo.contracts.contract_files import find_contract, find_contract_of_script
        from fusionzoo.contracts.validator import ScriptContractValidator

        found = find_contract(contract) if contract else find_contract_of_script(script)
        report = ScriptContractValidator(script.parent, package or ()).validate_script(script.name, found)
    if as_json:
        print_json(make_json(report))
    else:
        _print_report(report, found)
    raise typer.Exit(0 if report.is_valid else 1)


def make_json(report: ValidationReport) -> dict[str, Any]:
    """Return a report as plain data."""
    content = asdict(report, dict_factory=lambda pairs: {key: _plain(value) for key, value in pairs})
    content["verdicts"] = {path: verdict.value for path, verdict in report.verdicts.items()}
    return {"summary": report.summary, "is_valid": report.is_valid, **content}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _print_report(report: ValidationReport, contract: ScriptContract) -> None:
    rows = []
    optional = {
        {**contract.expected_input_paths, **contract.expected_output_paths}[name] for name in contract.optional_paths
    }
    for path, verdict in report.verdicts.items():
        evidence = report.evidence[path]
        is_unused = verdict.name == "MISSING" and path in optional
        shown = UNUSED if is_unused else colorize(verdict.name, COLORS[verdict.name])
        place = f"{evidence[0].file}:{evidence[0].line}" if evidence else ""
        access = evidence[0].access.value if evidence else ""
        rows.append((path, shown, access, place, one_line(evidence[0].expression) if evidence else ""))
    if rows:
        print_table(("path", "verdict", "use", "place", "code"), rows)
    for label, color, messages in (
        ("error", "red", report.errors),
        ("warning", "yellow", report.warnings),
        ("note", None, report.notes),
    ):
        for message in messages:
            print_line(f"{colorize(label, color) if color else label}: {one_line(message)}")
    print_line(colorize(report.summary, "green" if report.is_valid else "red"))
