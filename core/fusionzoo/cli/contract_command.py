"""`fusionzoo contract`: what a script promises to SageMaker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.output import AsJson, exit_on_user_error, one_line, print_json, print_line, print_table
from fusionzoo.cli.single_options import SingleOptionsTyper
from fusionzoo.cli.validate_command import validate
from fusionzoo.cli.verify_command import verify

if TYPE_CHECKING:
    from fusionzoo.contracts import ScriptContract

contract = SingleOptionsTyper(
    help="Show the contracts of scripts, and check scripts against them.", no_args_is_help=True
)
contract.command()(validate)
contract.command()(verify)

Name = Annotated[
    str | None,
    typer.Argument(help="A contract, such as 'pytorch_train', or a JSON file with one. Without it, all are listed."),
]


@contract.command()
def show(name: Name = None, as_json: AsJson = False) -> None:
    """Show the contracts, or what one contract promises.

    Prints the paths, environment variables, package versions and artifacts of the contract.
    """
    from fusionzoo.contracts import CONTRACTS
    from fusionzoo.contracts.contract_files import find_contract

    if name is None:
        if as_json:
            print_json({known: found.model_dump(mode="json") for known, found in CONTRACTS.items()})
        else:
            rows = [(known, found.entry_point, found.container_type) for known, found in CONTRACTS.items()]
            print_table(("contract", "script", "kind of job"), rows)
        return
    with exit_on_user_error():
        found = find_contract(name)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _print_contract(found)


def _print_contract(found: ScriptContract) -> None:
    from fusionzoo.contracts.contract_tables import list_tables

    print_line(f"{found.entry_point} ({type(found).__name__})")
    facts = {
        "job": found.container_type,
        "framework": found.framework,
        "models": ", ".join(found.model_types),
        "purpose": found.description,
    }
    for label, value in facts.items():
        if value:
            typer.echo(f"  {label:<10} {one_line(value)}")
    for table in list_tables(found):
        typer.echo()
        print_table(table.columns, table.rows, title=table.title)
