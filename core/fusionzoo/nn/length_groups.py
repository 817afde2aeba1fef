"""Run an encoder over a batch's chunks in a few groups of similar length, so that it computes little padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GROUPS = 4
# The cost of one more group in padded tokens. CPU: 50 to 90 measured in MiniLM's training step on one core. GPU:
# estimated; launching some hundred kernels takes as long as computing thousands of tokens.
CPU_GROUP_OVERHEAD = 128
GPU_GROUP_OVERHEAD = 4096


def make_length_groups(lengths: np.ndarray, group_overhead: int, max_groups: int = MAX_GROUPS) -> list[np.ndarray]:
    """Return the chunks of each group, from short to long, with the minimum total cost.

    A group costs its padded tokens (chunks times maximum length) plus `group_overhead`. The solution is exact: a
    dynamic program over the distinct lengths; its time and memory grow with the square of their number.

    Args:
        lengths: [chunks] int, tokens of each chunk.
        group_overhead: fixed cost of a group, in tokens.
        max_groups: maximum number of groups, 1 or more.

    Returns:
        Positions of chunks, int64. Each chunk is in exactly one group; no group is empty.
    """
    if len(lengths) == 0:
        return []
    distinct, counts = np.unique(lengths, return_counts=True)
    ends = np.cumsum(counts)
    starts = ends - counts
    # group_cost[last, first]: the cost of one group with the distinct lengths first..last
    group_cost = distinct[:, None] * np.subtract.outer(ends, starts, dtype=np.float64) + group_overhead
    group_cost[starts > starts[:, None]] = np.inf
    # best[last]: minimum cost of all chunks up to distinct length `last`, with the number of groups of this round;
    # first_lengths[round][last]: where the last of these groups begins
    best = group_cost[:, 0]
    first_lengths, total_costs = [np.zeros(len(distinct), np.int64)], [best[-1]]
    for _ in range(1, min(max_groups, len(distinct))):
        costs = group_cost + np.concatenate([[np.inf], best[:-1]])
        first_lengths.append(costs.argmin(axis=1))
        best = costs[np.arange(len(distinct)), first_lengths[-1]]
        total_costs.append(best[-1])
    cuts, last = [], len(distinct) - 1
    for first in first_lengths[int(np.argmin(total_costs)) : 0 : -1]:
        cuts.append(int(starts[first[last]]))
        last = int(first[last]) - 1
    return np.split(np.argsort(lengths, kind="stable"), cuts[::-1])


def encode_in_groups(
    encode: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    tokens: Tensor,
    mask: Tensor,
    cpu_overhead: int | None = None,
    max_groups: int = MAX_GROUPS,
) -> tuple[Tensor, ...]:
    """Return what `encode` returns for all chunks, computed in groups of similar length; gradients flow as in one call.

    While a model is traced, exported or compiled there is one group, so that the graph is valid for all lengths.
    Lengths are read on the CPU, which on a GPU costs one synchronization.

    Args:
        encode: maps (tokens, mask), each [chunks, length], to features [chunks, length, dim] and any number of further
            tensors [chunks, ...]. A chunk's results must depend on its real tokens only.
        tokens: [chunks, length] int64, at least one chunk.
        mask: [chunks, length] bool, True = real. A chunk's real tokens come first, and it has at least one.
        cpu_overhead: the cost of one more group on a CPU, in padded tokens; by default that of a transformer.
        max_groups: maximum number of groups, 1 or more.

    Returns:
        The results for all chunks, in their order. Features are zero beyond the maximum length of a chunk's group.
    """
    if is_traced():
        return encode(tokens, mask)
    lengths = mask.sum(dim=1).cpu().numpy()
    overhead = GPU_GROUP_OVERHEAD
    if tokens.device.type == "cpu":
        overhead = CPU_GROUP_OVERHEAD if cpu_overhead is None else cpu_overhead
    groups = make_length_groups(lengths, overhead, max_groups)
    order = torch.from_numpy(np.concatenate(groups)).to(tokens.device)
    parts, begin = [], 0
    for chunks in groups:
        group, max_length = order[begin : begin + len(chunks)], int(lengths[chunks[-1]])
        begin += len(chunks)
        features, *others = encode(tokens[group, :max_length], mask[group, :max_length])
        parts.append((F.pad(features, (0, 0, 0, tokens.shape[1] - max_length)), *others))
    original_order = torch.argsort(order)
    return tuple(torch.cat(part).index_select(0, original_order) for part in zip(*parts, strict=True))


def is_traced() -> bool:
    """Return whether the model is being traced, exported or compiled: its graph must be valid for all lengths."""
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return hasattr(torch.compiler, "is_compiling") and torch.compiler.is_compiling()  # missing in torch 2.1
