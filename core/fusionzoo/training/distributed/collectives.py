"""Exchange values between the processes of a job. In a job with one process, each function uses its own value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import distributed as dist
from torch import nn

from fusionzoo.training.distributed.world import World

T = TypeVar("T")


def is_distributed() -> bool:
    """Return whether the job has more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first_process() -> bool:
    """Return whether this process writes and logs for all processes."""
    return not is_distributed() or dist.get_rank() == 0


def all_gather(value: T) -> list[T]:
    """Return the value of each process, ordered by rank."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def all_gather_flat(values: Iterable[T]) -> list[T]:
    """Return the values of all processes in one list, ordered by rank. Every process must call this."""
    return [value for process_values in all_gather(list(values)) for value in process_values]


def broadcast_from_first(compute: Callable[[], T]) -> T:
    """Call `compute` in the first process only, and return its result in every process."""
    if not is_distributed():
        return compute()
    values: list[Any] = [compute() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(values)
    result: T = values[0]
    return result


def run_once_per_host(world: World, compute: Callable[[], T]) -> T:
    """Call `compute` in the first process of each host, and return its result in every process of that host."""
    if not is_distributed():
        return compute()
    results: list[Any] = all_gather(compute() if world.local_rank == 0 else None)
    result: T = results[world.rank - world.local_rank]  # the ranks of a host are consecutive
    return result


def broadcast_weights(model: nn.Module) -> None:
    """Copy the parameters and buffers of the first process to every process."""
    if is_distributed():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)
