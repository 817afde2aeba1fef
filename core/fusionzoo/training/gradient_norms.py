"""Norms of gradients and weights, also of those that FSDP shards over processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch import distributed as dist


def local_shard(tensor: Tensor) -> Tensor:
    """Return this process's shard of a parameter or gradient; the tensor itself if it is not sharded."""
    shard: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return shard


def compute_norms(tensors: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor, [tensors] float32; not finite if one of its values is not.

    The norm of a sharded tensor covers all shards. Then every process must call this function.
    """
    tensors = list(tensors)
    if not tensors:
        return torch.zeros(0)
    shards = [local_shard(tensor) for tensor in tensors]
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(shards)])
    if any(shard is not tensor for shard, tensor in zip(shards, tensors, strict=True)):
        squares = norms.square()
        dist.all_reduce(squares)
        norms = squares.sqrt()
    return norms
