"""The environment variables that torchrun sets for each process that it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fusionzoo import errors

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
NUMBERS = tuple(name for name in TORCHRUN_VARIABLES if name != "MASTER_ADDR")
LIMITS = {"RANK": "WORLD_SIZE", "LOCAL_RANK": "LOCAL_WORLD_SIZE"}


def read_torchrun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables; empty if torchrun did not start this process.

    Some of them may be set without torchrun, such as RANK by a scheduler or in a notebook.
    """
    variables = {name: environ.get(name, "") for name in TORCHRUN_VARIABLES}
    return variables if all(variables.values()) else {}


def check_torchrun_variables(variables: Mapping[str, str]) -> None:
    """Check what `read_torchrun_variables` returned.

    Raises:
        errors.TorchrunVariableError: names a variable that is not a number, or a rank that is too large.
    """
    if not variables:
        return
    for name in NUMBERS:
        if not variables[name].isdecimal():
            raise errors.TorchrunVariableError.invalid(name, variables[name], "a whole number")
    for name, limit in LIMITS.items():
        if not int(variables[name]) < int(variables[limit]):
            expected = f"less than {limit}, which is {variables[limit]}"
            raise errors.TorchrunVariableError.invalid(name, variables[name], expected)


@contextmanager
def hide_invalid_variables() -> Iterator[None]:
    """In the block, this process does not have the variables that are not a number: libraries fail when they parse
    them. Use it only if torchrun did not start this process.
    """
    hidden = {name: os.environ[name] for name in NUMBERS if not os.environ.get(name, "0").isdecimal()}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ |= hidden
