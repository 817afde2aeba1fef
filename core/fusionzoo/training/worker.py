"""The program of each process that torchrun starts: `python -m fusionzoo.training.worker`."""

from __future__ import annotations

import os
import sys

from fusionzoo.sagemaker import run_job
from fusionzoo.training.launch import run_training

if __name__ == "__main__":
    sys.exit(run_job(run_training, os.environ))
