"""train.py under torchrun with forked workers, which need not import torch and Lightning again.

As a program, it replaces train.py: `python tests/forking_torchrun.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch.distributed.run
from torch.distributed.launcher.api import LaunchConfig

from fusionzoo.sagemaker import run_job
from fusionzoo.training.launch import run_training


def train() -> None:
    """Do what train.py does."""
    sys.exit(run_job(run_training, os.environ))


def make_torchrun_fork() -> None:
    """Let torchrun, also the one that a job starts, fork its workers from this process for the rest of its life."""
    read_arguments = torch.distributed.run.config_from_args

    def config_from_args(arguments: Any) -> tuple[LaunchConfig, Callable[[], None], list[str]]:
        config, _, _ = read_arguments(arguments)
        return replace(config, start_method="fork"), train, []

    torch.distributed.run.config_from_args = config_from_args


if __name__ == "__main__":
    make_torchrun_fork()
    train()
