"""Imports the SageMaker Python SDK when a pipeline is built, and only then."""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fusionzoo.errors import step_errors

FIRST_VERSION, FIRST_UNSUPPORTED_VERSION = (2, 215), (3,)


def import_sdk_module(name: str) -> Any:
    """Return a module of the SageMaker Python SDK or of a package that the SDK requires.

    Raises:
        step_errors.MissingSageMakerSDKError: the SDK is not installed, or not of version 2.
    """
    try:
        version = importlib.metadata.version("sagemaker")
    except importlib.metadata.PackageNotFoundError as cause:
        raise step_errors.MissingSageMakerSDKError("it is not installed") from cause
    if not FIRST_VERSION <= _parse(version) < FIRST_UNSUPPORTED_VERSION:
        raise step_errors.MissingSageMakerSDKError(f"version {version} is installed")
    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise step_errors.MissingSageMakerSDKError(cause) from cause


def create_pipeline_session(region: str | None = None, bucket: str | None = None) -> Any:
    """Return a session of the SDK for building pipelines, with the credentials that boto3 finds.

    Args:
        region: the AWS region; by default the one that boto3 finds.
        bucket: the S3 bucket of source code and results; by default sagemaker-REGION-ACCOUNT.

    Raises:
        step_errors.MissingSageMakerSDKError: the SDK is not installed, or not of version 2.
    """
    boto_session = import_sdk_module("boto3").Session(region_name=region)
    context = import_sdk_module("sagemaker.workflow.pipeline_context")
    return context.PipelineSession(boto_session=boto_session, default_bucket=bucket)


@contextmanager
def block_usage_data(session: Any) -> Iterator[None]:
    """Keep the SDK from sending usage data to AWS, with account number and error messages, which is its default.

    The setting applies inside the block only, because with it the SDK validates its whole configuration at each use.
    """
    original = session.sagemaker_config
    config: dict[str, Any] = copy.deepcopy(original) if original else {"SchemaVersion": "1.0"}
    modules = config.setdefault("SageMaker", {}).setdefault("PythonSDK", {}).setdefault("Modules", {})
    modules["TelemetryOptOut"] = True
    session.sagemaker_config = config
    try:
        yield
    finally:
        session.sagemaker_config = original


def _parse(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
