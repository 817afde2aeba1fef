"""Jobs of several processes have the results of one process, and a dead process stops the job."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conftest import Installer
from fusionzoo import errors
from fusionzoo.training.distributed.heartbeat import Heartbeat
from process_helpers import (
    DETERMINISTIC,
    KILLED,
    RAISES,
    TRAIN_PY,
    assert_same_results,
    copy_job,
    load_weights,
    make_dying_job,
    read_log,
    read_metrics,
    run,
    run_forked,
    start,
)
from shop import JobFolder


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
            "early_stop_metric": "val/quadratic_kappa",
        },
        {  # one rank has no rows in some steps
            "task": "regression",
            "num_classes": None,
            "label_name": "visits",
            "tab_field_list": ["price"],
            "batch_size": 2,
            "max_epochs": 1,
            "lr": 1e-4,
        },
    ],
)
def test_two_processes_have_the_results_of_one(settings: dict[str, Any], tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(rows=157, **DETERMINISTIC, **settings)
    two = copy_job(one, tmp_path / "two")
    assert one.run() == 0
    assert (run_forked(two, 2) if settings else run(two)) == 0, read_log(two)
    assert_same_results(one, two)


def test_the_setting_devices_starts_the_processes_of_a_host(tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(**DETERMINISTIC)
    two = copy_job(one, tmp_path / "two", devices=2)
    assert one.run() == 0
    assert run(two, program=[str(TRAIN_PY)]) == 0, read_log(two)
    assert "Starting 2 of 2 processes on this host" in read_log(two)
    assert read_log(two).count("Model multimodal_cnn") == 1
    assert_same_results(one, two)


@pytest.mark.parametrize(("rank", "processes"), [("0", 1), ("1", 1), ("1", 2)])
def test_a_failed_process_stops_the_job_and_is_named_as_the_cause(
    rank: str, processes: int, job: JobFolder, install: Installer
) -> None:
    job = copy_job(make_dying_job(job, install, RAISES), job.root / "two", devices=2)
    assert run_forked(job, processes, DYING_RANK=rank) == 1
    assert "ValueError: the wheel of rank one is broken" in job.failure.splitlines()[0]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_process_stops_the_job_and_is_named_in_the_failure_file(
    rank: str, job: JobFolder, install: Installer
) -> None:
    make_dying_job(job, install, KILLED)
    assert run_forked(job, 2, DYING_RANK=rank) == 1
    assert f"process {rank} of 2" in job.failure
    assert "it was killed (perhaps out of memory)" in job.failure
    assert "resume from its last checkpoint" in job.failure


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_process_that_is_killed_while_the_others_compute_alone_is_named(
    rank: str, job: JobFolder, install: Installer
) -> None:
    """torchrun's SIGTERM reaches a process that has not noticed the loss of the other one."""
    make_dying_job(job, install, "pass", f"{KILLED} if os.environ['RANK'] == '{rank}' else time.sleep(60)")
    assert run_forked(job, 2, DYING_RANK="none") == 1
    assert f"process {rank} of 2" in job.failure
    assert "it was killed (perhaps out of memory)" in job.failure


@pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
def test_a_launcher_that_is_stopped_before_the_training_is_no_lost_process(
    number: str, job: JobFolder, install: Installer
) -> None:
    stop_launcher = f"os.environ['RANK'] == '0' and os.kill(os.getppid(), signal.{number}); time.sleep(60)"
    job = copy_job(make_dying_job(job, install, "pass", stop_launcher), job.root / "two", devices=2)
    launcher = start(job, 2, [str(TRAIN_PY)], PYTHONPATH=str(install.folder), DYING_RANK="none")
    launcher.wait(timeout=120)
    deadline = time.monotonic() + 60
    while not (job.root / "output/failure").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert job.failure.startswith("The job was stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C.")


@pytest.mark.parametrize(
    ("other", "is_own"),
    [(str(errors.TerminatedError(None)), True), ("ValueError: x", False), (str(errors.DataError([])), False)],
)
def test_a_stop_that_another_process_reported_first_is_no_failure_of_that_process(other: str, is_own: bool) -> None:
    """SIGTERM reaches all processes; the failure file began with "process 1 of 2" if that one was faster."""
    heartbeat, stopped = Heartbeat.__new__(Heartbeat), errors.TerminatedError(None)
    cause = f"process 1 of 2 (host a, pid 7): {other}"
    heartbeat._name, heartbeat._reported_cause, heartbeat._last_beat = "process 0 of 2", cause, {1: 0.0}
    heartbeat._store = SimpleNamespace(compare_set=lambda *_: cause.encode())  # type: ignore[assignment]
    heartbeat._peer_names, heartbeat._last_answer = {1: "process 1 of 2"}, time.monotonic()
    for found in (heartbeat.find_cause(stopped), heartbeat._report(stopped)):
        assert (found is stopped) == is_own
        assert is_own or other.splitlines()[0] in str(found)


