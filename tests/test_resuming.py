"""A job that was killed or stopped resumes bit-identically."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusionzoo.serving.predictor import Predictor
from fusionzoo.training.checkpointing import last_checkpoint, random_state
from fusionzoo.training.checkpointing.checkpoint_io import AtomicCheckpoints
from fusionzoo.training.module import TrainingModule
from process_helpers import run_in_child
from resume_helpers import copy_input, read_results, resume, run_until_killed, run_with_signals
from shop import JobFolder, shop_rows

JOBS: dict[str, dict[str, Any]] = {
    "plain": {"checkpoint_every_n_steps": 2},
    "many settings": {
        "accumulate_grad_batches": 3,
        "modality_dropout": 0.3,
        "average_checkpoints": 2,
        "val_check_interval": 0.4,
        "max_epochs": 3,
        "checkpoint_every_n_steps": 1,
        "early_stop_metric": "val/auroc",
        "onnx": "required",
    },
    "stops early": {"early_stop_patience": 1, "max_epochs": 8, "lr": 0.5, "checkpoint_every_n_steps": 5},
    "token budget": {"max_batch_tokens": 200, "optimizer": "sgd", "checkpoint_every_n_steps": 3},
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[JobFolder, dict[str, Any]]]:
    """Each of the jobs after an uninterrupted run, and its results."""
    jobs = {}
    for name, settings in JOBS.items():
        job = JobFolder(tmp_path_factory.mktemp("uninterrupted")).fill(**settings)
        assert run_in_child(job.run, job.root / "log.txt") == 0
        jobs[name] = job, read_results(job)
    return jobs


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_three_times_at_random_steps_has_bit_identical_results(
    name: str, seed: int, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    reference, expected = uninterrupted[name]
    job, chance, kills = copy_input(reference, tmp_path), random.Random(f"{name} {seed}"), 0
    while kills < 3:
        method, calls = chance.choice([("training_step", 15), ("on_after_backward", 15), ("validation_step", 5)])
        if run_until_killed(job, TrainingModule, method, chance.randrange(1, calls)) == 0:
            break
        kills += 1
    assert kills
    if kills == 3:
        assert run_in_child(job.run, job.root / "log.txt") == 0, (job.root / "log.txt").read_text()
    assert "Resuming from" in (job.root / "log.txt").read_text()
    assert read_results(job) == expected


@pytest.mark.parametrize("write", [1, 3, 5, 7])  # of the best weights, of the last state
def test_a_job_killed_while_it_writes_a_checkpoint_resumes(
    write: int, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    reference, expected = uninterrupted["many settings"]
    job = copy_input(reference, tmp_path)
    assert run_until_killed(job, AtomicCheckpoints, "save_checkpoint", write) == -signal.SIGKILL
    assert run_in_child(job.run, job.root / "log.txt") == 0
    assert read_results(job) == expected


# --- which checkpoint a job resumes from


@pytest.fixture(scope="module")
def killed(
    tmp_path_factory: pytest.TempPathFactory, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> JobFolder:
    """A job that was killed in its second epoch; do not change it."""
    job = copy_input(uninterrupted["plain"][0], tmp_path_factory.mktemp("killed"))
    assert run_until_killed(job, TrainingModule, "training_step", 15) == -signal.SIGKILL
    return job


@pytest.fixture
def stopped(tmp_path: Path, killed: JobFolder) -> JobFolder:
    """A copy of the killed job."""
    return JobFolder(Path(shutil.copytree(killed.root, tmp_path / "ml")))


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
def test_with_a_damaged_last_checkpoint_the_job_resumes_from_the_one_before_it_with_a_warning(
    damage: Callable[[Path], None],
    stopped: JobFolder,
    uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]],
) -> None:
    damage(stopped.root / "checkpoints/last.ckpt")
    log = resume(stopped)
    assert "WARNING last.ckpt is not usable. Falling back to the checkpoint before it" in log
    assert "epoch 2, step 12" in log
    assert read_results(stopped) == uninterrupted["plain"][1]


def test_without_an_intact_checkpoint_training_starts_from_the_beginning_with_a_warning(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    for name in ("last.ckpt", "before-last.ckpt"):
        truncate(stopped.root / "checkpoints" / name)
    log = resume(stopped)
    assert "No checkpoint" in log
    assert "raining starts from the beginning" in log
    assert read_results(stopped) == uninterrupted["plain"][1]


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_without_intact_best_weights_the_job_does_not_resume(
    damage: Callable[[Path], None], stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    damage(stopped.root / "checkpoints/best.ckpt")
    assert "best.ckpt" in resume(stopped)
    assert read_results(stopped) == uninterrupted["plain"][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0.5}, "- lr: was not set, is 0.5"),
        ({"dropout": 0.3, "seed": 7}, "- seed: was 42, is 7"),
        ({"model_class": "multimodal_lstm", "num_channels": None}, "- model_class: was 'multimodal_cnn'"),
    ],
)
def test_a_checkpoint_of_a_job_with_other_settings_is_an_error_before_the_data_is_read(
    change: dict[str, Any], message: str, stopped: JobFolder
) -> None:
    shutil.move(stopped.root / "checkpoints", stopped.root / "kept")
    stopped.settings(**JOBS["plain"], **change)
    shutil.move(stopped.root / "kept", stopped.root / "checkpoints")
    before = {path: path.read_bytes() for path in (stopped.root / "checkpoints").glob("*.ckpt")}
    shutil.rmtree(stopped.root / "input/data")
    assert stopped.run() == 1
    assert "is the checkpoint of another job" in stopped.failure
    assert message in stopped.failure
    assert "Fix: restore these to resume; to train from the beginning, empty" in stopped.failure
    assert {path: path.read_bytes() for path in (stopped.root / "checkpoints").glob("*.ckpt")} == before


def test_a_checkpoint_of_a_job_with_other_rows_is_an_error_that_names_the_split(stopped: JobFolder) -> None:
    stopped.channel("val", shop_rows(49, 1))
    assert stopped.run() == 1
    assert "- data of val: was 48 rows, " in stopped.failure
    assert "49 rows, " in stopped.failure
    assert "data of train" not in stopped.failure


def test_a_checkpoint_of_another_program_is_an_error(stopped: JobFolder) -> None:
    torch.save({"state_dict": {}, "callbacks": {}}, stopped.root / "checkpoints/last.ckpt")
    assert stopped.run() == 1
    assert "does not name the job that wrote it" in stopped.failure


def test_settings_that_do_not_affect_results_may_change(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    shutil.move(stopped.root / "checkpoints", stopped.root / "kept")
    stopped.settings(checkpoint_every_n_steps=7, checkpoint_every_n_minutes=None, cache_limit_gb=9.0)
    shutil.move(stopped.root / "kept", stopped.root / "checkpoints")
    resume(stopped)
    assert read_results(stopped) == uninterrupted["plain"][1]


def test_checkpoints_may_be_moved_to_another_folder(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    moved = JobFolder(stopped.root.with_name("moved"))
    stopped.root.rename(moved.root)
    assert "Resuming from" in resume(moved)
    assert read_results(moved) == uninterrupted["plain"][1]


def test_the_second_run_of_a_finished_job_does_not_train_and_writes_the_same_results(
    uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]],
) -> None:
    for name in ("plain", "many settings"):
        job, expected = uninterrupted[name]
        shutil.rmtree(job.model)
        shutil.rmtree(job.output)
        assert run_until_killed(job, TrainingModule, "training_step", 0) == 0
        assert read_results(job) == expected


# --- when a checkpoint is saved


def record_saved_steps(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> list[int]:
    """Run the job, and return the steps at which the last checkpoint is saved."""
    steps: list[int] = []
    save = AtomicCheckpoints.save_checkpoint

    def record_step(
        self: AtomicCheckpoints, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        if Path(path).name == "last.ckpt":
            steps.append(checkpoint["global_step"])
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", record_step)
    assert job.run() == 0
    return steps


def test_the_state_is_saved_after_each_validation_and_by_steps(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> None:
    assert record_saved_steps(monkeypatch, job.fill()) == [10, 20, 20]  # the last one marks the end of training
    assert record_saved_steps(monkeypatch, job.settings(checkpoint_every_n_steps=4)) == [4, 8, 10, 14, 18, 20, 20]
    assert record_saved_steps(
        monkeypatch, job.settings(checkpoint_every_n_steps=1, accumulate_grad_batches=4, max_epochs=1)
    ) == [
        *(1, 2, 3, 3),
    ]


def test_the_state_is_saved_by_minutes(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> None:
    clock = iter(range(0, 10_000, 20))  # 20 s pass between two readings
    monkeypatch.setattr(last_checkpoint, "time", type("Clock", (), {"monotonic": lambda: float(next(clock))}))
    by_minute = record_saved_steps(monkeypatch, job.fill(checkpoint_every_n_minutes=1.0, max_epochs=1))
    never = record_saved_steps(monkeypatch, job.settings(checkpoint_every_n_minutes=None, max_epochs=1))
    assert len(by_minute) > 4
    assert never == [10, 10]


@pytest.mark.parametrize(
    ("call", "number", "ships"), [(1, signal.SIGTERM, False), (13, signal.SIGTERM, True), (8, signal.SIGINT, False)]
)
def test_sigterm_or_ctrl_c_saves_the_state_at_the_end_of_the_step_and_stops_the_job(
    call: int, number: int, ships: bool, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    """SIGTERM after a validation also writes the best model so far, which does not change how the job resumes."""
    reference, expected = uninterrupted["many settings"]
    job = copy_input(reference, tmp_path)
    assert run_with_signals(job, call, number) == 1
    assert "stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C. The state after step" in job.failure
    assert ("holds the best model so far: val/auroc" in job.failure) == ships
    assert (job.output / "metrics.json").exists() == ships
    if ships:
        training = read_results(job)["training"]
        assert (training["ended_by"], training["steps"]) == ("sigterm", 6)
        assert training["best"]["step"] < 6
        assert len(Predictor.load(job.model).predict(shop_rows(3))) == 3
    log = resume(job)
    assert f"last.ckpt: epoch {1 + call // 10}, after step {6 if ships else 3 if call == 8 else 1}." in log
    assert read_results(job) == expected


# --- random numbers


def test_restored_generators_draw_the_same_numbers() -> None:
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    np.random.standard_normal(), random.gauss(0, 1)  # both keep a second number for the next call
    state = random_state.get_random_state()

    def draw() -> list[Any]:
        return [torch.rand(3).tolist(), np.random.standard_normal(3).tolist(), random.gauss(0, 1), random.random()]

    first = draw()
    assert draw() != first
    random_state.set_random_state(state)
    assert draw() == first
