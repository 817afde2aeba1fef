"""Functions of SageMaker's toolkits and of `pydantic-settings` that say where a job has its files."""

from __future__ import annotations

from collections.abc import Callable

from fusionzoo.contracts.static.builtin_functions import DICT
from fusionzoo.contracts.static.environment import read_variable
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.reflection_functions import from_object
from fusionzoo.contracts.static.values import UNKNOWN, Class, Tuple, Value, join_all


def _make_environment(machine: Machine, call: Call) -> Value | None:
    """Model `sagemaker_training.environment.Environment()`."""
    described = machine.recorder.describe_environment()
    if not described:
        return None
    found = machine.heap.instance(None, "namespace")
    found.attributes |= {name: from_object(machine, value) for name, value in described.items()}
    return (found,)


def _read_setting(machine: Machine, call: Call) -> Value:
    """Model `decouple.config`: an environment variable or its default."""
    return read_variable(machine, call.get(0, "option") or UNKNOWN, call.node, call.get(-1, "default"))


def _structure(machine: Machine, call: Call) -> Value:
    """Model `OmegaConf.structured`: a class stands for an object with its defaults."""
    found = [
        machine.call((atom,), Arguments(), call.node) if isinstance(atom, Class) else (atom,) for atom in call.first()
    ]
    return join_all(found)


def _list_choices(machine: Machine, call: Call) -> Value:
    return (Tuple(tuple(call.arguments.positional)),)


TOOLKIT_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "sagemaker_training.environment.Environment": _make_environment,
    "sagemaker_containers.training_env": _make_environment,
    "sagemaker_containers.beta.framework.training_env": _make_environment,
    "pydantic_settings.SettingsConfigDict": DICT,
    "pydantic.ConfigDict": DICT,
    "pydantic.AliasChoices": _list_choices,
    "decouple.config": _read_setting,
    "omegaconf.OmegaConf.structured": _structure,
    "omegaconf.OmegaConf.merge": _structure,
}
