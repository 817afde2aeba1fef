"""The programs of docs/deploy.md run against a local server that answers as AWS, with requests within its limits.

Needs boto3 and moto: test_pipeline_builder.py runs these tests in .venv-sagemaker; elsewhere they are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto", reason="moto is installed in .venv-sagemaker only")
import boto3
import botocore.client

from aws_requests import find_request_violations, serve_aws
from page_commands import read_blocks

PAGE = Path(__file__).parents[1] / "docs/deploy.md"
CALLS = [
    "CreateTrainingJob",
    "DescribeTrainingJob",
    "CreateModel",
    "CreateEndpointConfig",
    "CreateEndpoint",
    "CreateTransformJob",
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Answer requests to AWS on this machine, and list them."""
    made: list[tuple[str, dict[str, Any]]] = []
    send = botocore.client.BaseClient._make_api_call

    def record(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        made.append((operation, parameters))
        return send(client, operation, parameters)

    monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", record)
    with serve_aws(monkeypatch):
        yield made


def test_the_programs_train_deploy_and_transform(calls: list[tuple[str, dict[str, Any]]]) -> None:
    programs = read_blocks(PAGE, "python")
    namespace: dict[str, Any] = {}
    exec("\n".join(programs), namespace)
    names = [name for name, _ in calls]
    assert [name for name in CALLS if name not in names] == []
    assert "InvokeEndpoint" in names
    for operation, parameters in calls:
        if operation != "InvokeEndpoint":
            assert find_request_violations(operation, parameters) == []
    (endpoint,) = boto3.client("sagemaker", region_name="us-east-1").list_endpoints()["Endpoints"]
    assert endpoint["EndpointName"] == "messages"
