"""One of the processes that a job starts on its host: python -m fusionzoo.training.worker."""

from __future__ import annotations

import os
import sys

from fusionzoo.sagemaker.paths import run_job
from fusionzoo.training.launch import run_training

if __name__ == "__main__":
    sys.exit(run_job(run_training, os.environ))
