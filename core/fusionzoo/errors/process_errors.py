"""Jobs of several processes and hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import pluralize, short

if TYPE_CHECKING:
    from typing_extensions import Self

CHECK_NETWORK = (
    "Check that the hosts may connect to each other on all ports, and that network_interface_name in "
    "resourceconfig.json, or GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME, name the interface between them."
)
SEE_LOG_AND_RESTART = "see the log of that process; start the job again to resume from its last checkpoint."


class ProcessesError(ZooError):
    """The job cannot run with these processes and hosts."""

    @classmethod
    def too_few_gpus(cls, devices: int, available: int) -> Self:
        """`devices` is larger than the number of GPUs of the machine."""
        message = f"devices = {devices}: this machine has {pluralize(available, 'GPU')}."
        return cls(message, f"set devices: {available}, or remove devices.", "FZ-R001")

    @classmethod
    def too_few_rows(cls, batch_size: int, processes: int) -> Self:
        """`batch_size` is smaller than the number of processes."""
        return cls(
            f"batch_size = {batch_size}: a step needs at least one row for each of {processes} processes.",
            f"set batch_size to {processes} or more (about {16 * processes} is better), or lower devices.",
            "FZ-R002",
        )

    @classmethod
    def unknown_host(cls, name: str, seconds: float) -> Self:
        """The name of another host of the job cannot be resolved."""
        return cls(
            f"The name of host '{name}' from resourceconfig.json could not be resolved within {seconds:.0f} s.",
            "check that this host has started, and that all hosts are in the same network.",
            "FZ-R003",
        )

    @classmethod
    def no_host(cls, name: str, seconds: float) -> Self:
        """Another host of the job has not started the job, or cannot be reached."""
        return cls(
            f"Host '{name}' did not start the job within {seconds:.0f} s, or cannot be reached.",
            f"see the log of that host. {CHECK_NETWORK}",
            "FZ-R010",
        )

    @classmethod
    def sharded(cls, channel: str, hosts: int) -> Self:
        """SageMaker gives each host a part of the channel, and training needs the whole channel on each host."""
        return cls(
            f"Channel '{channel}' is ShardedByS3Key, so each of {hosts} hosts sees different rows. The job needs all "
            "rows on each host.",
            "set S3DataDistributionType: FullyReplicated for the channel.",
            "FZ-R004",
        )

    @classmethod
    def other_data(cls, differences: Mapping[str, tuple[str | None, str]], rank: int) -> Self:
        """Hosts have different files, settings or packages."""
        shown = "; ".join(f"{name}: {first} and here {here}" for name, (first, here) in differences.items())
        return cls(
            f"Process {rank} differs from process 0: {shown}.",
            "give each host the same files, settings and packages.",
            "FZ-R005",
        )

    @classmethod
    def several_hosts(cls, script: str, hosts: int) -> Self:
        """Each instance would do the work with its own rows or disk, and overwrite the results of the others."""
        message = f"The job has {hosts} instances, but {script} runs on one, because it needs all rows in one place."
        return cls(message, "set InstanceCount (instance_count) to 1.", "FZ-R009")

    @classmethod
    def unequal_hosts(cls, counts: Sequence[int]) -> Self:
        """The hosts run different numbers of processes, for example because they have different numbers of GPUs."""
        shown = ", ".join(map(str, counts))
        return cls(
            f"The hosts run different numbers of processes: {shown}.",
            f"set devices: {min(counts)}, so that each host runs as many, or use hosts with equally many GPUs.",
            "FZ-T040",
        )

    @classmethod
    def not_connected(cls, cause: BaseException) -> Self:
        """The processes have started, but the network between them does not work."""
        return cls(
            f"The processes of the job cannot connect to each other ({type(cause).__name__}: {short(cause)}).",
            f"{CHECK_NETWORK} If only one process has failed, see its log.",
            "FZ-T041",
        )

    @classmethod
    def not_started(cls, ranks: Sequence[int], processes: int, seconds: float) -> Self:
        """Other processes of the job were not there when the time was over or a signal stopped this one."""
        numbers = ", ".join(map(str, ranks))
        return cls(
            f"{pluralize(len(ranks), 'process', 'processes')} of {processes} did not start within {seconds:.0f} s: "
            f"number {numbers} (from 0).",
            "see the logs of all processes and hosts: it may have been killed (perhaps out of memory). Start the job "
            "again.",
            "FZ-T042",
        )

    @classmethod
    def no_launch(cls, address: str, port: int, cause: BaseException) -> Self:
        """The launchers of the hosts cannot connect: a port is in use, or a host has not started."""
        return cls(
            f"The hosts cannot meet at {address}, port {port} ({type(cause).__name__}: {short(cause)}).",
            f"see the logs of the other hosts; check that no other program uses the port. {CHECK_NETWORK}",
            "FZ-T043",
        )


class ProcessLostError(ZooError):
    """Another process of the job failed, so this one cannot continue."""

    @classmethod
    def ended(cls, rank: int, processes: int, status: int, signal: str | None) -> Self:
        """A process of the job failed or was killed; its own log has the cause."""
        how = f"was killed by {signal}" if signal else f"ended with exit status {status}"
        hint = ", which often means that the host is out of memory" if signal == "SIGKILL" else ""
        return cls(f"Process {rank} of {processes} {how}{hint}.", SEE_LOG_AND_RESTART, "FZ-R006")

    @classmethod
    def disappeared(cls, names: Sequence[str], sign: str) -> Self:
        """A process no longer answers: it was killed, or its machine failed."""
        who = " and ".join(names) if names else "another process of the job"
        seen = f" ({short(sign)})" if sign else ""
        message = f"The job lost {who}{seen}: it was killed (perhaps out of memory), or its machine failed."
        return cls(message, SEE_LOG_AND_RESTART, "FZ-R007")

    @classmethod
    def reported(cls, text: str) -> Self:
        """Return the error that another process reported, with the same text."""
        return cls(text)


class FolderInUseError(ZooError):
    """Another job that is running writes to the same folder."""

    def __init__(self, folder: Path, host: str | None, pid: int | None) -> None:
        who = "another process" if host is None else f"process {pid} on host {host}"
        super().__init__(
            f"Another job writes to {folder}: {who}.",
            "wait until that job has ended, or stop it; or use another folder (SAGEMAKER_BASE_DIR or "
            "SM_CHECKPOINT_DIR).",
            "FZ-R008",
        )
        self.folder = folder


class OtherModelError(ZooError):
    """The model folder has a model of another script, which this one would damage, because some files have one name."""

    def __init__(self, folder: Path, script: str, name: str) -> None:
        super().__init__(
            f"{folder} has a model of {script} ({name}), which this script would damage.",
            "give each script its own root folder (SAGEMAKER_BASE_DIR or --root), in which input may be a link to "
            "the input of the other; or move that model and its output/data to another folder.",
            "FZ-R011",
        )
