"""How many processes a job has, on which hosts, and which of them this one is."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed import HashStore

from fusionzoo import errors
from fusionzoo.sagemaker import run_job
from fusionzoo.sagemaker.hosts import Hosts, read_hosts
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import launch
from fusionzoo.training.distributed import collectives, heartbeat, host_rendezvous
from fusionzoo.training.distributed.heartbeat import Heartbeat
from fusionzoo.training.distributed.host_rendezvous import wait_for_hosts
from fusionzoo.training.distributed.world import World
from fusionzoo.training.job_checks import check_processes
from fusionzoo.training.launch import ProcessPlan, plan_processes
from shop import JobFolder
from training_helpers import make_job_settings

HOSTS = Hosts(("algo-1", "algo-2"), "algo-2", "eth0")


@pytest.mark.parametrize(
    ("changes", "hosts", "environ", "gpus", "expected"),
    [
        ({}, None, {}, 0, ProcessPlan(1, None)),
        ({}, None, {}, 4, ProcessPlan(4, None)),
        ({}, None, {"SM_NUM_GPUS": "2"}, 4, ProcessPlan(2, None)),
        ({}, None, {"SM_NUM_GPUS": "0"}, 0, ProcessPlan(1, None)),
        ({"devices": 3}, None, {"SM_NUM_GPUS": "0"}, 0, ProcessPlan(3, None)),
        ({"devices": 1}, None, {}, 8, ProcessPlan(1, None)),
        ({}, HOSTS, {}, 8, ProcessPlan(8, HOSTS)),
        ({}, Hosts(("algo-1",), "algo-1", None), {}, 0, ProcessPlan(1, None)),
    ],
)
def test_the_machine_and_the_settings_determine_the_number_of_processes(
    changes: dict[str, Any],
    hosts: Hosts | None,
    environ: dict[str, str],
    gpus: int,
    expected: ProcessPlan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    plan = plan_processes(make_job_settings(**changes), hosts, environ)
    assert plan == expected
    assert plan.processes == expected.per_host * (2 if expected.hosts else 1)


def test_more_devices_than_gpus_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(errors.ProcessesError, match="this machine has 2 GPUs"):
        plan_processes(make_job_settings(devices=3), None, {})


def test_the_world_comes_from_the_variables_of_torchrun() -> None:
    environ = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "algo-1",
        "MASTER_PORT": "7777",
    }
    world = World.from_environment(environ)
    assert world == World(5, 8, 1, 4)
    assert (world.hosts, world.is_first) == (2, False)
    assert World.from_environment({**environ, "MASTER_PORT": ""}) is None
    assert World.from_environment({}) is None


COMPLETE = {
    "RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "7777",
}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *((name, "abc", "a whole number") for name in COMPLETE if name != "MASTER_ADDR"),
        ("RANK", "-1", "a whole number"),
        ("RANK", "2", "less than WORLD_SIZE, which is 2"),
        ("LOCAL_RANK", "3", "less than LOCAL_WORLD_SIZE, which is 2"),
    ],
)
def test_a_variable_of_torchrun_with_another_value_is_an_error_that_names_it(
    name: str, value: str, expected: str, tmp_path: Path
) -> None:
    environ = {**COMPLETE, name: value, "SAGEMAKER_BASE_DIR": str(JobFolder(tmp_path / "ml").fill().root)}
    assert run_job(launch.run_training, environ) == 1
    message = f"The environment variable {name} is '{value}', but has to be {expected}."
    assert message in JobFolder(tmp_path / "ml").failure


def test_variables_that_libraries_cannot_parse_are_hidden_from_a_job_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_values = {"RANK": "", "WORLD_SIZE": "", "LOCAL_RANK": "abc", "LOCAL_WORLD_SIZE": "2"}
    for name, value in set_values.items():
        monkeypatch.setenv(name, value)
    seen: dict[str, str] = {}
    status = run_job(lambda _: seen.update(os.environ), {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert status == 0
    assert set_values.keys() & seen.keys() == {"LOCAL_WORLD_SIZE"}
    assert set_values.items() <= os.environ.items()


def test_torchrun_keeps_signals_ignored_that_nohup_ignores(monkeypatch: pytest.MonkeyPatch) -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        arguments = launch.choose_signals()
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert not any("SIGHUP" in argument for argument in arguments)
    assert not arguments or "SIGTERM" in arguments[1]


def test_the_hosts_come_from_resourceconfig(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path), "HOME": "/root"})
    assert read_hosts(paths) is None
    paths.resource_config.parent.mkdir(parents=True)
    config = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0"}
    paths.resource_config.write_text(json.dumps(config))
    assert read_hosts(paths) == HOSTS
    for wrong in ({**config, "current_host": "algo-3"}, {**config, "hosts": "algo-1"}, {**config, "hosts": [1]}, {}):
        paths.resource_config.write_text(json.dumps(wrong))
        with pytest.raises(errors.ContainerError, match="one of them"):
            read_hosts(paths)


@pytest.mark.parametrize("names", [["algo-1", "algo-1"], ["algo-2", "algo-1", "algo-2"], ["algo-1"] * 3])
def test_a_host_that_is_listed_twice_is_an_error_that_names_it(names: list[str], tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path), "HOME": "/root"})
    paths.resource_config.parent.mkdir(parents=True)
    paths.resource_config.write_text(json.dumps({"current_host": names[0], "hosts": names}))
    with pytest.raises(errors.ContainerError, match=f"'{names[0]}' more than once"):
        read_hosts(paths)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("", 0))
        return int(free.getsockname()[1])


def test_a_host_name_that_cannot_be_resolved_is_an_error(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_rendezvous, "MAX_HOST_WAIT_SECONDS", 1.0)
    hosts = Hosts(("localhost", "no-such-host"), "localhost", None)
    with pytest.raises(errors.ProcessesError, match="name of host 'no-such-host'"), wait_for_hosts(hosts, port):
        pass


@pytest.mark.parametrize(("current", "absent"), [("127.0.0.1", "localhost"), ("localhost", "127.0.0.1")])
def test_a_host_that_does_not_start_is_logged_once_and_then_an_error(
    current: str, absent: str, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(host_rendezvous, "MAX_HOST_WAIT_SECONDS", 2.0)
    monkeypatch.setattr(host_rendezvous, "SECONDS_TO_LOG_WAIT", 0.1)
    hosts = Hosts(("127.0.0.1", "localhost"), current, None)
    error = pytest.raises(errors.ProcessesError, match=f"Host '{absent}' did not start the job within 2 s")
    with caplog.at_level("INFO"), error, wait_for_hosts(hosts, port):
        pass
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(f" s at most for host '{absent}'")


@pytest.mark.parametrize("first_to_start", [0, 1])
def test_hosts_wait_until_all_have_started(first_to_start: int, port: int) -> None:
    names = ("127.0.0.1", "localhost")
    both, is_second_started = threading.Barrier(2), threading.Event()

    def run(name: str) -> bool:
        with wait_for_hosts(Hosts(names, name, None), port):
            both.wait(timeout=30)
            return is_second_started.is_set()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, names[first_to_start])
        time.sleep(1)
        is_second_started.set()
        second = pool.submit(run, names[1 - first_to_start])
        assert first.result(30)
        assert second.result(30)


def test_processes_that_have_not_started_are_logged_once_and_then_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = HashStore()
    store.set("fusionzoo/name/1", "process 1 of 4")
    monkeypatch.setattr(heartbeat, "rendezvous", lambda *_, **__: iter([(store, 0, 4)]))
    monkeypatch.setattr(heartbeat, "SECONDS_TO_LOG_WAIT", 0.2)
    monkeypatch.setattr(heartbeat, "MAX_START_SECONDS", 1.0)
    with caplog.at_level("INFO"), pytest.raises(errors.ProcessesError, match="2 processes of 4 did not start"):
        Heartbeat(World(0, 4, 0, 2), lambda _: None)
    assert caplog.messages == ["Waiting 1 s at most for 2 processes of 4: number 2, 3 (from 0)"]


@pytest.mark.parametrize("name", ["train", "training", "validation", "testing"])
def test_a_sharded_channel_is_rejected_if_there_are_several_hosts(tmp_path: Path, name: str) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(JobFolder(tmp_path / "ml").fill().root)})
    channels = {name: {"S3DistributionType": "ShardedByS3Key"}, "val": {"S3DistributionType": "FullyReplicated"}}
    paths.input_data_config.write_text(json.dumps(channels))
    check_processes(paths, make_job_settings(), World(0, 2, 0, 2))
    with pytest.raises(
        errors.ProcessesError, match=f"'{name}' is ShardedByS3Key, so each of 2 hosts sees different rows"
    ):
        check_processes(paths, make_job_settings(), World(1, 2, 0, 1))


def test_hosts_with_different_numbers_of_processes_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(JobFolder(tmp_path / "ml").fill().root)})
    monkeypatch.setattr(collectives, "all_gather", lambda _: [(0, 1), (0, 2), (1, 2)])
    with pytest.raises(errors.ProcessesError, match=r"different numbers of processes: 1, 2\.\nFix: set devices: 1"):
        check_processes(paths, make_job_settings(), World(0, 3, 0, 1))


def test_launchers_that_cannot_connect_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("The TCPStore server socket has failed to listen. port: 7777, name: EADDRINUSE")

    monkeypatch.setattr(launch, "torchrun", fail)
    monkeypatch.setattr(launch, "wait_for_hosts", lambda *_: nullcontext())
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    with pytest.raises(errors.ProcessesError, match=r"cannot meet at algo-1, port 7777 .*EADDRINUSE"):
        launch.start_processes(ProcessPlan(1, HOSTS), paths)
    with pytest.raises(RuntimeError, match="EADDRINUSE"):
        launch.start_processes(ProcessPlan(2, None), paths)
