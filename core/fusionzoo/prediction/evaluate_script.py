"""Run an evaluation as SageMaker expects it of a script: `model.tar.gz` and labeled rows to two output folders."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from fusionzoo.artifacts.model_archive import unpacked_model
from fusionzoo.atomic_files import check_writable
from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.evaluation.metric_text import format_metric_line
from fusionzoo.registry.extras import check_extra
from fusionzoo.sagemaker import run_script_job
from fusionzoo.sagemaker.hosts import read_hosts_file

log = logging.getLogger(__name__)


def run_evaluate_script(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the job of evaluate.py and return its exit status, 0 or 1; `--help` prints the arguments instead."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(_make_parser().format_help())
        return 0
    return run_script_job(lambda root: evaluate_archive(root, arguments), MODEL_EVALUATION_CONTRACT, "message", environ)


def evaluate_archive(root: Path, arguments: Sequence[str]) -> None:
    """Evaluate the model of the archive on the rows, and write metrics, plots and predictions.

    Args:
        root: the folder that is SageMaker's root folder.
        arguments: those of the command line.

    Raises:
        errors.ZooError: something that a user can fix. The output folders are then unchanged.
    """
    given = _make_parser().parse_args(arguments)
    check_extra("evaluate")
    from fusionzoo.prediction.evaluate_job import SPLIT, EvaluateOptions, write_evaluation

    archive, rows, baseline, evaluation, predictions, hosts = (
        root / MODEL_EVALUATION_CONTRACT.relative_path(name)
        for name in ("model", "data", "baseline", "evaluation", "predictions", "resource_config")
    )
    if (found := read_hosts_file(hosts)) is not None and len(found.names) > 1:
        raise PredictionJobError.several_hosts(len(found.names))
    check_writable(evaluation)
    with unpacked_model(archive, evaluation, given.max_expansion) as model:
        options = EvaluateOptions(
            model,
            str(rows),
            evaluation,
            skip_unlabeled=given.skip_unlabeled,
            batch_size=given.batch_size,
            predictions=predictions,
            baseline=baseline if baseline.exists() else None,
        )
        done = write_evaluation(options)
    for name, value in done.metrics.items():
        if value is not None:
            log.info("%s", format_metric_line(f"{SPLIT}_{name}", value))
    for line in done.describe_comparison():
        log.info("%s", line)


class _Parser(argparse.ArgumentParser):
    """Raises an error that becomes the message of the job, where argparse would end the process."""

    def error(self, message: str) -> NoReturn:
        raise PredictionJobError.command_line(message, list(MODEL_EVALUATION_CONTRACT.arguments))


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="evaluate.py", description=MODEL_EVALUATION_CONTRACT.description, allow_abbrev=False)
    parser.add_argument(
        "--skip-unlabeled",
        nargs="?",
        const=True,
        type=_parse_bool,
        default=MODEL_EVALUATION_CONTRACT.arguments["skip-unlabeled"],
        help="true: evaluate the rows with a label if some rows have none; false (the default): refuse such rows.",
    )
    parser.add_argument(
        "--max-expansion",
        type=_parse_factor,
        default=MODEL_EVALUATION_CONTRACT.arguments["max-expansion"],
        help="The bytes of content that each byte of model.tar.gz may have, 200 by default.",
    )
    parser.add_argument(
        "--batch-size",
        type=_parse_count,
        default=MODEL_EVALUATION_CONTRACT.arguments["batch-size"],
        help="The maximum number of rows of a batch, 64 by default.",
    )
    return parser


def _parse_bool(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def _parse_factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return value


def _parse_count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1,000,000")
    return int(text)
