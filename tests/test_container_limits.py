"""The cores and the memory that a container leaves to a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from fusionzoo import container_limits
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.container_limits import count_cores, count_cores_of_quota, read_memory_limit
from fusionzoo.nn.machine_memory import read_total_memory
from fusionzoo.training import launch
from shop import JobFolder

CORES = 8


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CORES)))


def make_groups(folder: Path, own: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the files of control groups below a folder, and let the process be in the groups that `own` lists."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(text)
    monkeypatch.setattr(container_limits, "OWN_GROUPS", folder / "own")
    monkeypatch.setattr(container_limits, "CONTROL_GROUPS", folder / "cgroup")


V1 = "4:memory:/job\n2:cpu,cpuacct:/job\n1:name=systemd:/\n"
V1_NONE = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "1600000 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/docker/of-the-host\n", {"cpu.max": "100000 100000\n"}, 1),
        (V1, V1_NONE, None),
        (V1, V1_NONE | {"cpu/job/cpu.cfs_quota_us": "50000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_a_quota_limits_the_cores(
    own: str, files: dict[str, str], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_groups(tmp_path, own, files, monkeypatch)
    assert count_cores() == (expected or CORES)
    assert count_cores_of_quota() == expected


def test_torch_and_onnxruntime_use_as_many_threads_as_the_quota_has_cores(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trained_job.model / "model.onnx"
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    make_groups(tmp_path, "0::/\n", {"cpu.max": "300000 100000"}, monkeypatch)
    launch.limit_threads()
    assert threads == [3]
    options = open_onnx_session(path, path.read_bytes()).get_session_options()
    assert options.intra_op_num_threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    launch.limit_threads()
    assert threads == [3]


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/a\n", {"a/memory.max": "4000\n", "memory.max": "5000\n"}, 4000),
        (V1, {"memory/memory.limit_in_bytes": "5000\n", "memory/job/memory.limit_in_bytes": "6000\n"}, 5000),
    ],
)
def test_the_smallest_limit_of_the_groups_is_the_memory(
    own: str, files: dict[str, str], expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_groups(tmp_path, own, files, monkeypatch)
    assert read_memory_limit() == expected
    if not torch.cuda.is_available():
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        assert read_total_memory() == (expected or installed)
