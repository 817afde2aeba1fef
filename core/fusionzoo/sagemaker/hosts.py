"""The hosts of a distributed SageMaker job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusionzoo import errors
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.errors.wording import quoted
from fusionzoo.sagemaker.config_files import read_json_object
from fusionzoo.sagemaker.paths import Paths


@dataclass(frozen=True)
class Hosts:
    """The host names of a job in sorted order, and which of them is this host.

    `interface` is the network interface that connects the hosts; None if it is not known.
    """

    names: tuple[str, ...]
    current: str
    interface: str | None


def read_hosts(paths: Paths) -> Hosts | None:
    """Return the hosts of a training job, see `read_hosts_file`."""
    return read_hosts_file(paths.resource_config)


def check_single_host(root: Path, contract: ScriptContract) -> None:
    """Check that a job has one host, because its script needs all rows in one place.

    Args:
        root: the folder that is SageMaker's root folder.
        contract: the contract of the script.

    Raises:
        errors.ProcessesError: the job has several hosts.
        errors.ContainerError: see `read_hosts_file`.
    """
    hosts = read_hosts_file(root / contract.relative_path("resource_config"))
    if hosts is not None and len(hosts.names) > 1:
        raise errors.ProcessesError.several_hosts(contract.entry_point, len(hosts.names))


def read_hosts_file(path: Path) -> Hosts | None:
    """Return the hosts that resourceconfig.json lists; None if there is no such file.

    Raises:
        errors.ContainerError: the file exists, but does not list the hosts or does not name the current one.
    """
    config = read_json_object(path)
    if config is None:
        return None
    names, current, interface = (config.get(key) for key in ("hosts", "current_host", "network_interface_name"))
    is_name_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not isinstance(names, list) or not is_name_list or not isinstance(current, str) or current not in names:
        cause = ValueError("it needs hosts, a list of names, and current_host, one of them")
        raise errors.ContainerError(path, cause)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        cause = ValueError(f"hosts lists {quoted(repeated)} more than once, and each host has one part of the job")
        raise errors.ContainerError(path, cause)
    return Hosts(tuple(sorted(names)), current, interface if isinstance(interface, str) else None)
