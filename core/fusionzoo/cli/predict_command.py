"""`fusionzoo predict`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusionzoo.cli.output import exit_on_sigterm, exit_on_user_error
from fusionzoo.cli.path_option import path_option
from fusionzoo.cli.standard_output import READER_ENDED_STATUS
from fusionzoo.errors.wording import pluralize

if TYPE_CHECKING:
    from fusionzoo.prediction.predict_job import PredictOptions, PredictSummary, StartEngine
    from fusionzoo.prediction.shards import Shard


class FormatName(str, Enum):
    """The choices of --format and --output-format."""

    __str__ = str.__str__

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"


class EngineName(str, Enum):
    """The choices of --engine."""

    __str__ = str.__str__

    LOCAL = "local"
    RAY = "ray"


ModelOption = Annotated[Path, path_option("--model", "The model folder that a training job wrote.")]
InputOption = Annotated[
    str,
    path_option(
        "--input",
        "A file or a folder of part files, in any format that training reads; - is standard input.",
        takes_stream=True,
    ),
]
OutputOption = Annotated[
    str,
    path_option(
        "--output",
        "The file to write, or for a folder of part files the folder with a file for each; - is standard output.",
        takes_stream=True,
    ),
]
InputFormat = Annotated[
    FormatName | None, typer.Option("--format", help="The format of standard input, or of files without a suffix.")
]
OutputFormat = Annotated[
    FormatName | None,
    typer.Option(
        "--output-format", help="The format to write; by default that of the output's suffix or of the input."
    ),
]
Columns = Annotated[
    str | None, typer.Option(help="Columns of the input to add to the predictions, separated by commas.")
]
NoLabels = Annotated[bool, typer.Option("--no-labels", help="Leave the labels of the input out of the predictions.")]
ErrorsFile = Annotated[
    Path | None,
    path_option("--errors", "Write rows that cannot be scored to this CSV file and score the others."),
]
ShardOption = Annotated[
    str | None, typer.Option("--shard", help="Score one share of the part files, as I/N with I from 1 to N.")
]
EngineOption = Annotated[EngineName, typer.Option(help="Where rows are scored: in this process, or by a Ray cluster.")]
BatchSize = Annotated[int, typer.Option(min=1, help="The maximum number of rows of a batch.")]


def predict(
    model: ModelOption,
    input_path: InputOption,
    output: OutputOption,
    input_format: InputFormat = None,
    output_format: OutputFormat = None,
    columns: Columns = None,
    no_labels: NoLabels = False,
    errors: ErrorsFile = None,
    shard: ShardOption = None,
    engine: EngineOption = EngineName.LOCAL,
    batch_size: BatchSize = 64,
) -> None:
    """Score the rows of files with a trained model.

    Writes the id, the label if there is one, the scores and the decision of each row, in the order of the input. A
    folder is scored file by file; run the command again to continue after an interruption.
    """
    chosen_shard = _parse_shard(shard)
    with exit_on_user_error(), _exit_on_closed_output(), exit_on_sigterm():
        from fusionzoo.prediction.predict_job import PredictOptions, predict_files
        from fusionzoo.prediction.shards import find_host_shard

        options = PredictOptions(
            model=model,
            input=input_path,
            output=output,
            input_format=input_format and input_format.value,
            output_format=output_format and output_format.value,
            columns=tuple(name for name in (columns or "").split(",") if name),
            labels=not no_labels,
            problem_file=errors,
            shard=chosen_shard,
            host=find_host_shard(os.environ, input_path),
        )
        summary = predict_files(options, _choose_engine(engine, options, batch_size))
    _print_summary(summary, options)


@contextmanager
def _exit_on_closed_output() -> Iterator[None]:
    """Exit without a message if the reader of standard output, such as `head`, has ended."""
    from fusionzoo.prediction.standard_streams import ClosedOutputError

    try:
        yield
    except ClosedOutputError as error:
        raise typer.Exit(READER_ENDED_STATUS) from error


def _parse_shard(text: str | None) -> Shard | None:
    from fusionzoo.prediction.shards import Shard

    if text is None:
        return None
    try:
        return Shard.parse(text)
    except ValueError as cause:
        raise typer.BadParameter(str(cause), param_hint="--shard") from cause


def _choose_engine(name: EngineName, options: PredictOptions, batch_size: int) -> StartEngine:
    from fusionzoo.prediction.local_engine import LocalEngine
    from fusionzoo.prediction.ray_engine import start_ray_engine

    if name is EngineName.RAY:
        return lambda predictor: start_ray_engine(options.model, predictor, batch_size)
    return lambda predictor: nullcontext(LocalEngine(predictor, batch_size))


def _print_summary(summary: PredictSummary, options: PredictOptions) -> None:
    """Print what was done to standard error: standard output may have the predictions."""
    parts = [f"{pluralize(summary.rows, 'row')} scored"]
    if summary.rejected:
        parts.append(f"{pluralize(summary.rejected, 'row')} not scored, listed in {options.problem_file}")
    if summary.kept:
        rows = pluralize(summary.kept_rows, "row")
        parts.append(f"{pluralize(summary.kept, 'file')} of an earlier run kept, with {rows}")
    typer.echo(f"{'; '.join(parts)}: {options.output}", err=True)
