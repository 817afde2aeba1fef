"""The entry point of a SageMaker processing job: split raw rows into the channels of a training job.

Exits with status 0 or 1. `python preprocess.py --help` lists the arguments.
"""

from __future__ import annotations

import os
import sys

from fusionzoo.preprocessing.preprocess_script import run_preprocess_script

if __name__ == "__main__":
    sys.exit(run_preprocess_script(sys.argv[1:], os.environ))
