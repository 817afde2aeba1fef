"""Pipelines built with the SageMaker Python SDK: every request to AWS is within the limits of SageMaker.

A moto server on this machine answers the requests. `make install` creates .venv-sagemaker, in which
test_pipeline_builder.py runs these tests; in another environment they are skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sagemaker", reason="the SDK is installed in .venv-sagemaker only")
from sagemaker.workflow.parameters import ParameterString

from aws_requests import IMAGE, ROLE, assemble, find_request_violations, serve_aws, upsert, write_scripts
from fusionzoo.contracts import PipelineBuilder, PyTorchTrainingStepBuilder
from fusionzoo.contracts.steps import (
    STEP_SPECIFICATIONS,
    ModelStepSettings,
    StepBuilderBase,
    TrainingStepSettings,
    create_pipeline_session,
    define_metrics,
)
from fusionzoo.contracts.steps.pipeline_builder import _read_property
from fusionzoo.contracts.validation_report import ValidationReport
from fusionzoo.errors.step_errors import StepConfigurationError

ROOT = Path(__file__).parents[1]
CHANNELS = {"train_data": "s3://bucket/train", "val_data": "s3://bucket/val"}
DEFINED = define_metrics({}, "classification")
HYPERPARAMETERS = {"model_class": "bert", "id_name": "007", "class_weights": [1.0, 2.0], "fp16": True, "lr": None}


# --- the local server


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(scope="module", autouse=True)
def connections(patch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Answer requests to AWS on this machine, and list the names of other machines that are looked up."""
    with serve_aws(patch) as looked_up:
        yield looked_up


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scripts(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module", autouse=True)
def compliant_scripts(patch: pytest.MonkeyPatch) -> None:
    """Let the empty scripts comply: their validation takes seconds, and test_pipeline_builder.py tests it."""
    patch.setattr(StepBuilderBase, "validate_script", lambda self: ValidationReport(self.script.name, self.name))


@pytest.fixture(scope="module")
def session() -> Any:
    """A session that records its requests to SageMaker and S3 in `requests`."""
    session = create_pipeline_session("us-east-1", "bucket")
    session.requests = []

    def record(params: dict[str, Any], model: Any, **_: Any) -> None:
        session.requests.append((model.service_model.service_name, model.name, dict(params)))

    session.boto_session.events.register("before-parameter-build", record)
    session.sagemaker_client.meta.events.register("before-parameter-build", record)
    return session


@pytest.fixture(scope="module")
def steps(session: Any, source: Path) -> dict[str, Any]:
    """The steps of a pipeline with an image of fusionzoo, after it was created and updated."""
    train = TrainingStepSettings(
        role=ROLE, image_uri=IMAGE, hyperparameters=HYPERPARAMETERS, keep_alive_period=1800, tags={"team": "a"}
    )
    model = ModelStepSettings(role=ROLE, image_uri=IMAGE, tags={"team": "a"}, environment={"WORKERS": "2"})
    builder = assemble(source, train, model, tags={"team": "a"}, description="Messages of buyers")
    created = upsert(session, builder)
    assert upsert(session, builder) == created
    names = [name for service, name, _ in session.requests if service == "sagemaker"]
    assert names == ["CreatePipeline", "UpdatePipeline", "AddTags", "DescribePipeline"], "it exists already"
    return created


@pytest.fixture(scope="module")
def aws_steps(session: Any, source: Path) -> dict[str, Any]:
    """The steps of a pipeline with AWS's image, torchrun, spot instances, a network and the model registry."""
    network: dict[str, Any] = {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}
    train = TrainingStepSettings(
        role=ROLE,
        framework_version="2.5.1",
        instance_count=2,
        distribution="torch_distributed",
        use_spot_instances=True,
        max_run=3600,
        max_wait=7200,
        hyperparameters=HYPERPARAMETERS,
        metric_definitions={"gate": "gate ([0-9.]+)"},
        checkpoint_s3_uri="s3://bucket/checkpoints",
        output_path="s3://bucket/output",
        content_type="text/csv",
        input_mode="FastFile",
        encrypt_traffic=True,
        **network,
    )
    model = ModelStepSettings(role=ROLE, image_uri=IMAGE, model_package_group="messages")
    return upsert(session, assemble(source, train, model, name="messages-aws"))


# --- requests


def test_the_pipeline_preprocesses_trains_evaluates_and_creates_the_model(steps: dict[str, Any]) -> None:
    assert {name: step["Type"] for name, step in steps.items()} == {
        "tabular_preprocess": "Processing",
        "pytorch_training": "Training",
        "model_evaluation": "Processing",
        "pytorch_model-CreateModel": "Model",
    }


def test_each_container_path_is_that_of_the_contract(steps: dict[str, Any]) -> None:
    training = steps["pytorch_training"]["Arguments"]
    contract = STEP_SPECIFICATIONS["pytorch_training"].contract
    assert training["CheckpointConfig"]["LocalPath"] == contract.expected_output_paths["checkpoints"]
    channels = {f"/opt/ml/input/data/{channel['ChannelName']}" for channel in training["InputDataConfig"]}
    assert channels == {contract.expected_input_paths[name] for name in ("train_data", "val_data", "test_data")}
    for name in ("tabular_preprocess", "model_evaluation"):
        specification, arguments = STEP_SPECIFICATIONS[name], steps[name]["Arguments"]
        inputs = {item["InputName"]: item["S3Input"]["LocalPath"] for item in arguments["ProcessingInputs"]}
        code = inputs.pop("code")
        assert inputs == {n: d.folder for n, d in specification.dependencies.items() if d.is_required}
        outputs = arguments["ProcessingOutputConfig"]["Outputs"]
        written = {item["OutputName"]: item["S3Output"]["LocalPath"] for item in outputs}
        expected = {n: output.path for n, output in specification.outputs.items() if n != "message"}
        assert written == expected
        folders = [code, *inputs.values(), *written.values()]
        assert not [a for a in folders for b in folders if a != b and Path(a).is_relative_to(b)], "none is in another"
        assert arguments["AppSpecification"]["ContainerEntrypoint"] == [
            "python",
            f"{code}/{specification.contract.entry_point}",
        ]


def test_each_input_comes_from_the_property_that_the_specification_names(steps: dict[str, Any]) -> None:
    training = steps["pytorch_training"]["Arguments"]["InputDataConfig"]
    uris = {channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]["Get"] for channel in training}
    property_path = "Steps.tabular_preprocess.ProcessingOutputConfig.Outputs['{}_data'].S3Output.S3Uri"
    assert uris == {name: property_path.format(name) for name in ("train", "val", "test")}
    model = steps["pytorch_model-CreateModel"]["Arguments"]["PrimaryContainer"]
    assert model["ModelDataUrl"] == {"Get": "Steps.pytorch_training.ModelArtifacts.S3ModelArtifacts"}


