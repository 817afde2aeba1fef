"""The folders and files of a SageMaker training job."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.local_paths import NO_FOLDER, read_path_variable
from fusionzoo.sagemaker.config_files import read_json_object

JOB_ID_VARIABLE, START_VARIABLE = "FUSIONZOO_JOB_ID", "FUSIONZOO_JOB_START"  # set for the processes that a job starts


@dataclass(frozen=True)
class Paths:
    """Where a job reads its inputs and writes its outputs, as `PYTORCH_TRAIN_CONTRACT` states it.

    None of these folders has to exist yet.
    """

    base: Path
    checkpoints: Path
    cache: Path  # of encoded data; it outlives the job if the machine does
    job_id: str = field(default_factory=lambda: secrets.token_hex(8), compare=False)  # the same in all its processes
    started: float = field(default_factory=time.monotonic, compare=False)  # on the clock of this machine

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Paths:
        """Return the paths that SAGEMAKER_BASE_DIR, SM_CHECKPOINT_DIR and FUSIONZOO_CACHE define.

        The default cache folder is `fusionzoo` in XDG_CACHE_HOME, or in `.cache` of HOME. A user without a home folder
        has a cache folder that cannot be created, so that a job holds encoded data in memory.

        Raises:
            errors.PathError: a variable is a URL, or cannot be a path.
        """
        base = read_root(environ)
        checkpoints = base / PYTORCH_TRAIN_CONTRACT.relative_path("checkpoints")
        return cls(
            base,
            read_path_variable(environ, "SM_CHECKPOINT_DIR", checkpoints),
            _find_cache(environ),
            environ.get(JOB_ID_VARIABLE) or secrets.token_hex(8),
            float(environ.get(START_VARIABLE) or time.monotonic()),
        )

    @property
    def hyperparameters(self) -> Path:
        """The hyperparameters that SageMaker writes."""
        return self._locate("config")

    @property
    def channel_hyperparameters(self) -> Path:
        """The hyperparameters in a channel named `config`."""
        return self._locate("config_channel")

    @property
    def code_hyperparameters(self) -> Path:
        """The hyperparameters that ship with the code."""
        return self._locate("config_in_code")

    @property
    def input_data_config(self) -> Path:
        """The file that declares the channels."""
        return self._locate("input_data_config")

    @property
    def resource_config(self) -> Path:
        """The file that lists the hosts."""
        return self._locate("resource_config")

    @property
    def model(self) -> Path:
        """The folder that SageMaker uploads as the model."""
        return self._locate("model_output")

    @property
    def output_data(self) -> Path:
        """The folder of metrics, predictions and logs."""
        return self._locate("data_output")

    @property
    def earlier_run(self) -> Path:
        """The folder of the model and the evaluation of an earlier run, until this run has written its own."""
        return self.output_data / "earlier_run"

    @property
    def failure(self) -> Path:
        """The file that explains why a job failed."""
        return self._locate("failure")

    def channel(self, name: str) -> Path:
        """Return the folder of a channel."""
        return self._locate("train_data").parent / name

    def _locate(self, logical_name: str) -> Path:
        return self.base / PYTORCH_TRAIN_CONTRACT.relative_path(logical_name)

    def read_channel_configs(self) -> dict[str, Any] | None:
        """Return each channel that inputdataconfig.json declares with its configuration; None without that file.

        Raises:
            errors.ContainerError: the file exists, but is not a JSON object.
        """
        return read_json_object(self.input_data_config)


def read_root(environ: Mapping[str, str]) -> Path:
    """Return SageMaker's root folder, which SAGEMAKER_BASE_DIR replaces.

    Raises:
        errors.PathError: the variable is a URL, or cannot be a path.
    """
    return read_path_variable(environ, "SAGEMAKER_BASE_DIR", SAGEMAKER_ROOT)


def _find_cache(environ: Mapping[str, str]) -> Path:
    for name, folder in (("FUSIONZOO_CACHE", ""), ("XDG_CACHE_HOME", "fusionzoo")):
        if environ.get(name):
            return read_path_variable(environ, name, NO_FOLDER) / folder
    try:
        return Path(environ.get("HOME") or Path.home()) / ".cache/fusionzoo"
    except RuntimeError:  # HOME is not set, and the user is not in the password database
        return NO_FOLDER / "fusionzoo"
