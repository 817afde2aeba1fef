"""The hosts of a SageMaker processing job, and how the files of an input are distributed over them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.sagemaker.config_files import read_json_object
from fusionzoo.sagemaker.hosts import Hosts, read_hosts_file

CONFIG_FOLDER = "config"
HOSTS_FILE, JOB_FILE = "resourceconfig.json", "processingjobconfig.json"


def read_processing_hosts(environ: Mapping[str, str], path: str) -> Hosts | None:
    """Return the hosts that share the files at a path, each of which has a copy of all files.

    None if this is no processing job, or if SageMaker has already divided the files (`ShardedByS3Key`), so that each
    host has files of its own. SAGEMAKER_BASE_DIR replaces the root of all folders, as in a training job.

    Raises:
        errors.ContainerError: a configuration file is damaged, or does not name the current host.
    """
    folder = Path(environ.get("SAGEMAKER_BASE_DIR") or SAGEMAKER_ROOT) / CONFIG_FOLDER
    hosts = read_hosts_file(folder / HOSTS_FILE)
    if hosts is None or _is_divided(read_json_object(folder / JOB_FILE) or {}, path):
        return None
    return hosts


def _is_divided(job: Mapping[str, Any], path: str) -> bool:
    """Return whether the input that holds a path has other files on each host."""
    inputs = job.get("ProcessingInputs")
    for declared in inputs if isinstance(inputs, list) else ():
        source = declared.get("S3Input") if isinstance(declared, dict) else None
        local = source.get("LocalPath") if isinstance(source, dict) else None
        if not isinstance(source, dict) or not isinstance(local, str):
            continue
        if PurePosixPath(path).is_relative_to(local) and source.get("S3DataDistributionType") == "ShardedByS3Key":
            return True
    return False
