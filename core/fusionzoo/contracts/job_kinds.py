"""The kinds of SageMaker jobs, and the places that each of them mounts into its container."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

SAGEMAKER_ROOT = "/opt/ml"
CHANNELS_FOLDER = "/opt/ml/input/data"
CHANNEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The names that SageMaker's CreateTrainingJob accepts for a channel."""


@dataclass(frozen=True)
class JobKind:
    """What SageMaker mounts into the container of a job, and the limits of its request.

    Attributes:
        container_type: the name of the kind in a contract.
        inputs: files and folders that hold inputs, or whose contents do.
        outputs: files and folders that hold outputs, or whose contents do.
        max_inputs: how many inputs a request may declare, by botocore's service model.
        failure_file: the file with the cause of a failed job that SageMaker shows; None if there is none.
    """

    container_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    max_inputs: int
    failure_file: str | None = None

    def mounts_input(self, path: str) -> bool:
        """Return whether the container finds inputs at the path."""
        return any(is_inside(path, place) for place in self.inputs)

    def mounts_output(self, path: str) -> bool:
        """Return whether SageMaker keeps what a script writes at the path."""
        return any(is_inside(path, place) for place in self.outputs)


JOB_KINDS = MappingProxyType(
    {
        kind.container_type: kind
        for kind in (
            JobKind(
                "SageMaker Training Job",
                ("/opt/ml/input/config", CHANNELS_FOLDER, "/opt/ml/code"),
                (
                    "/opt/ml/model",
                    "/opt/ml/checkpoints",
                    "/opt/ml/output/data",
                    "/opt/ml/output/failure",
                    "/opt/ml/output/tensorboard",
                    "/opt/ml/output/tensors",
                ),
                20,
                "/opt/ml/output/failure",
            ),
            JobKind(
                "SageMaker Processing Job",
                ("/opt/ml/processing", "/opt/ml/config"),
                ("/opt/ml/processing", "/opt/ml/output/message"),
                10,
                "/opt/ml/output/message",
            ),
            JobKind("SageMaker Hosting Endpoint", ("/opt/ml/model",), (), 1),
        )
    }
)
"""Each kind of job by its container type."""


def is_inside(path: str, folder: str) -> bool:
    """Return whether a path is the folder or is in it."""
    return PurePosixPath(path).is_relative_to(folder)


def channel_of(path: str) -> str | None:
    """Return the name of the channel that a path belongs to; "" for the folder of all channels, None elsewhere."""
    if not is_inside(path, CHANNELS_FOLDER):
        return None
    return next(iter(PurePosixPath(path).relative_to(CHANNELS_FOLDER).parts), "")
