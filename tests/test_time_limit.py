"""`max_minutes` ends the training in time, with a model, and the job continues when it is started again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fusionzoo.training import finish_time
from fusionzoo.training.checkpointing.time_limit import TimeBudget, TimeLimit
from process_helpers import copy_job, read_log, read_metrics, run_forked, run_in_child
from resume_helpers import read_results, resume
from shop import JobFolder

TRAINER: Any = SimpleNamespace(accumulate_grad_batches=1)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_limit(
    clock: Clock, batch_seconds: float, validation_seconds: float | None = None, steps: int = 1
) -> TimeLimit:
    """Return a limit of 100 s, 20 of which are reserved, after a batch and perhaps a validation."""
    limit, module = TimeLimit(TimeBudget(100.0, 20.0, validation_seconds=8.0), steps, clock), SimpleNamespace()
    limit.on_train_start(TRAINER, module)  # type: ignore[arg-type]
    for seconds in (50.0, batch_seconds):  # the first batch is slow
        clock.now += seconds
        limit.on_train_batch_end(TRAINER, module, None, None, 0)  # type: ignore[arg-type]
    clock.now = 0.0
    limit.on_validation_start(TRAINER, module)  # type: ignore[arg-type]
    if validation_seconds is not None:
        clock.now += validation_seconds
        limit.on_validation_end(TRAINER, module)  # type: ignore[arg-type]
    return limit


@pytest.mark.parametrize(
    ("now", "is_over", "fits"),
    [(72.9, False, True), (73.0, True, True), (75.0, True, True), (75.1, True, False), (200.0, True, False)],
)
def test_training_ends_while_one_more_step_and_the_last_validation_fit(now: float, is_over: bool, fits: bool) -> None:
    clock = Clock()
    limit = make_limit(clock, batch_seconds=2.0, validation_seconds=5.0)
    clock.now = now
    assert (limit.is_over(TRAINER), limit.has_time_to_validate()) == (is_over, fits)


def test_before_the_first_validation_its_time_is_estimated() -> None:
    clock = Clock()
    limit = make_limit(clock, batch_seconds=2.0)
    assert limit.validation_seconds == 8.0
    clock.now = 69.9
    assert not limit.is_over(TRAINER)
    clock.now = 70.0
    assert limit.is_over(TRAINER)


def test_processes_that_check_in_every_eighth_step_end_eight_steps_earlier() -> None:
    clock = Clock()
    limit = make_limit(clock, 2.0, 5.0, steps=8)
    clock.now = 58.9
    assert not limit.is_over(TRAINER)
    clock.now = 59.0
    assert limit.is_over(TRAINER)


def test_without_max_minutes_training_has_no_limit() -> None:
    limit = TimeLimit(None)
    assert not limit.is_over(TRAINER)


def end_at_step(job: JobFolder, step: int, fits: bool) -> int:
    """Run the job; its time is over after this step, and another validation fits or not."""

    def work() -> int:
        TimeLimit.is_over = lambda self, trainer: trainer.global_step >= step  # type: ignore[method-assign]
        TimeLimit.has_time_to_validate = lambda self: fits  # type: ignore[method-assign]
        return job.run()

    return run_in_child(work, job.root / "log.txt")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("uninterrupted")).fill(onnx="off")
    assert run_in_child(job.run, job.root / "log.txt") == 0
    return job


def test_time_ends_the_training_with_the_best_model_so_far_and_the_job_continues_bit_identically(
    uninterrupted: JobFolder, tmp_path: Path
) -> None:
    job = copy_job(uninterrupted, tmp_path / "ml", max_minutes=30)
    assert end_at_step(job, 13, fits=False) == 0, read_log(job)
    metrics = read_metrics(job)
    assert metrics["run"]["ended_by"] == metrics["training"]["ended_by"] == "max_minutes"
    assert [entry["step"] for entry in metrics["training"]["validations"]] == [10]
    assert (metrics["training"]["steps"], metrics["training"]["best"]["step"]) == (13, 10)
    assert "max_minutes has ended the training after step 13 of epoch 2" in read_log(job)
    assert (job.model / "model.pth").exists()
    assert "last.ckpt: epoch 2, after step 13." in resume(job)
    assert read_results(job) == read_results(uninterrupted)


def test_a_last_validation_is_done_if_it_fits_and_the_weights_continue_bit_identically(
    uninterrupted: JobFolder, tmp_path: Path
) -> None:
    job = copy_job(uninterrupted, tmp_path / "ml", max_minutes=30)
    assert end_at_step(job, 13, fits=True) == 0, read_log(job)
    assert [entry["step"] for entry in read_metrics(job)["training"]["validations"]] == [10, 13]
    resume(job)
    results, expected = read_results(job), read_results(uninterrupted)
    curve = results["training"]["validations"]
    assert [entry["step"] for entry in curve] == [10, 13, 20]
    assert curve[-1]["val_loss"] == expected["training"]["validations"][-1]["val_loss"]


def test_without_any_validation_one_is_done_even_if_it_does_not_fit(uninterrupted: JobFolder, tmp_path: Path) -> None:
    job = copy_job(uninterrupted, tmp_path / "ml", max_minutes=30)
    assert end_at_step(job, 3, fits=False) == 0, read_log(job)
    assert read_metrics(job)["training"]["best"]["step"] == 3


def test_time_that_is_used_up_before_the_last_step_does_not_cut_a_complete_training(
    uninterrupted: JobFolder, tmp_path: Path
) -> None:
    job = copy_job(uninterrupted, tmp_path / "ml", max_minutes=30)
    assert end_at_step(job, 20, fits=False) == 0, read_log(job)
    assert read_metrics(job)["training"]["ended_by"] == "max_epochs"


def test_two_processes_end_together_after_one_step_if_the_time_is_used_up_before_training(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_minutes=0.001, devices=2, onnx="off")
    assert run_forked(job) == 0, read_log(job)
    assert "max_minutes is used up before the first step" in read_log(job)
    assert (read_metrics(job)["training"]["steps"], read_metrics(job)["run"]["ended_by"]) == (1, "max_minutes")


def test_the_reserve_grows_with_the_export_and_the_rows_to_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish_time, "predict_scores", lambda *arguments: None)
    clock = iter((0.0, 2.0) * 2)  # scoring 4 rows takes 2 s
    monkeypatch.setattr(finish_time, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(finish_time, "make_link", lambda task: None)
    model = SimpleNamespace(to=lambda device: None, cpu=lambda: None)
    job = SimpleNamespace(batch_size=1, max_batch_tokens=None, average_checkpoints=0)
    splits = {"train": range(1000), "val": range(8), "test": range(16)}
    run: Any = SimpleNamespace(
        job=job,
        paths=SimpleNamespace(started=1000.0),
        data=SimpleNamespace(splits=splits),
        built=SimpleNamespace(model=model),
        task=None,
        world=SimpleNamespace(size=2),
    )
    budget = finish_time.make_time_budget(run, 10, export_seconds=3.0)
    assert budget == TimeBudget(1000 + 600, 15 + 1.25 * (2 * 3 + 0.5 * 12), validation_seconds=2.0)
    job.average_checkpoints = 2
    longer = finish_time.make_time_budget(run, 10, export_seconds=3.0)
    assert longer.finish_seconds == 15 + 1.25 * (2 * 3 + 0.5 * (2 * 8 + 16) / 2)
