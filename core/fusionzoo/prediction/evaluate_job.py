"""`fusionzoo evaluate`: labeled rows to metrics, plots and predictions. `evaluate_files` is the table of contents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo import errors
from fusionzoo.artifacts.file_names import SETTINGS_FILE
from fusionzoo.artifacts.prediction_stream import write_prediction_blocks
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.atomic_files import check_writable, staged_folder
from fusionzoo.data.model_files import parse_json_object
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import Channel, find_similar_columns
from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.errors.value_problems import MAX_EXAMPLES, RowPlace
from fusionzoo.evaluation.baseline_comparison import BaselineComparison, compare_with_baseline
from fusionzoo.evaluation.model_quality import write_model_quality
from fusionzoo.evaluation.report import METRICS_FILE, Report, ScoredSplit, evaluate
from fusionzoo.evaluation.split_evaluation import Metrics
from fusionzoo.prediction.baseline_predictions import score_with_baseline
from fusionzoo.prediction.input_files import ColumnsRead, InputFiles, choose_columns, open_input, open_part
from fusionzoo.prediction.local_engine import LocalEngine
from fusionzoo.prediction.output_files import PredictionFile, check_apart, convert_list_errors, is_existing_folder
from fusionzoo.prediction.prediction_blocks import BlockMaker
from fusionzoo.prediction.progress_display import Display, show_progress
from fusionzoo.serving.predictor import Predictor
from fusionzoo.tasks.task import Task

SPLIT = "test"
"""The name of the split in the files, as in a job that evaluates the same rows as its test channel."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What the user gives to `fusionzoo evaluate`.

    Attributes:
        model: the model folder.
        input: a file, a folder, or "-" for standard input.
        output: the folder for the metrics, plots and predictions.
        input_format: the format of standard input and of files without a known suffix.
        skip_unlabeled: whether rows without a label are only scored; otherwise they are an error.
        batch_size: the maximum number of rows of a batch.
        predictions: another folder for the predictions.
        baseline: the file or folder with the predictions of a baseline for the same rows.
    """

    model: Path
    input: str
    output: Path
    input_format: str | None = None
    skip_unlabeled: bool = False
    batch_size: int = 64
    predictions: Path | None = None
    baseline: Path | None = None

    @property
    def predictions_folder(self) -> Path:
        """The folder for the predictions."""
        return self.output if self.predictions is None else self.predictions


@dataclass(frozen=True)
class FileEvaluation:
    """What an evaluation found. `comparison` is None without a baseline."""

    task: Task
    report: Report
    comparison: BaselineComparison | None

    @property
    def metrics(self) -> Metrics:
        """The metrics of the model."""
        return self.report.metrics(SPLIT)

    def as_json(self) -> dict[str, Any]:
        """Return the metrics, and the comparison as the entry `baseline`."""
        return {**self.metrics, **({} if self.comparison is None else {"baseline": self.comparison.as_json()})}

    def describe_comparison(self) -> Iterator[str]:
        """Yield one line for each metric that is compared with the baseline."""
        if self.comparison is not None:
            yield from self.comparison.describe(self.task.metrics)


def evaluate_files(options: EvaluateOptions) -> FileEvaluation:
    """Evaluate labeled rows, see `write_evaluation`. The output folder must be new or empty.

    Raises:
        errors.ZooError: something that a user can fix. The output folder has all files or none.
    """
    check_output(options)
    return write_evaluation(options, lambda: check_output(options))  # another evaluation may have written there


@errors.scoring_fixes()
def write_evaluation(options: EvaluateOptions, check_folders: Callable[[], None] | None = None) -> FileEvaluation:
    """Score labeled rows, and write metrics.json, plots and predictions as a training job does for its test channel.

    evaluation.json has the metrics as SageMaker's Model Registry reads them. Memory grows with the rows by their label
    and scores only; with a baseline, by its scores and the ids too. The labels and the baseline are checked before any
    row is scored. `check_folders` is called when all files are ready to be moved to their folders.

    Raises:
        errors.ZooError: something that a user can fix. Each output folder has all of its files or none.
    """
    predictor = Predictor.load(options.model)
    settings, task = predictor.preprocessor.settings, predictor.task
    with open_input(options.input, options.input_format, settings) as inputs:
        columns = choose_columns(inputs, settings, ())
        check_labels(predictor, inputs, columns, options)
        baseline = None if options.baseline is None else score_with_baseline(options.baseline, inputs, columns, task)
        for output in (options.output, options.predictions_folder):
            check_writable(output)
        with (
            staged_folder(options.output, METRICS_FILE) as folder,
            staged_folder(options.predictions_folder) as predictions_folder,  # moved first
            show_progress(1) as display,
        ):
            name = f"{SPLIT}_predictions.{inputs.format}"
            part = PredictionFile(inputs.files, name, predictions_folder / name, inputs.format, False)
            maker = BlockMaker(task, columns, LocalEngine(predictor, options.batch_size))
            scored = write_predictions(part, maker, display)
            report = evaluate({SPLIT: scored}, task, read_heading(options.model, predictor))
            comparison = None if baseline is None else compare(task, scored, baseline)
            report.write(folder, {} if comparison is None else {"baseline": comparison.as_json()}, events=False)
            write_model_quality(folder, report.metrics(SPLIT), task, comparison)
            if check_folders is not None:
                check_folders()
    return FileEvaluation(task, report, comparison)


def compare(task: Task, scored: ScoredSplit, baseline: np.ndarray) -> BaselineComparison:
    """Compare the scores of the model with those of the baseline, [rows, outputs].

    The decision rule of the model was fitted to its own scores, so the baseline has the default rule.
    """
    return compare_with_baseline(type(task)(task.target), scored, baseline)


def check_output(options: EvaluateOptions) -> None:
    """Check that the output folder is new or empty, and apart from the input, the model and the baseline.

    Raises:
        PredictionJobError: it is not.
    """
    check_apart("--output", options.output, "--input", options.input)
    check_apart("--output", options.output, "--model", str(options.model))
    if options.baseline is not None:
        check_apart("--output", options.output, "--baseline", str(options.baseline))
    if is_existing_folder("--output", options.output):
        with convert_list_errors(options.output):
            names = sorted(path.name for path in options.output.iterdir())
        if others := [name for name in names if not name.startswith(".")]:
            raise PredictionJobError.foreign_folder(options.output, others)


def check_labels(predictor: Predictor, inputs: InputFiles, columns: ColumnsRead, options: EvaluateOptions) -> None:
    """Read the labels of all rows, and check them.

    Raises:
        errors.DataError: labels that the model does not know.
        PredictionJobError: there are no rows, or rows without a label.
    """
    if not columns.labels:
        names = predictor.preprocessor.settings.label_columns
        similar = find_similar_columns(Channel("input", inputs.files, tuple(columns.names), tuple(names)))
        raise PredictionJobError.no_label_column(names, similar)
    problems, rows, unlabeled = ProblemLog(), 0, 0
    examples: list[RowPlace] = []
    for block in open_part(inputs.files, columns.labels):
        rows += len(block)
        with problems.collect():
            missing = np.flatnonzero(~find_labeled_rows(predictor.task.target.encode(block, optional=True)))
            unlabeled += len(missing)
            examples = [*examples, *block.locate_first(missing)][:MAX_EXAMPLES]
    problems.raise_if_any()
    if not rows:
        raise PredictionJobError.empty_input(options.input)
    if unlabeled == rows:
        raise PredictionJobError.no_labels()
    if unlabeled and not options.skip_unlabeled:
        raise PredictionJobError.unlabeled_rows(unlabeled, examples)


def write_predictions(part: PredictionFile, maker: BlockMaker, display: Display) -> ScoredSplit:
    """Write the prediction file, and return the labels and scores of all rows."""
    labels: list[np.ndarray] = []
    scores: list[np.ndarray] = []

    def collect(blocks: Iterator[Predictions]) -> Iterator[Predictions]:
        for block in blocks:
            if block.labels is not None:
                labels.append(block.labels)
            scores.append(block.scores)
            display.add_rows(len(block))
            yield block

    part.write(lambda file: write_prediction_blocks(file, part.format, collect(maker.make(part))))
    return ScoredSplit(np.concatenate(labels), np.concatenate(scores))


def read_heading(model: Path, predictor: Predictor) -> str:
    """Return the first line of the plots: the model and what it predicts, as in the plots of the job."""
    path = model / SETTINGS_FILE
    return f"{parse_json_object(path.read_bytes(), path)['model_class']}, {predictor.task.title}"
