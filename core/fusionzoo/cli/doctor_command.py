"""`fusionzoo doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.output import AsJson, coloured, one_line, print_json, print_line

if TYPE_CHECKING:
    from fusionzoo.registry.doctor import Finding

Seconds = Annotated[float, typer.Option(min=1, help="How long the import of one plugin may take.")]


def doctor(timeout: Seconds = 60, as_json: AsJson = False) -> None:
    """Examine every installed plugin.

    Clashes, metadata, requirements, imports, hooks, settings; ends with status 1 on any fault. Each plugin is imported
    in a process of its own.
    """
    from fusionzoo.registry.doctor import examine_environment, versions

    found = versions()
    if not as_json:
        print_line(", ".join(f"{name} {version or 'is not installed'}" for name, version in found.items()))
    findings: list[Finding] = []
    subjects = 0
    for report in examine_environment(timeout):
        findings += report.findings
        subjects += 1
        if as_json:
            continue
        word = coloured("fault", "red") if report.findings else coloured("ok   ", "green")
        typer.echo(f"{word}  {one_line(report.subject)}")
        for one in report.findings:
            print_line(one.problem, indent=7)
            print_line(f"Fix: {one.remedy}", indent=7)
    if as_json:
        print_json({"ok": not findings, "versions": found, "findings": [asdict(one) for one in findings]})
    else:
        print_line(f"{len(findings) or 'no'} fault{'' if len(findings) == 1 else 's'} in {subjects} examined")
    raise typer.Exit(1 if findings else 0)
