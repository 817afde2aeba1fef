"""SIGTERM leaves a model: the best one so far, written in the time that is left, completely or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fusionzoo import errors
from fusionzoo.artifacts import model_folder, onnx_export
from fusionzoo.atomic_files import hold_signals
from fusionzoo.sagemaker import folder_lock
from fusionzoo.sagemaker.folder_lock import is_taken, lock_folder
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training import job as job_module
from fusionzoo.training import shipping
from fusionzoo.training import termination as termination_module
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.checkpointing.last_checkpoint import LastCheckpoint
from fusionzoo.training.distributed import collectives
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.termination import Termination
from fusionzoo.training.training_run import TrainingRun
from process_helpers import read_log, read_metrics, run_in_child
from resume_helpers import resume
from shop import JobFolder
from training_helpers import make_job_settings


def send_sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def stop_in_step_and_before_export(job: JobFolder, before_export: Callable[[], None]) -> int:
    """Send SIGTERM in step 13, and call `before_export` before the export of the best model so far."""

    def work() -> int:
        calls, step, export = [0], TrainingModule.training_step, onnx_export.export_onnx

        def step_or_stop(self: TrainingModule, *arguments: Any) -> Any:
            calls[0] += 1
            if calls[0] == 13:
                send_sigterm()
                onnx_export.export_onnx = export_late
            return step(self, *arguments)

        def export_late(*arguments: Any) -> Any:
            before_export()
            return export(*arguments)

        TrainingModule.training_step = step_or_stop  # type: ignore[method-assign]
        return job.run()

    return run_in_child(work, job.root / "log.txt")


@pytest.mark.parametrize(("before_export", "seconds"), [(send_sigterm, 60), (lambda: time.sleep(60), 2)])
def test_a_ship_that_is_stopped_or_too_slow_leaves_a_whole_model_without_onnx(
    before_export: Callable[[], None], seconds: int, tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").fill(ship_on_stop_seconds=seconds, onnx="required")
    assert stop_in_step_and_before_export(job, before_export) == 1
    assert "holds the best model so far: val_loss" in job.failure, read_log(job)
    assert {path.name for path in job.model.iterdir()}.isdisjoint({"model.onnx", "onnx_check.json"})
    assert not [path for path in job.model.iterdir() if path.name.startswith(".")]
    assert not (job.output / "metrics.json").exists()
    model, _ = model_folder.load_model(job.model)
    assert not model.training
    assert "Resuming from" in resume(job)
    assert (job.model / "model.onnx").exists()
    assert read_metrics(job)["training"]["ended_by"] == "max_epochs"


@pytest.mark.parametrize(
    ("owner", "function"),
    [
        (best_checkpoints, "describe_best"),
        (LastCheckpoint, "save_finished"),
        (shipping, "choose_stop_seconds"),
        (job_module, "load_final_model"),
        (job_module, "write_artifacts"),
        (folder_lock, "_release"),
    ],
)
def test_sigterm_after_the_last_step_lets_the_job_finish(owner: Any, function: str, tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1, onnx="required")

    def work() -> int:
        original = getattr(owner, function)

        def send_and_call(*arguments: Any, **options: Any) -> Any:
            send_sigterm()
            return original(*arguments, **options)

        setattr(owner, function, send_and_call)
        return job.run()

    assert run_in_child(work, job.root / "log.txt") == 0, read_log(job)
    assert (job.output / "metrics.json").exists()
    assert not (job.output.parent / "failure").exists()
    model_folder.load_model(job.model)


def test_a_process_waits_until_the_first_one_has_written_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    termination, steps = Termination(), ["begun"]
    run = SimpleNamespace(
        job=make_job_settings(), world=World(1, 2, 1, 2), termination=termination, paths=Paths.from_environment({})
    )

    def wait_for_first(compute: Callable[[], None]) -> None:
        send_sigterm()
        steps.append("first process has finished")

    monkeypatch.setattr(collectives, "broadcast_from_first", wait_for_first)
    with termination.handle_signals():
        with shipping.finish_in_time(cast("TrainingRun", run), {"ended_by": "max_epochs"}):
            steps.append("scored")
        send_sigterm()
        steps.append("ignored a signal")
    assert steps == ["begun", "scored", "first process has finished", "ignored a signal"]


def test_ctrl_c_between_training_and_results_stops_the_job() -> None:
    termination, steps = Termination(), []

    def press_and_finish() -> None:
        with termination.handle_signals():
            with termination.defer_stop(finishes=True):
                pass
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("deferred")
            with termination.finish_within(60):
                steps.append("finished")

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(errors.TerminatedError):
            press_and_finish()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert steps == ["deferred"]


# --- the signals


def stop_within(seconds: float, work: Callable[[], None], is_one_of_many: bool = False) -> str:
    """Return "finished" or "stopped" for work in the block that has `seconds` after SIGTERM."""
    termination = Termination(is_one_of_many)
    try:
        with termination.handle_signals(), termination.finish_within(seconds):
            work()
    except errors.TerminatedError:
        return "stopped"
    finally:
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0, "the alarm would stop later work"
    return "finished"


def sleep_long() -> None:
    send_sigterm()
    time.sleep(60)


def send_twice() -> None:
    send_sigterm()
    send_sigterm()


@pytest.mark.parametrize(
    ("seconds", "work", "is_one_of_many", "expected"),
    [
        (60, send_sigterm, False, "finished"),
        (0, send_sigterm, False, "stopped"),
        (0.05, sleep_long, False, "stopped"),
        (60, send_twice, False, "stopped"),
        (60, send_twice, True, "finished"),  # torchrun sends it again
        (60, lambda: os.kill(os.getpid(), signal.SIGINT), False, "stopped"),
    ],
)
def test_work_after_sigterm_has_the_time_that_is_left(
    seconds: float, work: Callable[[], None], is_one_of_many: bool, expected: str
) -> None:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert stop_within(seconds, work, is_one_of_many) == expected
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_stop_that_a_library_swallows_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(termination_module, "REPEAT_SECONDS", 0.1)

    def swallow_once() -> None:
        send_sigterm()
        with contextlib.suppress(BaseException):
            time.sleep(60)
        time.sleep(60)

    assert stop_within(0.05, swallow_once) == "stopped"


def test_the_time_counts_from_the_signal_also_if_it_came_before_the_block() -> None:
    termination = Termination()

    def stop_and_work() -> None:
        with termination.handle_signals():
            with termination.defer_stop(finishes=True):
                send_sigterm()
                time.sleep(0.1)
            with termination.finish_within(0.05):
                time.sleep(60)

    with pytest.raises(errors.TerminatedError):
        stop_and_work()


def test_a_signal_waits_until_files_have_been_replaced() -> None:
    steps: list[str] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: steps.append("signal"))
    try:
        with hold_signals():
            send_sigterm()
            steps.append("replaced")
        assert steps == ["replaced", "signal"]
        send_sigterm()
        assert steps == ["replaced", "signal", "signal"]
    finally:
        signal.signal(signal.SIGTERM, previous)


@pytest.mark.parametrize(
    ("settings", "world", "environ", "seconds"),
    [
        ({}, SINGLE_PROCESS, {}, 90.0),
        ({"ship_on_stop": False}, SINGLE_PROCESS, {}, 0.0),
        ({"ship_on_stop_seconds": 10}, World(1, 2, 1, 2), {}, 10.0),
        ({}, World(1, 2, 1, 2), {}, 25.0),
        ({}, World(1, 2, 1, 2), {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "110"}, 90.0),
        ({}, World(1, 2, 1, 2), {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "50"}, 45.0),
    ],
)
def test_the_time_is_that_of_the_setting_and_less_than_torchrun_gives(
    settings: dict[str, Any], world: World, environ: dict[str, str], seconds: float
) -> None:
    job: JobSettings = make_job_settings(**settings)
    assert shipping.choose_stop_seconds(job, world, environ) == seconds


@pytest.mark.parametrize("comes_before", [True, False])
def test_a_job_stops_immediately_if_another_job_has_taken_its_folder(comes_before: bool, tmp_path: Path) -> None:
    termination, steps = Termination(), []

    def stop_and_work() -> None:
        with termination.handle_signals():
            if comes_before:
                with termination.defer_stop(finishes=True):
                    send_sigterm()
            with termination.finish_within(60, lambda: not is_taken(tmp_path, "mine")):
                steps.append("begun")
                send_sigterm()
                steps.append("finished")

    with lock_folder(tmp_path, "other"), pytest.raises(errors.TerminatedError):
        stop_and_work()
    assert steps == ([] if comes_before else ["begun"])
    with lock_folder(tmp_path / "mine", "mine"):
        assert not is_taken(tmp_path / "mine", "mine")
