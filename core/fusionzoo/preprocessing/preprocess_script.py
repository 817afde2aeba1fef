"""Run the preprocessing as SageMaker expects it of a script, with the arguments of a command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.preprocessing.preprocess_arguments import parse_arguments
from fusionzoo.preprocessing.preprocess_job import preprocess
from fusionzoo.sagemaker import run_script_job
from fusionzoo.sagemaker.script_arguments import print_help, read_command_line
from fusionzoo.settings import JobSettings


def run_preprocess_script(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the job of preprocess.py and return its exit status, 0 or 1; `--help` prints the arguments instead."""
    if {"-h", "--help"} & set(arguments):
        print_help(TABULAR_PREPROCESS_CONTRACT, JobSettings)
        return 0
    return run_preprocess_job(lambda: read_command_line(TABULAR_PREPROCESS_CONTRACT, arguments), environ)


def run_preprocess_job(read_arguments: Callable[[], Mapping[str, str]], environ: Mapping[str, str]) -> int:
    """Run the job with the arguments that a function returns by name, and return its exit status, 0 or 1."""

    def run(root: Path) -> None:
        preprocess(root, parse_arguments(read_arguments()))

    return run_script_job(run, TABULAR_PREPROCESS_CONTRACT, "message", environ)