def test_the_properties_of_every_output_exist_in_the_sdk(session: Any, source: Path) -> None:
    model = ModelStepSettings(role=ROLE, image_uri=IMAGE)
    pipeline = assemble(source, TrainingStepSettings(role=ROLE, image_uri=IMAGE), model).build(session)
    for step in pipeline.steps:
        for output in STEP_SPECIFICATIONS[step.name].outputs.values():
            found = _read_property(step, output.property_path)
            assert found.expr["Get"].endswith(output.property_path.removeprefix("properties"))


def test_the_training_job_has_the_settings_of_the_step(steps: dict[str, Any], aws_steps: dict[str, Any]) -> None:
    own, aws = (found["pytorch_training"]["Arguments"] for found in (steps, aws_steps))
    assert own["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 1800
    assert {"Key": "team", "Value": "a"} in own["Tags"]
    assert own["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert not own.get("EnableManagedSpotTraining")
    assert aws["EnableManagedSpotTraining"] is True
    assert aws["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
    assert "pytorch-training:2.5.1-gpu-py311" in aws["AlgorithmSpecification"]["TrainingImage"]
    assert aws["HyperParameters"]["sagemaker_torch_distributed_enabled"] == "true"
    assert aws["CheckpointConfig"] == {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    assert {channel["ContentType"] for channel in aws["InputDataConfig"]} == {"text/csv"}
    assert {channel["InputMode"] for channel in aws["InputDataConfig"]} == {"FastFile"}
    assert {"Name": "gate", "Regex": "gate ([0-9.]+)"} in aws["AlgorithmSpecification"]["MetricDefinitions"]
    assert aws["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert aws["EnableInterContainerTrafficEncryption"] is True


def test_checkpoints_belong_to_one_execution_of_the_pipeline(steps: dict[str, Any]) -> None:
    uri = steps["pytorch_training"]["Arguments"]["CheckpointConfig"]["S3Uri"]["Std:Join"]
    assert {"Get": "Execution.PipelineExecutionId"} in uri["Values"]
    assert uri["Values"][0] == "s3://bucket"


def test_both_images_get_the_same_hyperparameters(steps: dict[str, Any], aws_steps: dict[str, Any]) -> None:
    own, aws = (found["pytorch_training"]["Arguments"]["HyperParameters"] for found in (steps, aws_steps))
    assert {name: json.loads(value) for name, value in own.items()} == HYPERPARAMETERS
    assert {name: value for name, value in aws.items() if not name.startswith("sagemaker_")} == own


def test_the_model_is_registered_in_the_group(aws_steps: dict[str, Any]) -> None:
    request = aws_steps["pytorch_model-RegisterModel"]["Arguments"]
    assert request["ModelPackageGroupName"] == "messages"
    assert request["ModelApprovalStatus"] == "PendingManualApproval"


def test_nothing_is_sent_to_other_machines(
    steps: dict[str, Any], aws_steps: dict[str, Any], connections: list[object]
) -> None:
    """The SDK sends usage data by default, and hides that a connection for it fails."""
    assert steps
    assert aws_steps
    assert connections == []


def test_an_input_can_be_a_parameter_of_the_pipeline(session: Any, source: Path) -> None:
    parameter = ParameterString(name="TrainData", default_value="s3://bucket/train")
    builder = PipelineBuilder("parameters", ROLE, parameters=[parameter]).add_step(
        PyTorchTrainingStepBuilder(TrainingStepSettings(role=ROLE, image_uri=IMAGE), source),
        {**CHANNELS, "train_data": parameter},
    )
    (train, _) = upsert(session, builder)["pytorch_training"]["Arguments"]["InputDataConfig"]
    assert train["DataSource"]["S3DataSource"]["S3Uri"] == {"Get": "Parameters.TrainData"}


# --- limits


@pytest.mark.parametrize(
    ("pipeline", "train", "place"),
    [
        ({"name": "a" * 257}, {}, "PipelineName"),
        ({"name": "messages_of_buyers"}, {}, "PipelineName"),
        ({"name": "-a"}, {}, "PipelineName"),
        ({"role": "arn:aws:iam::1:role/a"}, {}, "RoleArn"),
        ({"description": "a" * 3073}, {}, "PipelineDescription"),
        ({"tags": {f"key{i}": "" for i in range(51)}}, {}, "Tags"),
        ({"tags": {"a#b": ""}}, {}, "Key"),
        ({}, {"name": "train step"}, "name"),
        ({}, {"name": "a" * 65}, "name"),
        ({}, {"tags": {f"key{i}": "" for i in range(51)}}, "Tags"),
        ({}, {"tags": {"": "a"}}, "Key"),
        ({}, {"tags": {"a": "a" * 257}}, "Value"),
        ({}, {"instance_type": "ml.g99.huge"}, "InstanceType"),
        ({}, {"keep_alive_period": 21_601}, "KeepAlivePeriodInSeconds"),
        ({}, {"environment": {f"KEY{i}": "" for i in range(101)}}, "Environment"),
        ({}, {"environment": {"1KEY": ""}}, "Environment"),
        ({}, {"environment": {"KEY": "a" * 513}}, "Environment"),
        ({}, {"metric_definitions": {"m": f"({'a' * 500})"}}, "Regex"),
        ({}, {"metric_definitions": {f"m{i}": "(a)" for i in range(41 - len(DEFINED))}}, "MetricDefinitions"),
        ({}, {"metric_definitions": {"m" * 256: "(a)"}}, "Name"),
        ({}, {"content_type": "a" * 257}, "ContentType"),
        ({}, {"image_uri": "a" * 256}, "TrainingImage"),
        ({}, {"checkpoint_s3_uri": "bucket/checkpoints"}, "S3Uri"),
        ({}, {"subnets": ["subnet 1"], "security_group_ids": ["sg-1"]}, "Subnets"),
        ({}, {"subnets": [f"subnet-{i}" for i in range(17)], "security_group_ids": ["sg-1"]}, "Subnets"),
    ],
)
def test_a_request_that_aws_would_refuse_is_an_error_before_it_is_sent(
    session: Any, source: Path, pipeline: dict[str, Any], train: dict[str, Any], place: str
) -> None:
    settings = TrainingStepSettings(**{"role": ROLE, "image_uri": IMAGE, **train})
    builder = PipelineBuilder(**{"name": "limits", "role": ROLE, **pipeline}).add_step(
        PyTorchTrainingStepBuilder(settings, source), CHANNELS
    )
    session.requests.clear()
    with pytest.raises(StepConfigurationError) as error:
        builder.upsert(session)
    assert {problem.code for problem in error.value.problems} == {"FZ-W002"}
    assert all(re.search(rf"\b{place}\b", str(problem)) for problem in error.value.problems)
    assert [name for service, name, _ in session.requests if service == "sagemaker"] == []


@pytest.mark.parametrize(
    ("arguments", "model", "place"),
    [
        ({"group-field": "a" * 257}, {}, "ContainerArguments"),
        ({}, {"model_package_group": "buyer messages"}, "ModelPackageGroupName"),
        ({}, {"model_package_group": "g", "inference_instances": ["ml.g99.huge"]}, "InferenceSpecification"),
        ({}, {"name": "model_" * 9}, "name"),
        ({}, {"environment": {"KEY": "a" * 1025}}, "Environment"),
    ],
)
def test_the_requests_of_the_other_steps_are_checked_too(
    session: Any, source: Path, arguments: dict[str, str], model: dict[str, Any], place: str
) -> None:
    builder = assemble(
        source,
        TrainingStepSettings(role=ROLE, image_uri=IMAGE),
        ModelStepSettings(**{"role": ROLE, "image_uri": IMAGE, **model}),
        arguments=arguments,
    )
    with pytest.raises(StepConfigurationError) as error:
        builder.build(session)
    assert all(re.search(rf"\b{place}\b", str(problem)) for problem in error.value.problems)


def test_values_at_the_limits_are_sent(session: Any, source: Path) -> None:
    settings = TrainingStepSettings(
        role=ROLE,
        image_uri=IMAGE,
        name="a" * 64,
        hyperparameters={f"k{i}": "a" * 2498 for i in range(100)},
        metric_definitions={f"m{i}": f"({'a' * 498})" for i in range(40 - len(DEFINED))},
        tags={f"k\u00e9y {i}": "a" * 256 for i in range(50)},
        environment={f"KEY{i}": "a" * 512 for i in range(100)},
        keep_alive_period=21_600,
    )
    builder = PipelineBuilder("a" * 256, ROLE, description="a" * 3072).add_step(
        PyTorchTrainingStepBuilder(settings, source), CHANNELS
    )
    assert upsert(session, builder).keys() == {"a" * 64}


def test_what_the_sdk_refuses_is_an_error_of_the_step(session: Any, source: Path) -> None:
    settings = TrainingStepSettings(
        role=ROLE, framework_version="2.5.1", distribution="torch_distributed", instance_type="ml.m5.xlarge"
    )
    with pytest.raises(StepConfigurationError, match="supported only for GPU and Trainium instances"):
        PyTorchTrainingStepBuilder(settings, source).create_step(CHANNELS, session)


# --- documentation


def test_the_example_in_the_docs_runs(session: Any, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/pipelines.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(source)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    exec(example, {})
    held = session.sagemaker_client.describe_pipeline(PipelineName="buyer-seller-messages")["PipelineDefinition"]
    assert (
        find_request_violations(
            "CreatePipeline",
            {
                "PipelineName": "buyer-seller-messages",
                "PipelineDefinition": held,
                "ClientRequestToken": "0" * 32,
                "RoleArn": ROLE,
            },
        )
        == []
    )
