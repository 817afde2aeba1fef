"""How long gradients and weights are, whole or in parts."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def local_shard(tensor: Tensor) -> Tensor:
    """What this process has of a parameter or its gradient: all of it, but under FSDP."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part


def compute_norms(tensors: Iterable[Tensor]) -> Tensor:
    """The Euclidean norm of each tensor [tensors] float32; not finite where one of its numbers is not.

    Of tensors in parts, that of the whole: then every process must ask.
    """
    whole = list(tensors)
    if not whole:
        return torch.zeros(0)
    parts = [local_shard(tensor) for tensor in whole]
    found = torch.stack([norm.float() for norm in torch._foreach_norm(parts)])
    if any(part is not tensor for part, tensor in zip(parts, whole, strict=True)):
        found = found.square()
        dist.all_reduce(found)
        found = found.sqrt()
    return found
