"""A job that dies goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from fusionzoo.training import job as contents
from fusionzoo.training.checkpointing import last_checkpoint, random_state
from fusionzoo.training.checkpointing.checkpoint_io import AtomicCheckpoints
from fusionzoo.training.module import Classifier
from shop import JobFolder, shop_rows

JOBS: dict[str, dict[str, Any]] = {
    "plain": {"checkpoint_every_n_steps": 2},
    "several settings": {
        "accumulate_grad_batches": 3,
        "modality_dropout": 0.3,
        "average_checkpoints": 2,
        "val_check_interval": 0.4,
        "max_epochs": 3,
        "checkpoint_every_n_steps": 1,
        "early_stop_metric": "val/auroc",
    },
    "stops early": {"early_stop_patience": 1, "max_epochs": 8, "lr": 0.5, "checkpoint_every_n_steps": 5},
    "a budget of tokens": {"max_batch_tokens": 200, "optimizer": "sgd", "checkpoint_every_n_steps": 3},
}


def dies_in(kind: type, method: str, call: int) -> None:
    """Have this process killed before a method's call of this number, from 0."""
    left, original = [call], getattr(kind, method)

    def dying(*arguments: Any, **more: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return original(*arguments, **more)

    setattr(kind, method, dying)


def in_child(work: Callable[[], int], log: Path) -> int:
    """The exit status of a process that does this work, or the number of the signal that killed it, below 0."""
    pid = os.fork()
    if not pid:
        status = 70
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w")
            status = work()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(job: JobFolder, kind: type, method: str, call: int) -> int:
    """Run the job in a process that dies before this call; -9, or its exit status where the call never came."""

    def work() -> int:
        dies_in(kind, method, call)
        return job.run()

    return in_child(work, job.root / "log.txt")


def results(job: JobFolder) -> dict[str, Any]:
    """All that comes out of the job and must be the same, to the last bit."""
    report = json.loads((job.output / "metrics.json").read_text())
    weights = torch.load(job.model / "model.pth", weights_only=True)
    return {
        "splits": report["splits"],
        "training": report["training"],
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
        "test": pq.read_table(job.output / "test_predictions.parquet").to_pydict(),
        "checkpoints": sorted(path.name for path in (job.root / "checkpoints").iterdir()),
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[JobFolder, dict[str, Any]]]:
    """Each of the jobs, run from its beginning to its end, and what came out."""
    found = {}
    for name, settings in JOBS.items():
        job = JobFolder(tmp_path_factory.mktemp("whole")).fill(**settings)
        assert in_child(job.run, job.root / "log.txt") == 0
        found[name] = job, results(job)
    return found


def again(job: JobFolder, tmp_path: Path) -> JobFolder:
    """The same job in another folder, not yet run."""
    shutil.copytree(job.root / "input", tmp_path / "ml/input")
    return JobFolder(tmp_path / "ml")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", JOBS)
def test_a_job_killed_at_any_step_several_times_over_ends_bit_equal(
    name: str, seed: int, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    whole, wanted = uninterrupted[name]
    job, chance, kills = again(whole, tmp_path), random.Random(f"{name} {seed}"), 0
    while kills < 3:
        method, calls = chance.choice([("training_step", 15), ("on_after_backward", 15), ("validation_step", 5)])
        if killed(job, Classifier, method, chance.randrange(1, calls)) == 0:
            break
        kills += 1
    assert kills
    if kills == 3:
        assert in_child(job.run, job.root / "log.txt") == 0, (job.root / "log.txt").read_text()
    assert "Resuming from" in (job.root / "log.txt").read_text()
    assert results(job) == wanted


@pytest.mark.parametrize("write", range(1, 12, 2))
def test_a_job_killed_while_it_writes_a_checkpoint_goes_on(
    write: int, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    whole, wanted = uninterrupted["several settings"]
    job = again(whole, tmp_path)
    assert killed(job, AtomicCheckpoints, "save_checkpoint", write) == -signal.SIGKILL
    assert in_child(job.run, job.root / "log.txt") == 0
    assert results(job) == wanted


# --- which checkpoint


@pytest.fixture
def stopped(tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]) -> JobFolder:
    """A job that was killed in its second epoch."""
    job = again(uninterrupted["plain"][0], tmp_path)
    assert killed(job, Classifier, "training_step", 15) == -signal.SIGKILL
    return job


def goes_on(job: JobFolder) -> str:
    """Run the job again to its end; returns the log of that run."""
    log = job.root / "again.txt"
    log.unlink(missing_ok=True)
    assert in_child(job.run, log) == 0, log.read_text()
    return log.read_text()


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def with_a_bit_turned(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, with_a_bit_turned, Path.unlink])
def test_without_a_whole_last_checkpoint_the_job_goes_on_from_the_one_before_it_and_says_so(
    damage: Callable[[Path], None],
    stopped: JobFolder,
    uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]],
) -> None:
    damage(stopped.root / "checkpoints/last.ckpt")
    log = goes_on(stopped)
    assert "WARNING last.ckpt is not usable. Falling back to the checkpoint before it" in log
    assert "epoch 2, step 12" in log
    assert results(stopped) == uninterrupted["plain"][1]


