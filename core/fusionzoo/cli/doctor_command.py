"""`fusionzoo doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.number_option import MAX_SECONDS, number_option
from fusionzoo.cli.output import AsJson, colorize, one_line, print_json, print_line

if TYPE_CHECKING:
    from fusionzoo.registry.doctor import Finding

Timeout = Annotated[
    float,
    number_option(
        "Time limit for the import of one plugin, in seconds; raise it on a busy machine.", min=1, max=MAX_SECONDS
    ),
]


def doctor(timeout: Timeout = 120, as_json: AsJson = False) -> None:
    """Examine every installed plugin.

    Looks for name clashes and examines metadata, requirements, imports, hooks and settings. Exits with status 1 if it
    finds a problem. Each plugin is imported in its own process.
    """
    from fusionzoo.registry.doctor import collect_versions, examine_environment

    installed = collect_versions()
    if not as_json:
        print_line(", ".join(f"{name} {version or 'is not installed'}" for name, version in installed.items()))
    findings: list[Finding] = []
    examined = 0
    for report in examine_environment(timeout):
        findings += report.findings
        examined += 1
        if as_json:
            continue
        status = colorize("error", "red") if report.findings else colorize("ok   ", "green")
        typer.echo(f"{status}  {one_line(report.subject)}")
        for finding in report.findings:
            print_line(finding.problem, indent=7)
            print_line(f"Fix: {finding.remedy}", indent=7)
    if as_json:
        print_json({"ok": not findings, "versions": installed, "findings": [asdict(finding) for finding in findings]})
    else:
        print_line(f"{len(findings) or 'no'} problem{'' if len(findings) == 1 else 's'} in {examined} examined")
    raise typer.Exit(1 if findings else 0)
