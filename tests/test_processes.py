"""One process or many: the same job, and one that dies takes the others with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from packaging.version import Version

from conftest import Installer
from fusionzoo import errors
from fusionzoo.sagemaker.hosts import Hosts, read_hosts
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import launch
from fusionzoo.training.distributed import fsdp_support
from fusionzoo.training.distributed.world import World
from fusionzoo.training.job import check_processes
from fusionzoo.training.launch import ProcessPlan, plan_processes
from shop import TINY_BERT, JobFolder, shop_rows

TRAIN_PY = Path(__file__).parents[1] / "train.py"
STEADY = {"dropout": 0.0, "encoder_dropout": 0.0, "precision": "32"}  # nothing that processes draw for themselves


def start(
    job: JobFolder, processes: int = 2, program: list[str] | None = None, **environ: str
) -> subprocess.Popen[str]:
    """Start a job under torchrun, or with a program of its own; its log goes to log.txt."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(TRAIN_PY)]
    log = (job.root / "log.txt").open("a")
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *(program or torchrun)],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.root), **environ},
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def run(job: JobFolder, processes: int = 2, program: list[str] | None = None, **environ: str) -> int:
    """Run such a job to its end; returns its exit status."""
    running = start(job, processes, program, **environ)
    try:
        return running.wait(timeout=240)  # of which a dead process may cost a minute
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)


def log_of(job: JobFolder) -> str:
    return (job.root / "log.txt").read_text()


def like(job: JobFolder, folder: Path, **changes: Any) -> JobFolder:
    """The same job in another folder, with other settings."""
    shutil.copytree(job.root / "input", folder / "input")
    path = folder / "input/config/hyperparameters.json"
    settings = {**json.loads(path.read_text()), **{name: json.dumps(value) for name, value in changes.items()}}
    path.write_text(json.dumps(settings))
    return JobFolder(folder)


def report(job: JobFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job.output / "metrics.json").read_text())
    return found


def predictions(job: JobFolder, split: str) -> pd.DataFrame:
    return pq.read_table(job.output / f"{split}_predictions.parquet").to_pandas()


def probabilities(frame: pd.DataFrame) -> np.ndarray:
    return frame[[column for column in frame if column.startswith("prob_")]].to_numpy()


def weights(job: JobFolder) -> Mapping[str, torch.Tensor]:
    found: Mapping[str, torch.Tensor] = torch.load(job.model / "model.pth", weights_only=True)
    return found