def test_without_any_whole_checkpoint_the_training_starts_from_the_beginning_and_says_so(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    for name in ("last.ckpt", "before-last.ckpt"):
        cut_short(stopped.root / "checkpoints" / name)
    log = goes_on(stopped)
    assert "No checkpoint" in log
    assert "training from the beginning" in log
    assert results(stopped) == uninterrupted["plain"][1]


@pytest.mark.parametrize("damage", [cut_short, Path.unlink])
def test_a_job_whose_best_weights_are_lost_does_not_go_on_without_them(
    damage: Callable[[Path], None], stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    damage(stopped.root / "checkpoints/best.ckpt")
    assert "best.ckpt" in goes_on(stopped)
    assert results(stopped) == uninterrupted["plain"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lr": 0.5}, "- lr: None then, 0.5 now"),
        ({"dropout": 0.3, "seed": 7}, "- seed: 42 then, 7 now"),
        ({"model_class": "multimodal_lstm", "num_channels": None}, "- model_class: 'multimodal_cnn' then"),
    ],
)
def test_a_checkpoint_of_a_job_with_other_settings_is_an_error_that_names_them_before_data_are_read(
    change: dict[str, Any], said: str, stopped: JobFolder
) -> None:
    shutil.move(stopped.root / "checkpoints", stopped.root / "kept")
    stopped.settings(**JOBS["plain"], **change)
    shutil.move(stopped.root / "kept", stopped.root / "checkpoints")
    before = {path: path.read_bytes() for path in (stopped.root / "checkpoints").iterdir()}
    shutil.rmtree(stopped.root / "input/data")
    assert stopped.run() == 1
    assert "is the checkpoint of another job" in stopped.failure
    assert said in stopped.failure
    assert "Fix: restore these to resume; to train from the beginning, empty" in stopped.failure
    assert {path: path.read_bytes() for path in (stopped.root / "checkpoints").iterdir()} == before


def test_a_checkpoint_of_a_job_on_other_rows_is_an_error_that_names_the_split(stopped: JobFolder) -> None:
    stopped.channel("val", shop_rows(49, 1))
    assert stopped.run() == 1
    assert "- data of val: 48 rows, " in stopped.failure
    assert "49 rows, " in stopped.failure
    assert "data of train" not in stopped.failure


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(stopped: JobFolder) -> None:
    torch.save({"state_dict": {}, "callbacks": {}}, stopped.root / "checkpoints/last.ckpt")
    assert stopped.run() == 1
    assert "does not name the job that wrote it" in stopped.failure


def test_settings_that_change_nothing_of_what_comes_out_may_change(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    shutil.move(stopped.root / "checkpoints", stopped.root / "kept")
    stopped.settings(checkpoint_every_n_steps=7, checkpoint_every_n_minutes=None, cache_limit_gb=9.0)
    shutil.move(stopped.root / "kept", stopped.root / "checkpoints")
    goes_on(stopped)
    assert results(stopped) == uninterrupted["plain"][1]


def test_checkpoints_may_move_to_another_folder(
    stopped: JobFolder, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    moved = JobFolder(stopped.root.with_name("moved"))
    stopped.root.rename(moved.root)
    assert "Resuming from" in goes_on(moved)
    assert results(moved) == uninterrupted["plain"][1]


def test_the_second_run_of_a_finished_job_trains_nothing_and_writes_the_same(
    uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]],
) -> None:
    for name in ("plain", "several settings"):
        job, wanted = uninterrupted[name]
        shutil.rmtree(job.model)
        shutil.rmtree(job.output)
        assert killed(job, Classifier, "training_step", 0) == 0
        assert results(job) == wanted


# --- when it is saved


def saved_steps(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> list[int]:
    """At which steps the last checkpoint is saved."""
    steps: list[int] = []
    save = AtomicCheckpoints.save_checkpoint

    def noting(
        self: AtomicCheckpoints, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        if Path(path).name == "last.ckpt":
            steps.append(checkpoint["global_step"])
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpoints, "save_checkpoint", noting)
    assert job.run() == 0
    return steps


def test_the_state_is_saved_after_each_validation_and_by_steps(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> None:
    assert saved_steps(monkeypatch, job.fill()) == [10, 20, 20]  # the last says that training has ended
    assert saved_steps(monkeypatch, job.settings(checkpoint_every_n_steps=4)) == [4, 8, 10, 14, 18, 20, 20]
    assert saved_steps(
        monkeypatch, job.settings(checkpoint_every_n_steps=1, accumulate_grad_batches=4, max_epochs=1)
    ) == [
        *(1, 2, 3, 3),
    ]


def test_the_state_is_saved_by_minutes(monkeypatch: pytest.MonkeyPatch, job: JobFolder) -> None:
    clock = iter(range(0, 10_000, 20))  # 20 s pass at every look at it
    monkeypatch.setattr(last_checkpoint, "time", type("Clock", (), {"monotonic": lambda: float(next(clock))}))
    by_minute = saved_steps(monkeypatch, job.fill(checkpoint_every_n_minutes=1.0, max_epochs=1))
    never = saved_steps(monkeypatch, job.settings(checkpoint_every_n_minutes=None, max_epochs=1))
    assert len(by_minute) > 4
    assert never == [10, 10]


def signalled(job: JobFolder, call: int, *numbers: int, ctrl_c: Any = signal.default_int_handler) -> int:
    """The exit status of the job whose process gets these signals in this training step, from 0."""

    def work() -> int:
        signal.signal(signal.SIGINT, ctrl_c)  # these tests may run in the background themselves
        left, original = [call], Classifier.training_step

        def step(self: Classifier, *arguments: Any) -> Any:
            if left[0] == 0:
                for number in numbers:
                    os.kill(os.getpid(), number)
            left[0] -= 1
            return original(self, *arguments)

        Classifier.training_step = step  # type: ignore[method-assign]
        return job.run()

    return in_child(work, job.root / "log.txt")


@pytest.mark.parametrize(("call", "number"), [(3, signal.SIGTERM), (13, signal.SIGTERM), (8, signal.SIGINT)])
def test_sigterm_or_ctrl_c_saves_the_state_at_the_end_of_the_step_and_ends_the_job(
    call: int, number: int, tmp_path: Path, uninterrupted: dict[str, tuple[JobFolder, dict[str, Any]]]
) -> None:
    whole, wanted = uninterrupted["several settings"]
    job = again(whole, tmp_path)
    assert signalled(job, call, number) == 1
    assert "stopped by SIGTERM or Ctrl-C. The state after step" in job.failure
    assert "Resuming from" in goes_on(job)
    assert results(job) == wanted


def test_ctrl_c_once_more_ends_the_job_at_once(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill()
    assert signalled(job, 3, signal.SIGINT, signal.SIGINT) == 1
    assert "once more, and it stops at once" in (job.root / "log.txt").read_text()
    assert "stopped by SIGTERM or Ctrl-C" in job.failure
    assert "The state after step" not in job.failure
    assert not (job.root / "checkpoints/last.ckpt").exists()


def test_an_interrupted_training_is_not_a_finished_one(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(checkpoint_every_n_steps=2)

    def interrupted() -> int:
        Classifier.on_train_epoch_end = lambda self: signal.default_int_handler(signal.SIGINT, None)  # type: ignore[method-assign]
        return job.run()

    assert in_child(interrupted, job.root / "log.txt") == 1
    assert not list(job.output.glob("*_predictions.*"))
    assert "Resuming from" in goes_on(job)


def test_a_job_in_the_background_does_not_listen_to_ctrl_c(tmp_path: Path) -> None:
    assert signalled(JobFolder(tmp_path / "ml").fill(), 3, signal.SIGINT, ctrl_c=signal.SIG_IGN) == 0


def sigterm() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def sigterm_among_errors_that_do_not_matter() -> None:
    with suppress(Exception):
        sigterm()


def sigterm_in_a_finalizer() -> None:
    class Dying:
        def __del__(self) -> None:
            sigterm()  # Python prints what it raises, and goes on

    Dying()


def stopped_in(job: JobFolder, place: str, come: Callable[[], None]) -> str:
    """The log of a job that SIGTERM has ended: it comes just before this function of the job's table of contents."""

    def work() -> int:
        original = getattr(contents, place)

        def terminated(*arguments: Any, **more: Any) -> Any:
            come()
            print("went on")
            return original(*arguments, **more)

        setattr(contents, place, terminated)
        return job.run()

    assert in_child(work, job.root / "log.txt") == 1
    assert "stopped by SIGTERM or Ctrl-C" in job.failure
    return (job.root / "log.txt").read_text()


@pytest.mark.parametrize("place", ["prepare_data", "check_export", "load_final_model", "write_artifacts"])
@pytest.mark.parametrize("come", [sigterm, sigterm_among_errors_that_do_not_matter])
def test_sigterm_outside_of_a_training_ends_the_job_at_once(
    place: str, come: Callable[[], None], tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1)
    assert "went on" not in stopped_in(job, place, come)
    assert not job.output.exists() or not list(job.output.glob("*_predictions.*"))


def test_sigterm_that_a_finalizer_loses_ends_the_job_before_it_trains(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill()
    assert "went on" in stopped_in(job, "prepare_data", sigterm_in_a_finalizer)
    assert not (job.root / "checkpoints/last.ckpt").exists()


def test_sigterm_after_the_last_step_ends_the_job_before_it_evaluates(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=1)

    def terminated() -> int:
        Classifier.on_fit_end = lambda self: sigterm()  # type: ignore[method-assign]
        return job.run()

    assert in_child(terminated, job.root / "log.txt") == 1
    assert "stopped by SIGTERM or Ctrl-C" in job.failure
    assert not list(job.output.glob("*_predictions.*"))
    assert "Resuming from" in goes_on(job)


# --- random numbers


def test_random_numbers_go_on_where_they_stood() -> None:
    torch.manual_seed(1)
    np.random.seed(2)
    random.seed(3)
    np.random.standard_normal(), random.gauss(0, 1)  # each keeps a second number for later
    states = random_state.get_random_state()

    def drawn() -> list[Any]:
        return [torch.rand(3).tolist(), np.random.standard_normal(3).tolist(), random.gauss(0, 1), random.random()]

    first = drawn()
    assert drawn() != first
    random_state.set_random_state(states)
    assert drawn() == first
