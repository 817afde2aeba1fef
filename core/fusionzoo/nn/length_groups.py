"""An encoder run over a batch's chunks in a few groups of similar length, so that little padding is computed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GROUPS = 4
CPU_GROUP_OVERHEAD = 128  # what one more group costs in tokens of MiniLM's training step: 50 to 90 measured on one core
GPU_GROUP_OVERHEAD = 4096  # estimated: on a GPU, some hundred kernels are launched in the time of thousands of tokens


def group_by_length(lengths: np.ndarray, group_tokens: int, most: int = MAX_GROUPS) -> list[np.ndarray]:
    """The chunks of each group, shorter ones first, such that running the groups one by one costs least.

    A group costs its padded tokens, chunks times longest length, and `group_tokens` more. Exact: a dynamic programme
    over the distinct lengths, whose time and memory grow with their square.

    Args:
        lengths: [chunks] int, tokens of each chunk.
        group_tokens: what a group costs by itself, in tokens.
        most: groups at most, 1 or more.

    Returns:
        Positions of chunks, int64, each chunk in one group; no group without chunks.
    """
    if len(lengths) == 0:
        return []
    longest, counts = np.unique(lengths, return_counts=True)
    ends = np.cumsum(counts)
    starts = ends - counts
    # [last, first]: the cost of one group from the first to the last of these distinct lengths
    one = longest[:, None] * np.subtract.outer(ends, starts, dtype=np.float64) + group_tokens
    one[starts > starts[:, None]] = np.inf
    best = one[:, 0]  # of the cheapest groups up to each distinct length; and where the last of them begins
    firsts, costs = [np.zeros(len(longest), np.int64)], [best[-1]]
    for _ in range(1, min(most, len(longest))):
        total = one + np.concatenate([[np.inf], best[:-1]])
        firsts.append(total.argmin(axis=1))
        best = total[np.arange(len(longest)), firsts[-1]]
        costs.append(best[-1])
    cuts, last = [], len(longest) - 1
    for first in firsts[int(np.argmin(costs)) : 0 : -1]:
        cuts.append(int(starts[first[last]]))
        last = int(first[last]) - 1
    return np.split(np.argsort(lengths, kind="stable"), cuts[::-1])


def encode_in_groups(
    encode: Callable[[Tensor, Tensor], tuple[Tensor, ...]], tokens: Tensor, mask: Tensor
) -> tuple[Tensor, ...]:
    """What `encode` makes of the chunks, run over groups of similar length; gradients flow as through one call.

    While a model is traced, exported or compiled there is one group, so that the graph holds for all lengths.
    Lengths are read on the CPU: on a GPU that is one synchronisation.

    Args:
        encode: (tokens, mask), each [chunks, length], to features [chunks, length, dim] and any number of tensors
            [chunks, ...]; a chunk's results must depend on its real tokens alone.
        tokens: [chunks, length] int64; one chunk or more.
        mask: [chunks, length] bool, True = real; a chunk's real tokens come first, and it has at least one.

    Returns:
        The same for all chunks, in their order; features are zero beyond the longest chunk of a group.
    """
    if _is_traced():
        return encode(tokens, mask)
    lengths = mask.sum(dim=1).cpu().numpy()
    groups = group_by_length(lengths, CPU_GROUP_OVERHEAD if tokens.device.type == "cpu" else GPU_GROUP_OVERHEAD)
    order = torch.from_numpy(np.concatenate(groups)).to(tokens.device)
    parts, begin = [], 0
    for chunks in groups:
        group, longest = order[begin : begin + len(chunks)], int(lengths[chunks[-1]])
        begin += len(chunks)
        features, *others = encode(tokens[group, :longest], mask[group, :longest])
        parts.append((F.pad(features, (0, 0, 0, tokens.shape[1] - longest)), *others))
    back = torch.argsort(order)
    return tuple(torch.cat(part).index_select(0, back) for part in zip(*parts, strict=True))


def _is_traced() -> bool:
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return hasattr(torch.compiler, "is_compiling") and torch.compiler.is_compiling()  # torch 2.1 has no such function