def assert_same(one: JobFolder, other: JobFolder) -> None:
    """Losses, metrics, predictions and weights are the same, but for the order in which sums are rounded."""
    assert report(one)["training"]["steps"] == report(other)["training"]["steps"]
    for split in ("val", "test"):
        metrics = [report(job)["splits"][split]["metrics"] for job in (one, other)]
        assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)
        rows = [predictions(job, split) for job in (one, other)]
        assert rows[0]["id"].tolist() == rows[1]["id"].tolist()
        assert rows[0]["target"].tolist() == rows[1]["target"].tolist()
        assert rows[0]["predicted_target"].tolist() == rows[1]["predicted_target"].tolist()
        assert np.allclose(probabilities(rows[0]), probabilities(rows[1]), atol=1e-6)
    one_by_one = zip(weights(one).values(), weights(other).values(), strict=True)
    assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in one_by_one)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "accumulate_grad_batches": 3,
            "class_weights": [1.0, 3.0],
            "modality_dropout": 0.2,
            "average_checkpoints": 2,
            "optimizer": "sgd",
            "lr": 0.05,
        },
        {"batch_size": 2, "max_epochs": 1, "lr": 1e-4},  # one rank has no row in some steps
    ],
)
def test_two_processes_make_what_one_makes(settings: dict[str, Any], tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(rows=157, **STEADY, **settings)
    two = like(one, tmp_path / "two")
    assert one.run() == 0
    assert run(two) == 0, log_of(two)
    assert_same(one, two)


def test_devices_starts_the_processes_of_a_host_itself(tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(**STEADY)
    two = like(one, tmp_path / "two", devices=2)
    assert one.run() == 0
    assert run(two, program=[str(TRAIN_PY)]) == 0, log_of(two)
    assert "Starting 2 of 2 processes on this host" in log_of(two)
    assert log_of(two).count("Model multimodal_cnn") == 1
    assert_same(one, two)


SHARDED = {
    **STEADY,
    "model_class": "dying",
    "text_encoder": "bert",
    "encoder_config": {**TINY_BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0},
    "num_channels": None,
    "encoder_dropout": None,
    "strategy": "fsdp",
    "checkpoint_every_n_steps": 2,
}


# --- processes that die

DYING = """
import os, signal, time
from fusionzoo import hookimpl
from fusionzoo.nn.recipes import LateFusionClassifier
from fusionzoo.settings import FusionSettings

class Dying(LateFusionClassifier):
    def forward(self, batch):
        if self.training:
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 6 and os.environ.get("RANK") == os.environ["DYING_RANK"]:
                {how}
        return super().forward(batch)

class Settings(FusionSettings):
    text_encoder: str = "cnn"

@hookimpl
def settings_class():
    return Settings

@hookimpl
def build_model(spec, settings, text_encoder):
    return Dying(spec, settings, text_encoder)
"""
RAISES = 'raise ValueError("the wheel of rank one is broken")'
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
SLEEPS = "time.sleep(3600)"


def dying(job: JobFolder, install: Installer, how: str) -> JobFolder:
    install("fusionzoo-dying", source=DYING.replace("{how}", how), models=["dying"])
    return job.fill(**STEADY, model_class="dying", checkpoint_every_n_steps=2)


@pytest.mark.parametrize(("rank", "program"), [("0", [str(TRAIN_PY)]), ("1", None), ("1", [str(TRAIN_PY)])])
def test_a_process_that_fails_ends_the_job_with_its_own_cause(
    rank: str, program: list[str] | None, job: JobFolder, install: Installer
) -> None:
    job = like(dying(job, install, RAISES), job.root / "two", devices=2)
    assert run(job, 2, program, PYTHONPATH=str(install.folder), DYING_RANK=rank) == 1
    assert "ValueError: the wheel of rank one is broken" in job.failure.splitlines()[0]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_is_killed_ends_the_job_and_the_failure_file_names_it(
    rank: str, job: JobFolder, install: Installer
) -> None:
    dying(job, install, KILLED)
    assert run(job, 2, PYTHONPATH=str(install.folder), DYING_RANK=rank) == 1
    assert f"process {rank} of 2" in job.failure
    assert "it was killed (perhaps out of memory)" in job.failure
    assert "resume from its last checkpoint" in job.failure


def test_a_killed_job_of_two_processes_resumes_bit_identically(job: JobFolder, install: Installer) -> None:
    whole = like(dying(job, install, KILLED), job.root / "whole")
    site = str(install.folder)
    assert run(whole, 2, PYTHONPATH=site, DYING_RANK="none") == 0
    assert run(job, 2, PYTHONPATH=site, DYING_RANK="1") == 1
    assert run(job, 2, PYTHONPATH=site, DYING_RANK="none") == 0
    assert "Resuming from" in log_of(job)
    both = zip(weights(whole).values(), weights(job).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in both)
    assert report(whole)["splits"] == report(job)["splits"]


def test_a_job_of_two_processes_resumes_with_one(job: JobFolder, install: Installer) -> None:
    whole = like(dying(job, install, KILLED), job.root / "whole")
    site = str(install.folder)
    assert run(whole, 1, PYTHONPATH=site, DYING_RANK="none") == 0
    assert run(job, 2, PYTHONPATH=site, DYING_RANK="1") == 1
    assert run(job, 1, PYTHONPATH=site, DYING_RANK="none") == 0
    assert "The checkpoint was written by 2 processes and the job now has 1" in log_of(job)
    assert_same(whole, job)


@pytest.mark.skipif(
    any(Version(version(library)) < Version(since) for library, since in fsdp_support.MIN_VERSIONS.items()),
    reason="these libraries are too old to shard a model",
)
def test_a_model_in_parts_learns_as_a_whole_one_and_goes_on_after_a_kill(job: JobFolder, install: Installer) -> None:
    parts = dying(job, install, KILLED).settings(**SHARDED)
    one, site = like(parts, job.root / "one"), str(install.folder)
    assert run(one, 1, PYTHONPATH=site, DYING_RANK="none") == 0
    assert run(parts, 2, PYTHONPATH=site, DYING_RANK="1") == 1
    assert run(parts, 2, PYTHONPATH=site, DYING_RANK="none") == 0, log_of(parts)
    assert "Resuming from" in log_of(parts)
    held, weights = re.findall(r"FSDP: this process holds ([\d,]+) of ([\d,]+) weights", log_of(parts))[-1]
    assert int(held.replace(",", "")) == pytest.approx(int(weights.replace(",", "")) / 2, rel=0.2)
    assert_same(one, parts)


def test_sigterm_saves_the_state_of_a_job_of_several_processes(job: JobFolder, install: Installer) -> None:
    dying(job, install, "os.kill(os.getppid(), signal.SIGTERM)")
    job = like(job, job.root / "two", devices=2, checkpoint_every_n_steps=1000)
    assert run(job, 2, [str(TRAIN_PY)], PYTHONPATH=str(install.folder), DYING_RANK="1") == 1
    assert "stopped by SIGTERM or Ctrl-C. The state after step" in job.failure
    assert (job.root / "checkpoints/last.ckpt").exists()


def test_wrong_settings_are_reported_once_by_the_first_process(job: JobFolder) -> None:
    job.fill(batch_size=1)
    assert run(job) == 1
    assert "batch_size = 1: a step needs at least one row for each of 2 processes" in job.failure


# --- how many


def settings(**changes: Any) -> JobSettings:
    return JobSettings(**{"model_class": "x", "id_name": "id", "label_name": "y", "num_classes": 2, **changes})


HOSTS = Hosts(("algo-1", "algo-2"), "algo-2", "eth0")


@pytest.mark.parametrize(
    ("changes", "hosts", "environ", "gpus", "wanted"),
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
def test_the_machine_and_the_settings_decide_how_many_processes_there_are(
    changes: dict[str, Any],
    hosts: Hosts | None,
    environ: dict[str, str],
    gpus: int,
    wanted: ProcessPlan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    found = plan_processes(settings(**changes), hosts, environ)
    assert found == wanted
    assert found.processes == wanted.per_host * (2 if wanted.hosts else 1)


def test_more_devices_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(errors.ProcessesError, match="this machine has 2 GPUs"):
        plan_processes(settings(devices=3), None, {})


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        ({"torch": "2.1.2", "lightning": "2.6.6"}, "the installed torch is 2.1.2.\nFix: install torch 2.6 or newer"),
        (
            {"torch": "2.6.0", "lightning": "2.1.3"},
            "the installed lightning is 2.1.3.\nFix: install lightning 2.4 or newer",
        ),
    ],
)
def test_libraries_too_old_for_fsdp_are_an_error(installed: dict[str, str], message: str) -> None:
    with pytest.raises(errors.SettingError) as caught:
        fsdp_support.check_fsdp(settings(strategy="fsdp"), installed)
    assert message in str(caught.value)
    fsdp_support.check_fsdp(settings(strategy="ddp"), installed)


@pytest.mark.parametrize("setting", [{"torch_compile": True}, {"fp16": True}, {"precision": "fp16"}])
def test_settings_that_fsdp_excludes_are_an_error(setting: dict[str, Any]) -> None:
    with pytest.raises(errors.SettingError, match="fsdp"):
        fsdp_support.check_fsdp(settings(strategy="fsdp", **setting), {"torch": "2.6.0", "lightning": "2.4.0"})
    fsdp_support.check_fsdp(settings(strategy="fsdp"), {"torch": "2.6.0", "lightning": "2.4.0"})


def test_torchruns_variables_say_which_process_this_is() -> None:
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


def test_the_hosts_are_those_of_resourceconfig(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path), "HOME": "/root"})
    assert read_hosts(paths) is None
    paths.resource_config.parent.mkdir(parents=True)
    found = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"], "network_interface_name": "eth0"}
    paths.resource_config.write_text(json.dumps(found))
    assert read_hosts(paths) == HOSTS
    for wrong in ({**found, "current_host": "algo-3"}, {**found, "hosts": "algo-1"}, {**found, "hosts": [1]}, {}):
        paths.resource_config.write_text(json.dumps(wrong))
        with pytest.raises(errors.ContainerError, match="one of them"):
            read_hosts(paths)


