"""The hosts of a SageMaker processing job, and how the files of an input are distributed over them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT
from fusionzoo.sagemaker.config_files import read_json_object
from fusionzoo.sagemaker.hosts import Hosts, read_hosts_file
from fusionzoo.sagemaker.paths import read_root

JOB_FILE = "processingjobconfig.json"
"""In the folder of the file that lists the hosts. No contract has it, because only `fusionzoo predict` reads it."""


def read_processing_hosts(environ: Mapping[str, str], path: str) -> Hosts | None:
    """Return the hosts that share the files at a path, each of which has a copy of all files.

    None if this is no processing job, or if SageMaker has already divided the files (`ShardedByS3Key`), so that each
    host has files of its own. SAGEMAKER_BASE_DIR replaces the root of all folders, as in a training job.

    Raises:
        errors.ContainerError: a configuration file is damaged, or does not name the current host.
        errors.PathError: SAGEMAKER_BASE_DIR is a URL.
    """
    root = read_root(environ)
    hosts_file = root / MODEL_EVALUATION_CONTRACT.relative_path("resource_config")
    hosts = read_hosts_file(hosts_file)
    if hosts is None or _is_divided(read_json_object(hosts_file.with_name(JOB_FILE)) or {}, path):
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
