"""`fusionzoo contract verify`."""

from __future__ import annotations

from collections import defaultdict
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fusionzoo.atomic_files import check_writable, write_atomically
from fusionzoo.cli.number_option import MAX_SECONDS, number_option
from fusionzoo.cli.output import (
    AsJson,
    colorize,
    exit_on_sigterm,
    exit_on_user_error,
    parse_key_value_pairs,
    print_line,
    print_table,
)
from fusionzoo.cli.path_option import path_argument, path_option
from fusionzoo.errors.wording import join_first

if TYPE_CHECKING:
    from fusionzoo.contracts.verification.evidence_report import VerificationReport
    from fusionzoo.contracts.verification.workspace import RootKind

ORDER = ("not verified", "proven", "failed")  # failed checks last, next to the verdict


class Root(str, Enum):
    """The choices of --root."""

    __str__ = str.__str__

    AUTO = "auto"
    NAMESPACE = "namespace"
    VARIABLE = "variable"


Script = Annotated[Path, path_argument("SCRIPT", "The script to run.")]
Arguments = Annotated[
    list[str] | None, typer.Argument(help="Arguments of the script, after `--`.", metavar="[-- ARGUMENTS]")
]
Run = Annotated[bool, typer.Option("--run", help="Confirm that the script may be run on this machine.")]
Contract = Annotated[
    str | None,
    typer.Option(help="A contract, or a JSON file with one; by default the one with the name of the script."),
]
Input = Annotated[
    Path | None,
    path_option("--input", "A folder with SageMaker's layout that holds the inputs; by default they are generated."),
]
RootOption = Annotated[
    Root,
    typer.Option(
        "--root",
        help="How the script finds the temporary root folder: mounted (namespace; as root), or in SAGEMAKER_BASE_DIR.",
    ),
]
Variables = Annotated[
    list[str] | None, typer.Option("--env", help="An environment variable, as NAME=VALUE; repeatable.")
]
Timeout = Annotated[float, number_option("Time limit of each run, in seconds.", min=1, max=MAX_SECONDS)]
EvidenceFile = Annotated[Path, path_option("--evidence", "The file to write the evidence to.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Run once, with all inputs; no run with a damaged or missing one.")
]


def verify(
    script: Script,
    arguments: Arguments = None,
    run: Run = False,
    contract: Contract = None,
    input_folder: Input = None,
    root: RootOption = Root.AUTO,
    env: Variables = None,
    timeout: Timeout = 600,
    evidence: EvidenceFile = Path("contract_evidence.json"),
    quick: Quick = False,
    as_json: AsJson = False,
) -> None:
    """Run a script on a small job and prove what it reads, writes and reports.

    The script runs in temporary folders, first with all inputs, then with each required input damaged or missing, and
    with each optional one missing. Exits with status 1 if the script breaks its contract.
    """
    if not run:
        raise typer.BadParameter("the script runs with the rights of this user: add --run", param_hint="--run")
    variables = parse_key_value_pairs(env, "--env")
    with exit_on_user_error(), exit_on_sigterm():
        from fusionzoo.contracts.contract_files import find_contract, find_contract_of_script
        from fusionzoo.contracts.verification.script_verification import verify_script
        from fusionzoo.contracts.verification.verified_job import VerifiedJob

        job = VerifiedJob(
            script=script,
            contract=find_contract(contract) if contract else find_contract_of_script(script),
            root_kind=choose_root(root, script),
            input_folder=input_folder,
            arguments=arguments or (),
            environ=variables,
            timeout=timeout,
        )
        check_writable(evidence.absolute().parent)
        report = verify_script(job, lambda line: typer.echo(line, err=True), only_complete_run=quick)
        write_atomically(evidence, partial(_write, report.to_json()))
    if as_json:
        typer.echo(report.to_json(), nl=False)
    else:
        _print_report(report)
        print_line(f"evidence: {evidence}")
    raise typer.Exit(0 if report.is_valid else 1)


def choose_root(choice: Root, script: Path) -> RootKind:
    """Return how the script finds its root folder.

    Raises:
        fusionzoo.errors.verification_errors.VerificationError: --root namespace is not possible on this machine.
    """
    from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
    from fusionzoo.contracts.verification.workspace import RootKind, find_namespace_problem
    from fusionzoo.errors.verification_errors import VerificationError

    if choice is Root.VARIABLE:
        return RootKind.VARIABLE
    is_hidden = script.absolute().is_relative_to(SAGEMAKER_ROOT)
    problem = f"{script} is in the folder that it would hide" if is_hidden else find_namespace_problem()
    if problem and choice is Root.NAMESPACE:
        raise VerificationError.no_namespace(problem)
    return RootKind.VARIABLE if problem else RootKind.NAMESPACE


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def _print_report(report: VerificationReport) -> None:
    """Print the checks, the runs and the verdict. Subjects with the same result and reason share a row."""
    subjects: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for check in sorted(report.checks, key=lambda check: ORDER.index(check.status.value)):
        subjects[check.status.value, check.claim, check.detail].append(check.subject)
    rows = [(status, join_first(names, 1), claim, detail) for (status, claim, detail), names in subjects.items()]
    print_table(("result", "subject", "claim", "evidence"), rows)
    runs = [(run.name, run.ending, f"{run.seconds:.1f} s") for run in report.runs]
    typer.echo()
    print_table(("run", "ending", "time"), runs)
    typer.echo()
    print_line(colorize(report.summary, "green" if report.is_valid else "red"))
