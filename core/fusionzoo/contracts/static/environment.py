"""The environment variables of the analyzed program."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.values import NONE, Text, Value, join, join_all, literal, text

VARIABLE_KEYS = ("validation_alias", "alias", "env")
"""Arguments of `pydantic.Field` that name the environment variable of a field of settings."""


def read_variable(machine: Machine, name: Value, node: ast.AST, default: Value | None = None) -> Value:
    """Return the value of an environment variable. Without SageMaker's own value, the default comes first."""
    found = []
    for atom in name:
        known = literal((atom,))
        if known is None:
            machine.note("an environment variable is read whose name is not known", node)
            found.append(join(text(texts.ENVIRONMENT_PART), default or ()))
            continue
        given = machine.recorder.record_variable(machine, known, node)
        assigned = machine.environment.entries.get(Text(known))
        if assigned is not None and Text(known) not in machine.environment.optional:
            found.append(assigned)
        elif assigned is None and given != text(texts.ENVIRONMENT_PART):
            found.append(given)  # SageMaker sets the variable, so the default does not matter
        else:
            fallback = default if default is not None else machine.recorder.declared_default(known)
            found.append(join(assigned or (), given, fallback or ()))
    return join_all(found)


def find_default(values: Value | None) -> Value:
    """Return the default of `os.environ.get`: None if the call has none."""
    return NONE if values is None else values
