"""The entry point of a SageMaker processing job: evaluate the model of a training job on labeled rows.

Exits with status 0 or 1. `python evaluate.py --help` lists the arguments.
"""

from __future__ import annotations

import os
import sys

from fusionzoo.prediction.evaluate_script import run_evaluate_script

if __name__ == "__main__":
    sys.exit(run_evaluate_script(sys.argv[1:], os.environ))
