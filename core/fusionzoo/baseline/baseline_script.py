"""Run the training of the baseline as SageMaker expects it of a script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusionzoo.contracts import XGBOOST_TRAIN_CONTRACT
from fusionzoo.local_paths import check_working_folder
from fusionzoo.registry.extras import check_extra
from fusionzoo.sagemaker import Paths, run_script_job


def run_baseline_script(environ: Mapping[str, str]) -> int:
    """Run the job of train_xgboost.py and return its exit status, 0 or 1."""

    def run(root: Path) -> None:
        check_extra("xgboost")
        check_working_folder()
        from fusionzoo.baseline.baseline_job import train_baseline

        train_baseline(Paths.from_environment(environ))

    return run_script_job(run, XGBOOST_TRAIN_CONTRACT, "failure", environ)
