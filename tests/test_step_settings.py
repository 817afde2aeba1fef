"""The settings of pipeline steps: what SageMaker would refuse or change is an error before anything is sent."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.contracts.steps import (
    LOGGED_METRICS,
    ModelStepSettings,
    ProcessingStepSettings,
    PyTorchTrainingStepBuilder,
    TrainingStepSettings,
    define_metrics,
)
from fusionzoo.contracts.steps.hyperparameter_encoding import encode_hyperparameters
from fusionzoo.contracts.steps.metric_definitions import DEFAULT_TASK, METRICS_BY_TASK
from fusionzoo.errors.step_errors import StepConfigurationError
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.training.monitoring.log_lines import log_metrics
from parsing_helpers import CONTRACT, parse

ROLE = "arn:aws:iam::123456789012:role/fusionzoo"


def find_codes(**changes: Any) -> list[str]:
    """Return the codes of the problems of a training step's settings."""
    settings = TrainingStepSettings(**{"role": ROLE, "image_uri": "image", **changes})
    return [problem.code for problem in settings.find_problems()]


def test_complete_settings_have_no_problems() -> None:
    assert find_codes(hyperparameters={"model_class": "bert", "lr": 2e-5}, tags={"team": "a"}) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"role": ""}, "FZ-W009"),
        ({"role": "fusionzoo"}, "FZ-W021"),
        ({"role": "arn:aws:iam::1:role/fusionzoo"}, "FZ-W021"),
        ({"image_uri": ""}, "FZ-W009"),
        ({"framework_version": "2.5.1"}, "FZ-W008"),
        ({"distribution": "torch_distributed"}, "FZ-W008"),
        ({"hyperparameters": {f"key{i}": i for i in range(101)}}, "FZ-W003"),
        ({"hyperparameters": {"text": "a" * 2499}}, "FZ-W004"),
        ({"hyperparameters": {"text": "\u00e9" * 417}}, "FZ-W004"),
        ({"hyperparameters": {"lr": float("nan")}}, "FZ-W005"),
        ({"hyperparameters": {"path": Path()}}, "FZ-W005"),
        ({"hyperparameters": {"": 1}}, "FZ-W006"),
        ({"hyperparameters": {"a" * 257: 1}}, "FZ-W006"),
        ({"hyperparameters": {"sagemaker_program": "other.py"}}, "FZ-W006"),
        ({"metric_definitions": {"loss": "loss=("}}, "FZ-W007"),
        ({"metric_definitions": {"loss": "loss=.*"}}, "FZ-W007"),
        ({"use_spot_instances": True, "keep_alive_period": 60}, "FZ-W008"),
        ({"max_wait": 86_400}, "FZ-W008"),
        ({"use_spot_instances": True, "max_run": 100, "max_wait": 99}, "FZ-W008"),
        ({"subnets": ["subnet-1"]}, "FZ-W008"),
        ({"tags": {"AWS:team": "a"}}, "FZ-W010"),
    ],
)
def test_each_setting_that_cannot_work_is_a_problem(changes: dict[str, Any], code: str) -> None:
    assert find_codes(**changes) == [code]


def test_values_at_the_limits_are_accepted() -> None:
    assert find_codes(hyperparameters={f"key{i}": i for i in range(100)}) == []
    assert find_codes(hyperparameters={"a" * 256: "a" * 2498}) == []
    assert find_codes(use_spot_instances=True, max_run=100, max_wait=100) == []


def test_the_hyperparameters_that_the_sdk_adds_count() -> None:
    assert find_codes(image_uri="", framework_version="2.5.1", hyperparameters={f"k{i}": i for i in range(94)}) == []
    assert find_codes(image_uri="", framework_version="2.5.1", hyperparameters={f"k{i}": i for i in range(95)}) == [
        "FZ-W003"
    ]


def test_a_registered_model_has_no_tags_of_its_own() -> None:
    settings = ModelStepSettings(role=ROLE, image_uri="image", tags={"a": "b"}, model_package_group="group")
    assert [problem.code for problem in settings.find_problems()] == ["FZ-W008"]


@pytest.mark.parametrize(
    "network", [{"network_isolation": True}, {"subnets": ["subnet-1"], "security_group_ids": ["sg-1"]}]
)
def test_a_registered_model_has_no_network_settings_of_its_own(network: dict[str, Any]) -> None:
    created = ModelStepSettings(role=ROLE, image_uri="image", **network)
    assert list(created.find_problems()) == []
    registered = created.model_copy(update={"model_package_group": "group"})
    assert [problem.code for problem in registered.find_problems()] == ["FZ-W008"]


def test_a_job_reads_the_hyperparameters_that_the_step_was_given() -> None:
    given = {**CONTRACT, "id_name": "007", "label_name": "true", "text_name": 'te\u00e4xt "quoted"', "fp16": None}
    encoded = encode_hyperparameters(given)
    assert all(isinstance(value, str) for value in encoded.values())
    assert parse(encoded).as_flat_dict() == parse(given).as_flat_dict()


def test_the_metric_definitions_are_those_of_the_metrics_that_a_job_logs() -> None:
    """The contracts must not import the tasks, so a task's metrics are in `LOGGED_METRICS` too."""
    evaluated = {f"{split}_{metric}" for split in ("val", "test") for task in TASKS.values() for metric in task.metrics}
    assert set(LOGGED_METRICS) == evaluated | {"train_loss", "val_loss"}
    assert {task: set(names) for task, names in METRICS_BY_TASK.items()} == {
        name: set(task.metrics) for name, task in TASKS.items()
    }
    assert JobSettings.model_fields["task"].default == DEFAULT_TASK
    for task, metrics in METRICS_BY_TASK.items():
        for spelling in (task, f'"{task}"'):  # the SDK may have encoded it
            names = {entry["Name"] for entry in define_metrics({"gate": "gate ([0-9.]+)"}, spelling)}
            logged = {f"{split}_{metric}" for split in ("val", "test") for metric in metrics}
            assert names == logged | {"train_loss", "val_loss", "gate"}
        assert len(names) <= 30, "a user can add ten metrics"
    assert define_metrics({}, object()) == define_metrics({}), "a variable of the pipeline may be any task"
    assert len(define_metrics({})) == len(LOGGED_METRICS) <= 40, "SageMaker accepts 40 metric definitions"


@pytest.mark.parametrize("value", [0.0, 0.123456789, -3.5, 12345678.9])
def test_a_metric_definition_finds_the_value_in_its_log_line_only(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        log_metrics({"val/auroc": value, "val_loss": value + 1})
    (definition,) = [entry for entry in define_metrics({}) if entry["Name"] == "val_auroc"]
    found = re.findall(definition["Regex"], "\n".join(caplog.messages))
    assert [float(text) for text in found] == [pytest.approx(value, abs=1e-6)]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_definition_finds_no_value_that_is_not_a_number(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        log_metrics({"val_loss": value})
    assert caplog.messages
    assert not any(re.search(entry["Regex"], caplog.messages[0]) for entry in define_metrics({}))


def test_a_builder_refuses_the_settings_of_another_kind_of_step() -> None:
    with pytest.raises(StepConfigurationError) as caught:
        PyTorchTrainingStepBuilder(ProcessingStepSettings())  # type: ignore[arg-type]
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == ("FZ-W022", "pytorch_training")
    assert problem.message == "its settings are ProcessingStepSettings, not TrainingStepSettings"
