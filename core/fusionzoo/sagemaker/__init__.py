"""What SageMaker defines: the folders of a job, its hosts, and how a job reports its end.

`train.py` uses `Paths` and `run_job`; scripts of one process use `run_script_job`.
"""

from fusionzoo.sagemaker.job_runner import run_job
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.sagemaker.script_job import run_script_job

__all__ = ["Paths", "run_job", "run_script_job"]
