"""The command line: what is installed, what it is, whether it is sound; a new plugin; training.

On a terminal it draws tables, in a pipe it writes plain text, and with `--json` one JSON document. It ends with
status 0, with 1 where something is wrong, and with 2 where the command itself is.
"""

from __future__ import annotations

import typer

from fusionzoo.cli.check_command import check
from fusionzoo.cli.doctor_command import doctor
from fusionzoo.cli.job_commands import demo, train
from fusionzoo.cli.list_command import list_plugins
from fusionzoo.cli.new_command import new
from fusionzoo.cli.show_command import show

app = typer.Typer(
    help="Train, trust and ship classifiers over text and a table side by side.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command("list")(list_plugins)
app.command()(show)
app.command()(check)
app.command()(doctor)
app.command()(new)
app.command()(demo)
app.command()(train)
