"""Jobs that fail, and a way to run a job in a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fusionzoo.sagemaker import run_job
from fusionzoo.sagemaker.paths import Paths


def make_failing_job(error: BaseException) -> Callable[[Paths], None]:
    def job(paths: Paths) -> None:
        raise error

    return job


def run_in_folder(job: Callable[[Paths], None], base: Path) -> tuple[int, str]:
    status = run_job(job, {"SAGEMAKER_BASE_DIR": str(base)})
    failure = base / "output/failure"
    return status, failure.read_text("utf-8") if failure.exists() else ""