def test_a_name_that_stays_unknown_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "MAX_HOST_WAIT_SECONDS", 1.0)
    with pytest.raises(errors.ProcessesError, match="'no-such-host'"):
        launch.wait_for_hosts(Hosts(("localhost", "no-such-host"), "localhost", None))


# --- several hosts: network namespaces stand for them

NAMES = ("fz-host-1", "fz-host-2")


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them; each knows the other's name."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def remove() -> None:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    lock = FileLock(Path(tempfile.gettempdir()) / "fusionzoo-two-hosts.lock")  # tests may run side by side
    lock.acquire()
    remove()
    try:
        try:
            for name in NAMES:
                ip("netns", "add", name)
            ip("link", "add", "fz-eth", "netns", NAMES[0], "type", "veth", "peer", "name", "fz-eth", "netns", NAMES[1])
        except subprocess.CalledProcessError as cause:
            pytest.skip(f"network namespaces cannot be made here: {cause.stderr.decode()}")
        for number, name in enumerate(NAMES, 1):
            inside = Path("/etc/netns") / name
            inside.mkdir(parents=True, exist_ok=True)
            (inside / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 algo-1\n10.77.0.2 algo-2\n")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "fz-eth")
            ip("-n", name, "link", "set", "fz-eth", "up")
        yield NAMES
    finally:
        remove()
        lock.release()


def on_hosts(job: JobFolder, hosts: tuple[str, str], folder: Path) -> list[JobFolder]:
    """The job's folder on each host, with a resourceconfig.json; only the channels are the same."""
    jobs = []
    for number, _ in enumerate(hosts, 1):
        copy = like(job, folder / f"host-{number}")
        config = {"current_host": f"algo-{number}", "hosts": ["algo-1", "algo-2"], "network_interface_name": "fz-eth"}
        (copy.root / "input/config/resourceconfig.json").write_text(json.dumps(config))
        jobs.append(copy)
    return jobs


def start_on(host: str, job: JobFolder, **environ: str) -> subprocess.Popen[str]:
    program = ["-c", "import os, sys; os.execvp('ip', ['ip', 'netns', 'exec', *sys.argv[1:]])", host, sys.executable]
    return start(job, 1, [*program, "-W", "ignore", str(TRAIN_PY)], FUSIONZOO_CACHE=str(job.root / "cache"), **environ)


def statuses(running: list[subprocess.Popen[str]]) -> list[int]:
    try:
        return [process.wait(timeout=150) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_two_hosts_that_each_run_plain_train_py_form_one_job(two_hosts: tuple[str, str], tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(**STEADY)
    hosts = on_hosts(one, two_hosts, tmp_path)
    assert one.run() == 0
    second = start_on(two_hosts[1], hosts[1])  # the first one may come later
    time.sleep(3)
    assert statuses([start_on(two_hosts[0], hosts[0]), second]) == [0, 0], log_of(hosts[0]) + log_of(hosts[1])
    assert_same(one, hosts[0])
    assert not hosts[1].output.exists()
    assert not (hosts[1].root / "checkpoints").exists()


def test_a_host_that_dies_ends_the_job_on_the_other_one_within_a_minute(
    two_hosts: tuple[str, str], job: JobFolder, install: Installer, tmp_path: Path
) -> None:
    hosts = on_hosts(dying(job, install, SLEEPS), two_hosts, tmp_path)
    environ = {"PYTHONPATH": str(install.folder), "DYING_RANK": "1"}
    running = [start_on(name, host, **environ) for name, host in zip(two_hosts, hosts, strict=True)]
    until = time.monotonic() + 60
    while not (hosts[0].root / "checkpoints/last.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(2)
    subprocess.run(["ip", "-n", two_hosts[1], "link", "set", "fz-eth", "down"], check=True)  # nobody says goodbye
    assert running[0].wait(timeout=90) == 1, log_of(hosts[0])
    statuses(running)
    assert "process 1 of 2" in hosts[0].failure


def test_hosts_with_different_rows_are_an_error(two_hosts: tuple[str, str], tmp_path: Path) -> None:
    hosts = on_hosts(JobFolder(tmp_path / "job").fill(), two_hosts, tmp_path)
    (hosts[1].root / "input/data/val/part-00000.parquet").unlink()
    hosts[1].channel("val", shop_rows(50, 9))
    assert statuses([start_on(*each) for each in zip(two_hosts, hosts, strict=True)]) == [1, 1]
    assert "Process 1 differs from process 0: data of val: 48 rows" in hosts[1].failure
    assert "Process 1 differs from process 0" in hosts[0].failure


def test_a_sharded_channel_is_refused_where_there_are_several_hosts(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(JobFolder(tmp_path / "ml").fill().root)})
    channels = {"train": {"S3DistributionType": "ShardedByS3Key"}, "val": {"S3DistributionType": "FullyReplicated"}}
    paths.input_data_config.write_text(json.dumps(channels))
    check_processes(paths, settings(), World(0, 2, 0, 2))
    with pytest.raises(
        errors.ProcessesError, match="'train' is ShardedByS3Key, so each of 2 hosts sees different rows"
    ):
        check_processes(paths, settings(), World(1, 2, 0, 1))


def test_a_warning_about_the_settings_is_logged_once(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(max_epochs=1, model_class="cnn", hidden_common_dim=16)
    assert job.run() == 0
    assert capsys.readouterr().out.count("does not read these columns") == 1
