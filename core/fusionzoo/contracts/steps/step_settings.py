"""The settings of the jobs that the steps of a pipeline start. Limits that only AWS knows are checked later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fusionzoo.contracts.steps.hyperparameter_encoding import MAX_SDK_HYPERPARAMETERS, check_hyperparameters
from fusionzoo.contracts.steps.metric_definitions import check_metrics
from fusionzoo.errors import Problem, step_errors

HOUR, DAY = 3600, 86_400
"""In seconds."""
RESERVED_TAG_PREFIX = "aws:"
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)


class StepSettings(BaseModel):
    """What every step has."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str = Field(
        default="", description="The name of the step in the pipeline; by default that of its specification."
    )
    role: str = Field(default="", description="The ARN of the IAM role that the job assumes.")
    image_uri: str = Field(default="", description="The image of the container, such as one of fusionzoo's Dockerfile.")
    tags: dict[str, str] = Field(default={}, description="Tags of what the step creates.")
    environment: dict[str, str] = Field(default={}, description="Environment variables of the container.")
    subnets: list[str] = Field(default=[], description="Subnets of a VPC, for a job without public access.")
    security_group_ids: list[str] = Field(default=[], description="Security groups in the VPC.")
    network_isolation: bool = Field(default=False, description="Whether the container has no network.")

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems that need no SDK to be found."""
        if not self.role:
            yield step_errors.missing_step_setting("role", "give the ARN of a role that may run SageMaker jobs")
        elif not ROLE_ARN.fullmatch(self.role):
            yield step_errors.invalid_role(self.role)
        for key in self.tags:
            if key.lower().startswith(RESERVED_TAG_PREFIX):
                yield step_errors.invalid_tag(key, f"AWS reserves the prefix {RESERVED_TAG_PREFIX}")
        if bool(self.subnets) != bool(self.security_group_ids):
            fix = "give both, or neither of them"
            yield step_errors.contradicting_step_settings("subnets, security_group_ids", "one of them is empty", fix)


class JobStepSettings(StepSettings):
    """What a step has that starts a job on instances of its own."""

    instance_type: str = Field(default="ml.m5.xlarge", description="The type of the instances.")
    instance_count: int = Field(default=1, ge=1, description="The number of instances.")
    volume_size: int = Field(default=30, ge=1, description="The size of each instance's storage in GB.")
    max_run: int = Field(default=DAY, ge=1, description="The longest run time of the job in seconds.")
    volume_kms_key: str = Field(default="", description="The key that encrypts the storage; empty: the key of AWS.")
    output_kms_key: str = Field(default="", description="The key that encrypts the results; empty: the key of AWS.")
    encrypt_traffic: bool = Field(default=False, description="Whether traffic between the instances is encrypted.")


class TrainingStepSettings(JobStepSettings):
    """The settings of a training step. Its image is `image_uri`, or AWS's image of `framework_version`."""

    instance_type: str = Field(default="ml.g5.xlarge", description="The type of the instances.")
    framework_version: str = Field(
        default="", description="The version of PyTorch in AWS's image, such as 2.5.1. The source folder is uploaded."
    )
    py_version: str = Field(default="py311", description="The version of Python in AWS's image.")
    hyperparameters: dict[str, Any] = Field(default={}, description="The settings of the model, as in train.py.")
    content_type: str = Field(default="application/x-parquet", description="The content type of the data channels.")
    input_mode: Literal["File", "FastFile"] = Field(default="File", description="How SageMaker provides the channels.")
    metric_definitions: dict[str, str] = Field(
        default={}, description="More metrics: a regular expression with one group by the name of the metric."
    )
    output_path: str = Field(
        default="", description="The S3 URI of the results; empty: the default bucket of the session."
    )
    checkpoint_s3_uri: str = Field(
        default="", description="The S3 URI of the checkpoints; empty: a folder of the pipeline's execution."
    )
    use_spot_instances: bool = Field(default=False, description="Whether to train on spot instances.")
    max_wait: int | None = Field(
        default=None,
        ge=1,
        description="The longest time in seconds for waiting and running on spot instances; null: max_run.",
    )
    keep_alive_period: int = Field(
        default=0,
        ge=0,
        description="The time in seconds for which a warm pool keeps the instances after the job; 0: none.",
    )
    distribution: Literal["torch_distributed"] | None = Field(
        default=None,
        description="torch_distributed: AWS's image starts torchrun; null: train.py starts its processes itself.",
    )

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems that need no SDK to be found."""
        yield from super().find_problems()
        yield from self._check_image()
        reserved = MAX_SDK_HYPERPARAMETERS if self.framework_version else 0
        yield from check_hyperparameters(self.hyperparameters, reserved)
        yield from check_metrics(self.metric_definitions)
        if self.use_spot_instances and self.keep_alive_period:
            message, fix = "a warm pool cannot consist of spot instances", "set keep_alive_period to 0"
            yield step_errors.contradicting_step_settings("use_spot_instances, keep_alive_period", message, fix)
        if self.max_wait is not None and not self.use_spot_instances:
            message, fix = "max_wait is for spot instances only", "remove it, or set use_spot_instances"
            yield step_errors.contradicting_step_settings("max_wait", message, fix)
        if self.max_wait is not None and self.max_wait < self.max_run:
            message = f"{self.max_wait} s of waiting and running are less than {self.max_run} s of running"
            yield step_errors.contradicting_step_settings("max_wait", message, "set max_wait to max_run or more")

    def _check_image(self) -> Iterator[Problem]:
        name = "image_uri, framework_version"
        if not self.image_uri and not self.framework_version:
            fix = "give image_uri for an image of fusionzoo's Dockerfile, or framework_version for an image of AWS"
            yield step_errors.missing_step_setting(name, fix)
        if self.image_uri and self.framework_version:
            yield step_errors.contradicting_step_settings(name, "both name the image", "remove one of them")
        if self.image_uri and self.distribution:
            message, fix = "only the image of AWS starts torchrun", "remove it: train.py starts its processes itself"
            yield step_errors.contradicting_step_settings("distribution", message, fix)


class ProcessingStepSettings(JobStepSettings):
    """The settings of a processing step."""

    arguments: dict[str, str] = Field(default={}, description="Options of the script, without the leading dashes.")

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems that need no SDK to be found."""
        yield from super().find_problems()
        if not self.image_uri:
            yield step_errors.missing_step_setting("image_uri", "give an image in which fusionzoo is installed")