def test_a_process_that_waits_for_another_one_stops_at_sigterm_and_says_so(tmp_path: Path) -> None:
    """It waited in torch for up to two hours, and did not react to SIGTERM."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as torchrun has one
    keys, job = store.num_keys(), JobFolder(tmp_path).fill(devices=2)
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    running = start(job, program=[str(TRAIN_PY)], **ranks, **agent, **address)
    try:
        while store.num_keys() == keys:
            assert running.poll() is None, read_log(job)
            time.sleep(0.2)
        time.sleep(1)  # until it waits
        running.terminate()
        assert running.wait(timeout=60) == 1
    finally:
        running.kill()
    assert "1 process of 2 did not start within" in job.failure
    assert "number 1 (from 0)" in job.failure


def test_a_killed_job_of_two_processes_resumes_bit_identically(job: JobFolder, install: Installer) -> None:
    uninterrupted = copy_job(make_dying_job(job, install, KILLED), job.root / "uninterrupted")
    assert run_forked(uninterrupted, 2, DYING_RANK="none") == 0
    assert run_forked(job, 2, DYING_RANK="1") == 1
    assert run_forked(job, 2, DYING_RANK="none") == 0
    assert "Resuming from" in read_log(job)
    pairs = zip(load_weights(uninterrupted).values(), load_weights(job).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert read_metrics(uninterrupted)["splits"] == read_metrics(job)["splits"]


def test_a_job_of_two_processes_resumes_with_one(job: JobFolder, install: Installer) -> None:
    uninterrupted = copy_job(make_dying_job(job, install, KILLED), job.root / "uninterrupted")
    assert run_forked(uninterrupted, 1, DYING_RANK="none") == 0
    assert run_forked(job, 2, DYING_RANK="1") == 1
    assert run_forked(job, 1, DYING_RANK="none") == 0
    assert "The checkpoint was written by 2 processes and the job now has 1" in read_log(job)
    assert_same_results(uninterrupted, job)


def test_batches_by_tokens_continue_with_the_same_number_of_processes_only(job: JobFolder, install: Installer) -> None:
    make_dying_job(job, install, KILLED, max_batch_tokens=200)
    assert run_forked(job, 2, DYING_RANK="1") == 1
    before = (job.root / "checkpoints/last.ckpt").read_bytes()
    assert run_forked(job, 1, DYING_RANK="none") == 1
    assert "- processes, on which the batches of max_batch_tokens depend: was 2, is 1" in job.failure
    assert (job.root / "checkpoints/last.ckpt").read_bytes() == before
    assert run_forked(job, 2, DYING_RANK="none") == 0
    assert run_forked(job, 1, DYING_RANK="none") == 0  # the training has finished


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_signal_saves_the_state_and_the_best_model_of_a_job_of_two_processes(
    number: str, job: JobFolder, install: Installer
) -> None:
    make_dying_job(job, install, f"os.kill(os.getppid(), signal.{number})")
    job = copy_job(job, job.root / "two", devices=2, checkpoint_every_n_steps=1000, val_check_interval=0.3)
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run with nohup
    try:
        assert run(job, 2, [str(TRAIN_PY)], PYTHONPATH=str(install.folder), DYING_RANK="1") == 1
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C. The state after step" in job.failure
    assert "holds the best model so far" in job.failure, read_log(job)
    assert (job.root / "checkpoints/last.ckpt").exists()
    assert (job.model / "model.onnx").exists()


def test_the_processes_of_a_launcher_that_is_killed_save_and_stop(job: JobFolder, install: Installer) -> None:
    make_dying_job(job, install, "os.kill(os.getppid(), signal.SIGKILL); time.sleep(3)")
    job = copy_job(job, job.root / "two", devices=2, checkpoint_every_n_steps=1000)
    launcher = start(job, 2, [str(TRAIN_PY)], PYTHONPATH=str(install.folder), DYING_RANK="1")
    assert launcher.wait(timeout=120) == -signal.SIGKILL
    deadline = time.monotonic() + 60
    owner = job.root / "checkpoints/.job.json"
    while (owner.exists() or not (job.root / "output/failure").exists()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not owner.exists(), "the processes went on training"
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C. The state after step" in job.failure
    assert (job.root / "checkpoints/last.ckpt").exists()


def test_the_first_process_reports_invalid_settings(job: JobFolder) -> None:
    job.fill(batch_size=1)
    assert run_forked(job, 2) == 1
    assert "batch_size = 1: a step needs at least one row for each of 2 processes" in job.failure


def test_a_warning_about_the_settings_is_logged_once(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(max_epochs=1, model_class="cnn", hidden_common_dim=16)
    assert job.run() == 0
    assert capsys.readouterr().out.count("does not read these columns") == 1
