"""A finished or interrupted job continues with a larger `max_epochs`."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from fusionzoo.errors import FewerEpochsError
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing.resume_point import ResumePoint, continue_with_more_epochs
from fusionzoo.training.module import TrainingModule
from process_helpers import run_in_child
from resume_helpers import copy_input, read_results, resume, run_until_killed
from shop import JobFolder
from task_helpers import make_class_objective, make_classification
from training_helpers import make_job_settings

FIXED_RATE: dict[str, Any] = {"schedule": "constant", "warmup_steps": 3, "average_checkpoints": 2, "rows": 96}


@pytest.fixture(scope="module")
def long_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, dict[str, Any]]:
    """A job of 4 epochs after an uninterrupted run, and its results."""
    job = JobFolder(tmp_path_factory.mktemp("long")).fill(max_epochs=4, **FIXED_RATE)
    assert run_in_child(job.run, job.root / "log.txt") == 0
    return job, read_results(job)


def set_in_place(job: JobFolder, **changes: Any) -> None:
    """Change settings of a job, and keep its checkpoints."""
    path = job.root / "input/config/hyperparameters.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: json.dumps(v) for key, v in changes.items()}))


def make_short_job(long_job: JobFolder, tmp_path: Path) -> JobFolder:
    job = copy_input(long_job, tmp_path)
    set_in_place(job, max_epochs=2)
    return job


def test_a_finished_job_continues_bit_identically_also_if_it_is_killed_again(
    long_job: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    job = make_short_job(long_job[0], tmp_path)
    assert run_in_child(job.run, job.root / "log.txt") == 0
    assert read_results(job) != long_job[1]
    set_in_place(job, max_epochs=4)
    assert (
        run_until_killed(job, TrainingModule, "training_step", 8) == -signal.SIGKILL
    )  # in epoch 4, after its validation
    log = resume(job)
    assert "Resuming from" in log
    assert "max_epochs is raised" not in log
    assert read_results(job) == long_job[1]


def test_the_warning_about_the_learning_rate_says_epoch_for_one(caplog: pytest.LogCaptureFixture) -> None:
    point = ResumePoint(
        Path("last.ckpt"), job_fingerprint={}, processes=1, epoch=1, step=9, max_epochs=1, training_summary=None
    )
    continue_with_more_epochs(point, make_job_settings(), 3)
    assert "a training with 3 epochs. So far it was that of 1 epoch, so the result" in caplog.text


def test_an_interrupted_job_continues_bit_identically(
    long_job: tuple[JobFolder, dict[str, Any]], tmp_path: Path
) -> None:
    job = make_short_job(long_job[0], tmp_path)
    set_in_place(job, checkpoint_every_n_steps=2)
    assert run_until_killed(job, TrainingModule, "training_step", 9) == -signal.SIGKILL
    set_in_place(job, max_epochs=4)
    log = resume(job)
    assert "max_epochs is raised from 2 to 4" in log
    assert "From here on, the learning rate" not in log
    assert read_results(job) == long_job[1]
    shutil.rmtree(job.root / "input/data")
    set_in_place(job, max_epochs=3)
    assert job.run() == 1
    assert "max_epochs was 4, is 3" in job.failure
    assert "Fix: set max_epochs to at least 4 to resume" in job.failure


def test_a_job_that_stopped_early_does_not_train_on(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(early_stop_patience=1, max_epochs=6, lr=0.5, schedule="constant", warmup_steps=0)
    assert job.run() == 0
    before = read_results(job)
    assert before["training"]["epochs"] < 6
    set_in_place(job, max_epochs=9)
    assert job.run() == 0
    assert "Early stopping has already ended this training" in capsys.readouterr().out
    before["training"]["settings"]["max_epochs"] = 9
    assert read_results(job) == before


def make_resume_point(max_epochs: int, summary: dict[str, Any] | None) -> ResumePoint:
    return ResumePoint(Path("/c/last.ckpt"), {}, 1, 2, 20, max_epochs=max_epochs, training_summary=summary)


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"schedule": "linear"}, True),
        ({"schedule": "cosine", "warmup_steps": 2}, True),
        ({"schedule": "constant"}, True),  # the warm-up is a fraction of all steps
        ({"schedule": "constant", "warmup_steps": 2}, False),
        ({"schedule": "constant", "warmup_fraction": 0.0}, False),
    ],
)
def test_a_warning_says_if_the_learning_rates_so_far_were_those_of_fewer_epochs(
    settings: dict[str, Any], differs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    point = continue_with_more_epochs(make_resume_point(2, {"steps": 20}), make_job_settings(**settings), 5)
    assert point.training_summary is None
    assert "raised from 2 to 5" in caplog.text
    assert ("the result differs from a training with 5 epochs from the beginning" in caplog.text) == differs


def test_the_same_number_of_epochs_changes_nothing_and_fewer_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    point = make_resume_point(3, {"steps": 20})
    assert continue_with_more_epochs(point, make_job_settings(), 3) is point
    assert not caplog.text
    with pytest.raises(FewerEpochsError, match="max_epochs was 3, is 2"):
        continue_with_more_epochs(point, make_job_settings(), 2)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("done", [0, 3, 10])
def test_the_next_step_has_the_learning_rate_of_the_longer_training(schedule: str, done: int) -> None:
    settings = make_job_settings(schedule=schedule, warmup_steps=4)

    def start(total: int) -> tuple[SGD, Any]:
        optimizer = SGD([{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.7)], lr=1.0)
        return optimizer, optimizers.build_scheduler(optimizer, settings, total)

    def advance(optimizer: SGD, scheduler: Any, steps: int) -> None:
        for _ in range(steps):
            optimizer.step()
            scheduler.step()

    short, short_scheduler = start(10)
    advance(short, short_scheduler, done)
    resumed, scheduler = start(25)
    resumed.load_state_dict(short.state_dict())
    scheduler.load_state_dict(short_scheduler.state_dict())
    optimizers.apply_schedule(scheduler)
    expected, expected_scheduler = start(25)
    advance(expected, expected_scheduler, done)
    for _ in range(3):
        assert [group["lr"] for group in resumed.param_groups] == [group["lr"] for group in expected.param_groups]
        advance(resumed, scheduler, 1)
        advance(expected, expected_scheduler, 1)


def test_the_schedule_is_applied_when_the_training_starts() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5, "weight_decay": 0.0}]
    objective, compute_metrics = make_class_objective(), make_classification().compute_metrics
    settings = make_job_settings(warmup_steps=0)
    module = TrainingModule(nn.Identity(), settings, groups, objective, compute_metrics, total_steps=10)
    configured: Any = module.configure_optimizers()
    configured["optimizer"].param_groups[0]["lr"] = 0.0
    module._trainer = SimpleNamespace(lr_scheduler_configs=[SimpleNamespace(**configured["lr_scheduler"])])  # type: ignore[assignment]
    module.on_train_start()
    assert configured["optimizer"].param_groups[0]["lr"] == 0.5
