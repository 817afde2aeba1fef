"""What SageMaker defines: the folders of a job, its hosts, and how a job reports its end.

`train.py` uses `Paths` and `run_job`.
"""

from fusionzoo.sagemaker.job_runner import run_job
from fusionzoo.sagemaker.paths import Paths

__all__ = ["Paths", "run_job"]