class ModelStepSettings(StepSettings):
    """The settings of a step that creates a model, or registers it if `model_package_group` is given."""

    model_package_group: str = Field(
        default="", description="The group of the model registry; empty: the model is created."
    )
    approval_status: Literal["PendingManualApproval", "Approved", "Rejected"] = Field(
        default="PendingManualApproval", description="Whether a registered model may be deployed."
    )
    content_types: list[str] = Field(
        default=["text/csv", "application/json", "application/jsonlines", "application/x-parquet"],
        description="What a registered model accepts.",
    )
    response_types: list[str] = Field(
        default=["text/csv", "application/json", "application/jsonlines"],
        description="What a registered model returns.",
    )
    inference_instances: list[str] = Field(
        default=["ml.m5.xlarge"], description="The types of instances on which a registered model runs."
    )

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems that need no SDK to be found."""
        yield from super().find_problems()
        if not self.image_uri:
            yield step_errors.missing_step_setting("image_uri", "give the image that serves the model")
        if self.tags and self.model_package_group:
            message, fix = "the SDK does not tag a registered model", "remove tags, and tag the group of models instead"
            yield step_errors.contradicting_step_settings("tags, model_package_group", message, fix)
        if self.model_package_group and (self.network_isolation or self.subnets):
            names = "network_isolation, subnets, security_group_ids, model_package_group"
            message = "a registered model has no network settings, so that it would be deployed without them"
            fix = "remove them, and give them to CreateModel when the registered model is deployed"
            yield step_errors.contradicting_step_settings(names, message, fix)
