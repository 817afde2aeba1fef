"""The environment variables that torchrun sets for each process that it starts."""

from __future__ import annotations

from collections.abc import Mapping

TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def read_torchrun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables; empty if torchrun did not start this process.

    Some of them may be set without torchrun, such as RANK by a scheduler or in a notebook.
    """
    variables = {name: environ.get(name, "") for name in TORCHRUN_VARIABLES}
    return variables if all(variables.values()) else {}
