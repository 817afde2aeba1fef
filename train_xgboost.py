"""The entry point of a SageMaker training job that trains XGBoost as a baseline. Exits with status 0 or 1.

It reads the hyperparameters.json and the channels of train.py. Command-line arguments are ignored.
"""

from __future__ import annotations

import os
import sys

from fusionzoo.baseline.baseline_script import run_baseline_script

if __name__ == "__main__":
    sys.exit(run_baseline_script(os.environ))
