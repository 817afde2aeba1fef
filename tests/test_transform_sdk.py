"""The batch transform job in the docs, requested with boto3 from a server on this machine that answers instead of AWS.

Runs in .venv-sagemaker, as test_pipeline_sdk.py; test_batch_transform.py shows what the job does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("moto", reason="moto is installed in .venv-sagemaker only")
import boto3

from aws_requests import IMAGE, ROLE, find_request_violations, serve_aws

PAGE = (Path(__file__).parents[1] / "docs/serving.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```json\n({\n  \"BatchStrategy.*?)```", PAGE, re.DOTALL)


def test_the_batch_transform_job_in_the_docs_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"TransformJobName": "june", "ModelName": "messages"}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    request = {**names, **json.loads(EXAMPLE), "TransformResources": resources}
    assert find_request_violations("CreateTransformJob", request) == []
    with serve_aws(monkeypatch) as looked_up:
        client = boto3.client("sagemaker", region_name="us-east-1")
        client.create_model(ModelName="messages", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE})
        client.create_transform_job(**request)
        held = client.describe_transform_job(TransformJobName="june")
    assert {name: held[name] for name in ("BatchStrategy", "DataProcessing")} == {
        name: request[name] for name in ("BatchStrategy", "DataProcessing")
    }
    assert looked_up == []
