"""The tasks that a plugin supports: its declaration, jobs of other tasks, and what `list` and `show` say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cli_helpers import invoke
from fusionzoo.architecture import choose_architecture
from fusionzoo.errors import BrokenPluginError, HyperparametersError
from fusionzoo.registry import MODELS_GROUP, Provider, Registry, task_support
from fusionzoo.registry.isolated_import import ImportResult
from fusionzoo.settings import ALL_TASKS
from registry_helpers import ENCODER_HOOK, VALID

if TYPE_CHECKING:
    from conftest import Installer

REGRESSION = {"task": "regression", "label_name": "y", "text_name": "t", "cat_field_list": ["c"]}


@pytest.fixture(autouse=True)
def _only_small_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import the plugins of this file only in fresh processes: torch and transformers take many seconds."""
    load = task_support.load_providers

    def load_small(providers: Sequence[Provider]) -> list[ImportResult]:
        return load([provider for provider in providers if provider.distribution.startswith("acme-")])

    monkeypatch.setattr(task_support, "load_providers", load_small)


def declare(tasks: str) -> str:
    """Return the source of a plugin that declares these tasks."""
    return VALID.replace("width: int = 8", f"width: int = 8\n    tasks = {tasks}") + ENCODER_HOOK


@pytest.mark.parametrize("tasks", ["frozenset()", "frozenset({'ranking'})", "'regression'", "None", "['regression']"])
def test_a_wrong_declaration_is_an_error_that_names_the_plugin_and_the_tasks(install: Installer, tasks: str) -> None:
    install("acme-bad", models=["bad"], source=declare(tasks))
    with pytest.raises(BrokenPluginError) as caught:
        _ = Registry.discover(MODELS_GROUP).load("bad").settings_class
    message = str(caught.value)
    assert "from acme-bad 1.0 (acme_bad) is broken: `tasks` of its settings is " in message
    assert f"not a set of one or more of {', '.join(sorted(ALL_TASKS))}" in message
    assert "FZ-P035" in message


def test_a_job_of_another_task_is_refused_with_the_models_that_support_it(install: Installer) -> None:
    install("acme-classes", models=["classes_only"], source=declare("frozenset({'classification'})"))
    install("acme-all", models=["all_tasks"], source=VALID)
    install("acme-broken", models=["broken"], source="import os; os._exit(3)")
    assert choose_architecture({**REGRESSION, "model_class": "all_tasks"}).job.task == "regression"
    with pytest.raises(HyperparametersError) as caught:
        choose_architecture({**REGRESSION, "model_class": "classes_only"})
    message = str(caught.value)
    assert "task = \"regression\": model_class 'classes_only' supports task classification only" in message
    assert "set model_class to one that supports regression: all_tasks; or set task: classification" in message
    classification = {**REGRESSION, "task": "classification", "num_classes": 2, "model_class": "classes_only"}
    assert choose_architecture(classification).job.task == "classification"
    assert choose_architecture({**classification, "task": None}).job.task == "classification"


def test_a_text_encoder_declares_its_tasks_too(install: Installer) -> None:
    install("acme-words", text_encoders=["words"], source=declare("frozenset({'classification'})"))
    install("acme-numbers", text_encoders=["numbers"], source=VALID + ENCODER_HOOK)
    with pytest.raises(HyperparametersError, match="text_encoder 'words' supports task classification only") as caught:
        choose_architecture({**REGRESSION, "model_class": "multimodal_gate_fusion", "text_encoder": "words"})
    assert "set text_encoder to one that supports regression: numbers" in str(caught.value)


def test_list_and_show_say_which_tasks_a_plugin_supports(install: Installer, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-numbers", models=["numbers"], source=declare("frozenset({'regression'})"))
    install("acme-broken", models=["broken"], source="raise RuntimeError('no')")
    monkeypatch.setattr(Registry, "discover", partial(Registry.discover, path=[str(install.folder)]))
    done = invoke("list", "--tasks")
    assert re.search(r"^model_class +numbers +acme-numbers +1\.0 +regression$", done.stdout, re.MULTILINE)
    rows = {row["name"]: row for row in json.loads(invoke("list", "--tasks", "--json").stdout)}
    assert rows["broken"]["tasks"] == "unknown"
    assert "RuntimeError: no" in rows["broken"]["note"]
    assert "tasks" not in json.loads(invoke("list", "--json").stdout)[0]
    assert "tasks         regression\n" in invoke("show", "numbers").stdout
    (shown,) = json.loads(invoke("show", "numbers", "--json").stdout)
    assert shown["tasks"] == ["regression"]
