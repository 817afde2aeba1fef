"""Jobs that share folders, killed jobs and checkpoints of unknown origin: no job ships what another one wrote."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionzoo import atomic_files, errors
from fusionzoo.artifacts import model_folder
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.sagemaker.folder_lock import lock_folder
from fusionzoo.training import job as job_module
from fusionzoo.training.checkpointing.checkpoint_io import STATE_KEY
from fusionzoo.training.checkpointing.resume_point import find_resume_point
from process_helpers import run_in_child
from shop import JobFolder

SMALL = {"max_epochs": 1, "average_checkpoints": 2, "val_check_interval": 0.5, "onnx": "required"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("finished")).fill(rows=80, **SMALL)
    assert job.run() == 0
    return job


@pytest.fixture
def copy(finished: JobFolder, tmp_path: Path) -> JobFolder:
    """A copy of a finished job."""
    shutil.copytree(finished.root, tmp_path / "ml")
    return JobFolder(tmp_path / "ml")


def change_checkpoint(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)


def set_other_seed(content: dict[str, Any]) -> None:
    content[STATE_KEY]["job_fingerprint"]["seed"] = "another seed"


# --- two jobs


@pytest.mark.parametrize("folder", ["checkpoints", "output/data"])
def test_a_job_is_refused_while_another_one_writes_to_its_folder(folder: str, copy: JobFolder, capsys: Any) -> None:
    before = {path: path.read_bytes() for path in (copy.root / "checkpoints").iterdir()}
    with lock_folder(copy.root / folder, "another job"):
        assert copy.run() == 1
    message = f"Another job writes to {copy.root / folder}: process {os.getpid()} on host"
    assert message in capsys.readouterr().out
    assert (copy.root / "output/failure").exists() == (folder == "checkpoints")
    assert (copy.model / "model.onnx").exists() == (folder == "output/data")
    assert {path: path.read_bytes() for path in (copy.root / "checkpoints").iterdir()} == before
    assert copy.run() == 0


@pytest.mark.parametrize("pattern", ["best.ckpt", "top-*.ckpt"])
def test_weights_that_another_job_wrote_are_not_shipped(
    pattern: str, copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_final_model = job_module.load_final_model

    def replace_and_load(*arguments: Any) -> Any:
        for file in (copy.root / "checkpoints").glob(pattern):
            change_checkpoint(file, set_other_seed)
        return load_final_model(*arguments)

    monkeypatch.setattr(job_module, "load_final_model", replace_and_load)
    assert copy.run() == 1
    assert "Another job or program has replaced" in copy.failure
    assert list(copy.model.iterdir()) == []


@pytest.mark.parametrize("change", [set_other_seed, lambda content: content.pop(STATE_KEY), dict.clear])
def test_a_checkpoint_that_refers_to_weights_of_another_job_is_not_used(
    change: Callable[[dict[str, Any]], Any], copy: JobFolder, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_resume_point(copy.root / "checkpoints") is not None
    change_checkpoint(copy.root / "checkpoints/best.ckpt", change)
    assert find_resume_point(copy.root / "checkpoints") is None
    assert "another job wrote best.ckpt" in caplog.text


# --- handmade checkpoints


def remove(*path: str) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return change


def set_value(value: Any, *path: str) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


KEYS = ["state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "epoch", "global_step", STATE_KEY]
HANDMADE = [
    *(remove(key) for key in KEYS),
    *(remove(STATE_KEY, key) for key in ("job_fingerprint", "random_states", "training_summary")),
    *(remove(STATE_KEY, "training_summary", key) for key in ("steps", "epochs", "best", "top_checkpoints")),
    *(set_value(value, STATE_KEY) for value in (None, 3, [], "text", {})),
    *(set_value(value, "callbacks") for value in (None, 3, [], {"a": None}, {"a": {"best_k_models": 3}})),
    *(set_value(value, STATE_KEY, "job_fingerprint") for value in (None, 3, [1], "text")),
    *(set_value(value, STATE_KEY, "random_states") for value in (None, 3)),
    *(set_value(value, STATE_KEY, "training_summary") for value in (3, [1], "text", {})),
    *(set_value(value, "loops") for value in (None, 3, {}, {"fit_loop": {}}, {"fit_loop": 3})),
    *(set_value(value, key) for key in ("epoch", "global_step") for value in (None, "text", [])),
]


@pytest.mark.parametrize("change", HANDMADE)
def test_a_checkpoint_of_another_structure_is_an_error_for_the_user(
    change: Callable[[dict[str, Any]], Any], copy: JobFolder
) -> None:
    change_checkpoint(copy.root / "checkpoints/last.ckpt", change)
    with pytest.raises(errors.ForeignCheckpointError, match=r"last\.ckpt"):
        find_resume_point(copy.root / "checkpoints")


def write_tensor(file: Path) -> None:
    torch.save(torch.zeros(3), file)


def write_list(file: Path) -> None:
    torch.save([1, 2], file)


def write_legacy_format(file: Path) -> None:
    torch.save({"state_dict": {}}, file, _use_new_zipfile_serialization=False)


def write_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "text")


def write_pickle(content: bytes) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3")

    return write


def write_compressed_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")


@pytest.mark.parametrize(
    "write",
    [
        *(write_tensor, write_list, write_legacy_format, write_zip, write_compressed_zip),
        *(write_pickle(content) for content in (b"", b".", b"\x80\x02.", b"\x80\x02h\x05.", b"\x80\x02}q\x00(.", b"x")),
        *(lambda file, content=content: file.write_bytes(content) for content in (b"", b"PK", b"text", bytes(1000))),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_ignored_with_a_warning(
    write: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "last.ckpt")
    assert find_resume_point(tmp_path) is None
    assert "Ignoring the damaged checkpoint" in caplog.text


# --- a folder that cannot be written at the end


@pytest.mark.parametrize("name", ["output/data", "model"])
def test_a_job_that_cannot_move_its_artifacts_leaves_no_model_and_no_evaluation(
    name: str, copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_files = atomic_files._move_files

    def fail(staging: Path, folder: Path, last_file: str) -> None:
        if folder == copy.root / name:
            raise OSError(errno.ENOSPC, "No space left on device", str(folder))
        move_files(staging, folder, last_file)

    monkeypatch.setattr(atomic_files, "_move_files", fail)
    assert copy.run() == 1
    assert f"{copy.root / name} cannot be written: No space left on device" in copy.failure
    assert list(copy.model.iterdir()) == []
    assert {path.name for path in copy.output.iterdir()} == {"tensorboard", "earlier_run"}
    verify_folder(copy.output / "earlier_run/model")


# --- killed jobs


def test_a_job_that_is_killed_while_it_replaces_a_model_leaves_no_file_of_the_earlier_one(
    copy: JobFolder, tmp_path: Path
) -> None:
    earlier = {path.name: path.read_bytes() for path in copy.model.iterdir()}
    copy.settings(**SMALL, seed=7)
    (copy.model / "notes.txt").write_text("of the user")

    def run_and_die() -> int:
        moved: list[Path] = []
        replace = Path.replace

        def replace_twice(self: Path, target: Path) -> Path:
            if target.parent == copy.model:
                moved.append(target)
                if len(moved) > 2:
                    os.kill(os.getpid(), signal.SIGKILL)
            return replace(self, target)

        Path.replace = replace_twice  # type: ignore[method-assign, assignment]
        return copy.run()

    assert run_in_child(run_and_die, tmp_path / "log.txt") == -signal.SIGKILL
    left = {path.name: path.read_bytes() for path in copy.model.iterdir() if path.is_file()}
    assert len(left) == 3
    assert left.pop("notes.txt") == b"of the user"
    assert not [name for name in left if earlier[name] == left[name] and name != "tokenizer.json"]
    assert [path for path in copy.model.iterdir() if path.is_dir()]
    assert copy.run() == 0
    assert {path.name for path in copy.model.iterdir()} == {*earlier, "notes.txt"}


def test_writing_a_model_folder_over_an_earlier_one_deletes_that_first(
    copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[Path] = []
    monkeypatch.setattr(model_folder, "delete_earlier_model", deleted.append)
    assert copy.run() == 0
    assert deleted == [copy.model]


def test_a_new_model_is_on_the_disk_before_the_earlier_one_is_deleted(
    copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush, flushed_at_deletion = atomic_files._flush_to_disk, set[str]()

    def flush_and_record(path: Path) -> None:
        flush(path)
        flushed.append(path.name)

    monkeypatch.setattr(atomic_files, "_flush_to_disk", flush_and_record)
    monkeypatch.setattr(model_folder, "delete_earlier_model", lambda _: flushed_at_deletion.update(flushed))
    assert copy.run() == 0
    assert {path.name for path in copy.model.iterdir()} <= flushed_at_deletion


@pytest.fixture
def leftovers(copy: JobFolder) -> list[Path]:
    names = [
        "checkpoints/.tmp-00112233445566aa",
        "model/.tmp-00112233445566aa",
        "output/data/.staging-00112233445566aa",
    ]
    paths = [copy.root / name for name in names]
    for path in paths:
        path.mkdir()
        (path / "half").write_text("half")
    return paths


def test_a_run_deletes_the_temporary_files_of_a_killed_one(copy: JobFolder, leftovers: list[Path]) -> None:
    assert copy.run() == 0
    assert [path for path in leftovers if path.exists()] == []


def test_a_refused_job_deletes_no_temporary_files(copy: JobFolder, leftovers: list[Path]) -> None:
    with lock_folder(copy.root / "output/data", "another job"):
        assert copy.run() == 1
    assert all(path.exists() for path in leftovers)
