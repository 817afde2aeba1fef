"""A job that gets SIGTERM or Ctrl-C stops and is not taken for a finished one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.sagemaker import run_job
from fusionzoo.training import job as job_module
from fusionzoo.training.module import TrainingModule
from process_helpers import run_in_child
from resume_helpers import resume, run_with_signals
from shop import JobFolder


def test_a_second_ctrl_c_stops_the_job_immediately(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill()
    assert run_with_signals(job, 3, signal.SIGINT, signal.SIGINT) == 1
    assert "press Ctrl-C again to stop immediately" in (job.root / "log.txt").read_text()
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C" in job.failure
    assert "The state after step" not in job.failure
    assert not (job.root / "checkpoints/last.ckpt").exists()


def test_an_interrupted_training_has_not_finished(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(checkpoint_every_n_steps=2)

    def run_interrupted() -> int:
        TrainingModule.on_train_epoch_end = lambda self: signal.default_int_handler(signal.SIGINT, None)  # type: ignore[method-assign]
        return job.run()

    assert run_in_child(run_interrupted, job.root / "log.txt") == 1
    assert not list(job.output.glob("*_predictions.*"))
    assert "Resuming from" in resume(job)


def test_a_job_in_the_background_ignores_ctrl_c(tmp_path: Path) -> None:
    assert run_with_signals(JobFolder(tmp_path / "ml").fill(), 3, signal.SIGINT, ctrl_c=signal.SIG_IGN) == 0


@pytest.mark.parametrize(
    ("numbers", "handler", "status"),
    [
        ([signal.SIGHUP], signal.SIG_DFL, 1),
        ([signal.SIGHUP, signal.SIGHUP], signal.SIG_DFL, 1),  # from the terminal, and from the shell
        ([signal.SIGQUIT], signal.SIG_DFL, 1),
        ([signal.SIGHUP, signal.SIGQUIT], signal.SIG_IGN, 0),  # started with nohup
    ],
)
def test_a_closed_terminal_stops_a_job_like_sigterm_unless_it_ignores_that(
    numbers: list[int], handler: Any, status: int, tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        assert run_with_signals(job, 3, *numbers) == status
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
    assert (job.root / "output/failure").exists() == bool(status)
    if status:
        assert "The state after step 4 of epoch 1 is in" in job.failure
        assert "after step 4." in resume(job)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_stops_a_job_before_its_training(number: int, tmp_path: Path) -> None:
    def work() -> int:
        signal.signal(number, signal.SIG_DFL)
        return run_job(lambda paths: signal.raise_signal(number), {"SAGEMAKER_BASE_DIR": str(tmp_path)})

    assert run_in_child(work, tmp_path / "log.txt") == 1
    assert "stopped by SIGTERM, SIGHUP" in (tmp_path / "output/failure").read_text()


def send_sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def send_sigterm_where_errors_are_suppressed() -> None:
    with suppress(Exception):
        send_sigterm()


def send_sigterm_in_a_finalizer() -> None:
    class WithFinalizer:
        def __del__(self) -> None:
            send_sigterm()  # Python prints the exception of a finalizer and continues

    WithFinalizer()


def stop_before(job: JobFolder, function: str, send: Callable[[], None]) -> str:
    """Send SIGTERM just before this function of `training/job.py` is called; return the log of the stopped job."""

    def work() -> int:
        original = getattr(job_module, function)

        def send_and_call(*args: Any, **kwargs: Any) -> Any:
            send()
            print("not stopped")
            return original(*args, **kwargs)

        setattr(job_module, function, send_and_call)
        return job.run()

    assert run_in_child(work, job.root / "log.txt") == 1
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C" in job.failure
    return (job.root / "log.txt").read_text()


@pytest.mark.parametrize("function", ["prepare_data", "check_before_training", "load_final_model", "write_artifacts"])
@pytest.mark.parametrize("send", [send_sigterm, send_sigterm_where_errors_are_suppressed])
def test_sigterm_outside_of_training_stops_the_job_immediately(
    function: str, send: Callable[[], None], tmp_path: Path
) -> None:
    is_after_training = function in ("load_final_model", "write_artifacts")
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, ship_on_stop=not is_after_training)
    assert "not stopped" not in stop_before(job, function, send)
    assert not job.output.exists() or not list(job.output.glob("*_predictions.*"))


def test_sigterm_in_a_finalizer_stops_the_job_before_it_trains(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill()
    assert "not stopped" in stop_before(job, "prepare_data", send_sigterm_in_a_finalizer)
    assert not (job.root / "checkpoints/last.ckpt").exists()


def test_sigterm_after_the_last_step_stops_the_job_before_it_evaluates(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, ship_on_stop=False)

    def run_terminated() -> int:
        TrainingModule.on_fit_end = lambda self: send_sigterm()  # type: ignore[method-assign]
        return job.run()

    assert run_in_child(run_terminated, job.root / "log.txt") == 1
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C" in job.failure
    assert not list(job.output.glob("*_predictions.*"))
    assert "training has already finished" in resume(job)
