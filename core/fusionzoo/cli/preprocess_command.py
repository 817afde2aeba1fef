"""`fusionzoo preprocess`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.first_process import restore_sigterm
from fusionzoo.cli.job_commands import ROOT_OPTION, make_environment

LabelName = Annotated[str, typer.Option(help="Column to predict; several as a JSON list.")]
IdName = Annotated[str | None, typer.Option(help="Column that identifies a row.")]
GroupField = Annotated[
    str | None, typer.Option(help="Column, such as a customer id: rows with equal values go into one split.")
]
ValFraction = Annotated[str | None, typer.Option(metavar="FLOAT", help="Share of the rows in val; 0: no val. [0.1]")]
TestFraction = Annotated[str | None, typer.Option(metavar="FLOAT", help="Share of the rows in test; 0: no test. [0.1]")]
Seed = Annotated[str | None, typer.Option(metavar="INTEGER", help="Random seed of the splits. [42]")]
Task = Annotated[str | None, typer.Option(help="classification, multilabel or regression. [classification]")]
LabelSeparator = Annotated[str | None, typer.Option(help="Text between two labels of task multilabel.")]
Delimiter = Annotated[str | None, typer.Option(help="Delimiter of CSV files. [,]")]
Quote = Annotated[str | None, typer.Option(help="Character that encloses values of CSV and TSV files.")]
Escape = Annotated[str | None, typer.Option(help="Character that makes a quote part of a value.")]
Header = Annotated[
    str | None, typer.Option(help="Whether the first line has the column names: true, false, or a JSON list of names.")
]


def preprocess(
    label_name: LabelName,
    id_name: IdName = None,
    group_field: GroupField = None,
    val_fraction: ValFraction = None,
    test_fraction: TestFraction = None,
    seed: Seed = None,
    task: Task = None,
    label_separator: LabelSeparator = None,
    csv_delimiter: Delimiter = None,
    csv_quote: Quote = None,
    csv_escape: Escape = None,
    csv_header: Header = None,
    root: Annotated[Path | None, ROOT_OPTION] = None,
) -> None:
    """Split raw rows into the channels of a training job, and report their columns.

    The same as preprocess.py with SAGEMAKER_BASE_DIR set to the folder of --root: reads processing/input below it, and
    writes processing/train, val, test and report.
    """
    options = {name.replace("_", "-"): value for name, value in locals().items() if name != "root"}
    given = {name: text for name, text in options.items() if text is not None}
    from fusionzoo.preprocessing.preprocess_script import run_preprocess_job

    restore_sigterm()
    raise typer.Exit(run_preprocess_job(lambda: given, make_environment(root)))
