"""The SageMaker entry point: train the model that hyperparameters.json describes. Exits with status 0 or 1.

Command-line arguments are ignored.
"""

from __future__ import annotations

import os
import sys

from fusionzoo.process_exit import limit_exit_time
from fusionzoo.sagemaker import Paths, run_job


def train(paths: Paths) -> None:
    from fusionzoo.registry.extras import check_extra

    check_extra("train")
    from fusionzoo.training.launch import run_training  # imports torch: run_job reports its errors, too

    run_training(paths)


if __name__ == "__main__":
    with limit_exit_time():
        sys.exit(run_job(train, os.environ))
