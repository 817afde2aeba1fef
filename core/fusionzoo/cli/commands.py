"""All commands, by their names."""

from __future__ import annotations

from fusionzoo.cli.check_command import check
from fusionzoo.cli.contract_command import contract
from fusionzoo.cli.doctor_command import doctor
from fusionzoo.cli.evaluate_command import evaluate
from fusionzoo.cli.job_commands import demo, train
from fusionzoo.cli.list_command import list_plugins
from fusionzoo.cli.new_command import new
from fusionzoo.cli.package_command import package
from fusionzoo.cli.predict_command import predict
from fusionzoo.cli.preprocess_command import preprocess
from fusionzoo.cli.serve_command import serve
from fusionzoo.cli.show_command import show
from fusionzoo.cli.single_options import SingleOptionsTyper

app = SingleOptionsTyper(
    help="Train and serve models over text and tabular data.",
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
app.command()(preprocess)
app.command()(train)
app.command()(predict)
app.command()(evaluate)
app.command()(package)
app.command()(serve)
app.add_typer(contract, name="contract")
