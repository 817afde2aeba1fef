"""Pipelines to send to a local server, and what AWS accepts, read from botocore without the code of fusionzoo.

Needs the SageMaker Python SDK: see test_pipeline_sdk.py.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import botocore.session
import pytest
import regex
from moto.server import ThreadedMotoServer

from fusionzoo.contracts import PipelineBuilder, PyTorchTrainingStepBuilder
from fusionzoo.contracts.steps import (
    ModelEvaluationStepBuilder,
    ModelStepSettings,
    ProcessingStepSettings,
    PyTorchModelStepBuilder,
    TabularPreprocessStepBuilder,
    TrainingStepSettings,
)

ROLE, IMAGE = "arn:aws:iam::123456789012:role/fusionzoo", "123456789012.dkr.ecr.us-east-1.amazonaws.com/fusionzoo:1"
RAW = {"raw_data": "s3://bucket/raw"}
SERVICE = botocore.session.Session().get_service_model("sagemaker")
OPERATIONS = {
    "Training": "CreateTrainingJob",
    "Processing": "CreateProcessingJob",
    "Model": "CreateModel",
    "RegisterModel": "CreateModelPackage",
}
GENERATED_NAMES = {"TrainingJobName": "a", "ProcessingJobName": "a", "ModelName": "a"}


def write_scripts(folder: Path) -> Path:
    """Write the scripts of the steps, without code, and return the folder."""
    for name in ("preprocess.py", "evaluate.py", "inference.py", "train.py"):
        (folder / name).write_text(f"# {name}\n")
    return folder


def find_violations(shape: Any, value: Any, place: str = "request") -> Iterator[str]:
    """Yield where a request contradicts a shape. Values that a pipeline computes, such as {"Get": ...}, are skipped."""
    if isinstance(value, dict) and len(value) == 1 and re.match(r"Get$|Std:", next(iter(value))):
        return
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        yield from (f"{place}: no {name}" for name in shape.required_members if name not in value)
        yield from (f"{place}: unknown {name}" for name in value if name not in shape.members)
        for name in value.keys() & shape.members.keys():
            yield from find_violations(shape.members[name], value[name], f"{place}.{name}")
        return
    if kind == "list":
        for item in value:
            yield from find_violations(shape.member, item, f"{place}[]")
    if kind == "map":
        for key, item in value.items():
            yield from find_violations(shape.key, key, f"{place} key")
            yield from find_violations(shape.value, item, f"{place}.{key}")
    if kind == "string":
        assert isinstance(value, str), place
        if "pattern" in limits and not regex.fullmatch(limits["pattern"], value, regex.DOTALL):
            yield f"{place}: {value!r} is not {limits['pattern']}"
        if shape.enum and value not in shape.enum:
            yield f"{place}: {value!r} is no value of {shape.name}"
    size = value if kind in ("integer", "long", "float", "double") else 0 if kind == "boolean" else len(value)
    if not limits.get("min", size) <= size <= limits.get("max", size):
        yield f"{place}: size {size} is not within {limits}"


def find_request_violations(operation: str, request: dict[str, Any]) -> list[str]:
    """Return the violations of a request, and of the requests in its pipeline definition."""
    found = [*find_violations(SERVICE.operation_model(operation).input_shape, request, operation)]
    for step in json.loads(request.get("PipelineDefinition", '{"Steps": []}'))["Steps"]:
        found += find_violations(SERVICE.shape_for("StepName"), step["Name"], "StepName")
        shape = SERVICE.operation_model(OPERATIONS[step["Type"]]).input_shape
        names = {name: value for name, value in GENERATED_NAMES.items() if name in shape.required_members}
        found += find_violations(shape, {**names, **step["Arguments"]}, step["Name"])
    return found


@contextmanager
def serve_aws(patch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Start a server that answers instead of AWS; refuse to look up the names of other machines, and list them."""
    look_up, refused = socket.getaddrinfo, []

    def look_up_local_names(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in (None, "127.0.0.1", "localhost", "::1"):
            refused.append(host)
            raise socket.gaierror(f"{host} is not looked up in tests")
        return look_up(host, *arguments, **options)

    patch.setattr(socket, "getaddrinfo", look_up_local_names)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        patch.setenv(name, value)
    yield refused
    server.stop()


def assemble(
    source: Path,
    train: TrainingStepSettings,
    model: ModelStepSettings,
    arguments: Mapping[str, str] = MappingProxyType({}),
    **pipeline: Any,
) -> PipelineBuilder:
    """Return the builder of a pipeline with all steps; `arguments` are more options of the preprocessing script."""
    evaluate = ProcessingStepSettings(role=ROLE, image_uri=IMAGE, tags={"team": "a"})
    preprocess = evaluate.model_copy(update={"arguments": {"id-name": "id", "label-name": "target", **arguments}})
    return (
        PipelineBuilder(**{"name": "messages", "role": ROLE, **pipeline})
        .add_step(TabularPreprocessStepBuilder(preprocess, source), RAW)
        .add_step(PyTorchTrainingStepBuilder(train, source))
        .add_step(ModelEvaluationStepBuilder(evaluate, source))
        .add_step(PyTorchModelStepBuilder(model, source))
    )


def upsert(session: Any, builder: PipelineBuilder) -> dict[str, Any]:
    """Upsert a pipeline, check all requests, and return the steps that the server holds by name."""
    session.requests.clear()
    builder.upsert(session)
    requests = [(name, params) for service, name, params in session.requests if service == "sagemaker"]
    assert requests[0][0] == "CreatePipeline"
    for name, params in requests:
        assert find_request_violations(name, params) == []
    definition = session.sagemaker_client.describe_pipeline(PipelineName=builder.name)["PipelineDefinition"]
    return {step["Name"]: step for step in json.loads(definition)["Steps"]}
