"""The program of each process that torchrun starts: `python -m fusionzoo.training.worker`."""

from __future__ import annotations

import os
import sys

from fusionzoo.process_exit import limit_exit_time
from fusionzoo.sagemaker import run_job
from fusionzoo.training.launch import run_training

if __name__ == "__main__":
    with limit_exit_time():
        sys.exit(run_job(run_training, os.environ))
