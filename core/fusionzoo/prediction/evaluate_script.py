"""Run an evaluation as SageMaker expects it of a script: `model.tar.gz` and labeled rows to two output folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusionzoo.artifacts.model_archive import unpacked_model
from fusionzoo.atomic_files import check_writable
from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT
from fusionzoo.evaluation.metric_text import format_metric_line
from fusionzoo.prediction.evaluate_arguments import EvaluateSettings, parse_evaluate_arguments
from fusionzoo.registry.extras import check_extra
from fusionzoo.sagemaker import run_script_job
from fusionzoo.sagemaker.hosts import check_single_host
from fusionzoo.sagemaker.script_arguments import print_help, read_command_line

log = logging.getLogger(__name__)


def run_evaluate_script(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the job of evaluate.py and return its exit status, 0 or 1; `--help` prints the arguments instead."""
    if {"-h", "--help"} & set(arguments):
        print_help(MODEL_EVALUATION_CONTRACT, EvaluateSettings)
        return 0

    def run(root: Path) -> None:
        evaluate_archive(root, parse_evaluate_arguments(read_command_line(MODEL_EVALUATION_CONTRACT, arguments)))

    return run_script_job(run, MODEL_EVALUATION_CONTRACT, "message", environ)


def evaluate_archive(root: Path, settings: EvaluateSettings) -> None:
    """Evaluate the model of the archive on the rows, and write metrics, plots and predictions.

    Args:
        root: the folder that is SageMaker's root folder.
        settings: what the command line gives.

    Raises:
        errors.ZooError: something that a user can fix. The output folders are then unchanged.
    """
    check_extra("evaluate")
    from fusionzoo.prediction.evaluate_job import SPLIT, EvaluateOptions, write_evaluation

    archive, rows, baseline, evaluation, predictions = (
        root / MODEL_EVALUATION_CONTRACT.relative_path(name)
        for name in ("model", "data", "baseline", "evaluation", "predictions")
    )
    check_single_host(root, MODEL_EVALUATION_CONTRACT)
    check_writable(evaluation)
    with unpacked_model(archive, evaluation, settings.max_expansion) as model:
        options = EvaluateOptions(
            model,
            str(rows),
            evaluation,
            skip_unlabeled=settings.skip_unlabeled,
            batch_size=settings.batch_size,
            predictions=predictions,
            baseline=baseline if baseline.exists() else None,
        )
        result = write_evaluation(options)
    for name, value in result.metrics.items():
        if value is not None:
            log.info("%s", format_metric_line(f"{SPLIT}_{name}", value))
    for line in result.describe_comparison():
        log.info("%s", line)
