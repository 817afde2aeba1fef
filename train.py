"""The SageMaker entry point: train what hyperparameters.json asks for. Arguments are ignored; exits with 0 or 1."""

from __future__ import annotations

import os
import sys

from fusionzoo.sagemaker.paths import Paths, run_job


def job(paths: Paths) -> None:
    from fusionzoo.training.launch import run_training

    run_training(paths)


if __name__ == "__main__":
    sys.exit(run_job(job, os.environ))
