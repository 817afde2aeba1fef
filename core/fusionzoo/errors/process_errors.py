"""Several processes and hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import short


class ProcessesError(ZooError):
    """The job cannot have as many processes as it is to have."""

    @classmethod
    def too_few_gpus(cls, wanted: int, found: int) -> Self:
        return cls(
            f"devices is {wanted}, but this machine has {found} GPU{'s' if found > 1 else ''}.\n"
            f"Fix: set devices: {found}, or leave it out."
        )

    @classmethod
    def too_few_rows(cls, rows: int, processes: int) -> Self:
        return cls(
            f"batch_size is {rows}: a step of so many rows cannot be shared by {processes} processes.\n"
            f"Fix: set batch_size to {processes} or, better, some {16 * processes}; or lower devices."
        )

    @classmethod
    def host_unknown(cls, name: str, seconds: float) -> Self:
        return cls(
            f"The name of host '{name}', which resourceconfig.json has, is not known here after {seconds:.0f} s.\n"
            "Fix: see whether that host has started, and that both stand in one network."
        )

    @classmethod
    def sharded(cls, channel: str, hosts: int) -> Self:
        return cls(
            f"Channel '{channel}' is ShardedByS3Key: each of {hosts} hosts sees other rows, and the job needs all of "
            "them on each host.\nFix: set S3DataDistributionType: FullyReplicated."
        )

    @classmethod
    def other_data(cls, differences: Mapping[str, tuple[str | None, str]], rank: int) -> Self:
        shown = "; ".join(f"{name}: {first}, {here} here" for name, (first, here) in differences.items())
        return cls(
            f"Process {rank} does not see what process 0 sees: {shown}.\n"
            "Fix: give every host the same files, settings and packages."
        )


def process_gone(names: Sequence[str], sign: str) -> str:
    who = " and ".join(names) if names else "another process of the job"
    seen = f" ({short(sign)})" if sign else ""
    return (
        f"The job lost {who}{seen}: it was killed, perhaps for want of memory, or its machine failed.\n"
        "Fix: see that process's own log; start the job again to go on from its last checkpoint."
    )


class ProcessLostError(ZooError):
    """Another process of the job failed, so that this one cannot go on."""

    @classmethod
    def ended(cls, rank: int, processes: int, status: int, signal: str | None) -> Self:
        how = f"was killed by {signal}" if signal else f"ended with status {status}"
        hint = ", perhaps for want of memory" if signal == "SIGKILL" else ""
        return cls(
            f"Process {rank} of {processes} {how}{hint}.\n"
            "Fix: see its own log; start the job again to go on from its last checkpoint."
        )
