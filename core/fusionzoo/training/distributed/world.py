"""Which of a job's processes this one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusionzoo.sagemaker.torchrun_variables import TORCHRUN_VARIABLES, read_torchrun_variables

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class World:
    """The position of this process among all processes of the job; the default is a single process."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the world that torchrun's variables describe; None if torchrun did not start this process."""
        variables = read_torchrun_variables(environ)
        if not variables:
            return None
        rank, size, local_rank, local_size = (int(variables[name]) for name in TORCHRUN_VARIABLES[:4])
        return cls(rank, size, local_rank, local_size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and logs for all processes."""
        return self.rank == 0

    @property
    def hosts(self) -> int:
        """The number of hosts."""
        return self.size // self.local_size


SINGLE_PROCESS = World()
