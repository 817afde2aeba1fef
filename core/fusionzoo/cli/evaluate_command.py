"""`fusionzoo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.output import (
    AsJson,
    exit_on_sigterm,
    exit_on_user_error,
    print_json,
    print_line,
    print_table,
)
from fusionzoo.cli.path_option import path_option
from fusionzoo.cli.predict_command import BatchSize, InputFormat, InputOption, ModelOption
from fusionzoo.evaluation.metric_text import format_metric

OutputFolder = Annotated[Path, path_option("--output", "The folder for metrics.json, plots and predictions.")]
SkipUnlabeled = Annotated[
    bool, typer.Option("--skip-unlabeled", help="Evaluate the rows with a label if some rows have none.")
]
Baseline = Annotated[
    Path | None,
    path_option("--baseline", "A file or folder with the predictions of a baseline for the same rows."),
]


def evaluate(
    model: ModelOption,
    input_path: InputOption,
    output: OutputFolder,
    input_format: InputFormat = None,
    skip_unlabeled: SkipUnlabeled = False,
    batch_size: BatchSize = 64,
    baseline: Baseline = None,
    as_json: AsJson = False,
) -> None:
    """Score labeled rows with a trained model, and compare the predictions with the labels.

    Writes the same metrics, plots and predictions as a training job for its test channel.
    """
    with exit_on_user_error(), exit_on_sigterm():
        from fusionzoo.registry.extras import check_extra

        check_extra("evaluate")
        from fusionzoo.library_environment import configure_libraries
        from fusionzoo.prediction.evaluate_job import EvaluateOptions, evaluate_files

        configure_libraries()
        text_format = input_format and input_format.value
        done = evaluate_files(
            EvaluateOptions(model, input_path, output, text_format, skip_unlabeled, batch_size, baseline=baseline)
        )
        if as_json:
            print_json(
                done.metrics if done.comparison is None else {**done.metrics, "baseline": done.comparison.as_json()}
            )
            return
        rows = [(name, format_metric(value)) for name, value in done.metrics.items()]
        print_table(("metric", "value"), rows)
        for line in done.describe_comparison():
            print_line(line)
        typer.echo(output)
