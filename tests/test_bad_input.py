"""Bad input: a clear error before training starts, where SageMaker shows it, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.training.checkpointing.checkpoint_io import check_intact
from shop import JobFolder, shop_rows


def replaced(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], file: str = "part-00000.parquet"
) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        seed = ("train", "val", "test").index(name)
        job.channel(name, change(shop_rows(160 if name == "train" else 48, seed)), file)

    return apply


def cut(name: str, file: str, keep: float) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        path = job.channel(name, shop_rows(80, 5), file)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return apply


def emptied(name: str) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        for path in (job.root / "input/data" / name).iterdir():
            path.unlink()

    return apply


def removed(name: str) -> Callable[[JobFolder], None]:
    return lambda job: shutil.rmtree(job.root / "input/data" / name)


def file(name: str, part: str, content: bytes) -> Callable[[JobFolder], None]:
    return lambda job: (job.root / "input/data" / name / part).write_bytes(content) and None


CASES: dict[str, tuple[Callable[[JobFolder], None], list[str]]] = {
    "train missing": (removed("train"), ["channel 'train'", "input/data/train"]),
    "val missing": (removed("val"), ["channel 'val'"]),
    "train empty": (emptied("train"), ["channel 'train'", "no part file"]),
    "test empty": (emptied("test"), ["channel 'test'", "no part file"]),
    "truncated parquet": (cut("train", "part-00001.parquet", 0.6), ["train/part-00001.parquet", "truncated"]),
    "truncated jsonl": (cut("train", "part-00001.jsonl", 0.501), ["train/part-00001.jsonl"]),
    "not what its name says": (file("val", "part-2.parquet", b"id,message\n1,a\n"), ["val/part-2.parquet"]),
    "unknown type": (file("train", "part-3.xlsx", b"PK"), ["train/part-3.xlsx", ".csv"]),
    "other columns": (
        replaced("train", lambda f: f.rename(columns={"price": "prize"}), "part-00004.csv"),
        ["train/part-00004.csv", "'price'", "did you mean 'prize'"],
    ),
    "column missing in val": (replaced("val", lambda f: f.drop(columns="country")), ["val/part-00000", "'country'"]),
    "no usable text": (replaced("train", lambda f: f.assign(message=None)), ["message", "text"]),
    "one class only": (replaced("train", lambda f: f.assign(target=1)), ["one class only", "target"]),
    "labels beyond num_classes": (
        replaced("train", lambda f: f.assign(target=[2, *f["target"][1:]])),
        ["num_classes is 2", "3 labels", "'2'", "row 1"],
    ),
    "null label": (
        replaced("train", lambda f: f.assign(target=[None, *f["target"][1:]])),
        ["null", "row 1", "target"],
    ),
    "label never seen": (replaced("val", lambda f: f.assign(target=[5, *f["target"][1:]])), ["'5'", "row 1", "val"]),
    "text in a number column": (
        replaced("train", lambda f: f.assign(price=["cheap", *f["price"].astype(str)[1:]]), "part-00000.parquet"),
        ["price", "'cheap'", "row 1", "cat_field_list"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_data_is_named_before_training_starts_and_nothing_is_left(case: str, job: JobFolder) -> None:
    spoil, says = CASES[case]
    job.fill()
    spoil(job)
    assert job.run() == 1
    for words in says:
        assert words in job.failure, job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()
    assert list(job.model.iterdir()) == []
    assert list(job.output.iterdir()) == []


def test_faults_of_several_channels_and_columns_are_reported_together(job: JobFolder) -> None:
    job.fill()
    frame = shop_rows(48, 1)
    job.channel("val", frame.assign(price="x", target=[7, *frame["target"][1:]]))
    job.channel("test", shop_rows(48, 2).assign(visits="many"))
    assert job.run() == 1
    for words in ("val/part-00000.parquet, column 'price'", "'7'", "test/part-00000.parquet, column 'visits'"):
        assert words in job.failure


def test_duplicate_ids_are_a_warning_with_their_count(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(max_epochs=1)
    frame = shop_rows(48, 1)
    job.channel("val", frame.assign(id=["same"] * 3 + frame["id"].tolist()[3:]))
    assert job.run() == 0
    assert "val: 2 rows with a duplicate id" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be_written_is_found_before_data_is_read(job: JobFolder) -> None:
    job.fill()
    job.model.write_text("a file where the folder should be")
    shutil.rmtree(job.root / "input/data/train")
    assert job.run() == 1
    assert str(job.model) in job.failure


def test_a_warm_up_that_never_ends_is_refused_before_training(job: JobFolder) -> None:
    job.fill(warmup_steps=1000)
    assert job.run() == 1
    assert "warmup_steps = 1000" in job.failure
    assert "20 steps" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


def test_validation_of_one_class_cannot_give_an_auroc(job: JobFolder) -> None:
    job.fill(early_stop_metric="val/auroc")
    job.channel("val", shop_rows(30, 1).assign(target=1))
    assert job.run() == 1
    assert "val/auroc" in job.failure


def test_a_diverging_training_says_so_and_ships_nothing(job: JobFolder) -> None:
    job.fill(lr=10.0, optimizer="sgd", gradient_clip_val=0, momentum=0.99, schedule="constant", max_epochs=9)
    job.channel("train", shop_rows(160, 0).assign(price=lambda f: f["price"] * 1e30))
    if job.run() == 0:
        pytest.skip("this machine's arithmetic survived")
    assert "diverged" in job.failure
    assert list(job.model.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.parametrize("place", ["model", "output/data", "checkpoints"])
def test_a_disk_that_fills_up_is_named_and_leaves_nothing_half_written(place: str, job: JobFolder) -> None:
    folder = job.fill(max_epochs=1).root / place
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        assert job.run() == 1
        left = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
        for whole in [path for path in left if path.name == "best.ckpt"]:  # the best weights fit, the whole state not
            check_intact(whole)
            left.remove(whole)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert str(folder) in job.failure
    assert "space" in job.failure.lower()
    assert left == []


def test_a_failed_second_run_leaves_no_model_that_could_be_taken_for_its_own(job: JobFolder) -> None:
    job.fill(max_epochs=1)
    assert job.run() == 0
    assert (job.model / "model.onnx").exists()
    removed("val")(job)
    assert job.run() == 1
    assert list(job.model.iterdir()) == []


def test_a_stale_failure_file_is_gone_after_a_good_run(job: JobFolder) -> None:
    job.fill(max_epochs=1)
    removed_val = Path(job.root / "input/data/val")
    kept = removed_val.rename(job.root / "val_kept")
    assert job.run() == 1
    kept.rename(removed_val)
    assert job.run() == 0
    assert not (job.root / "output/failure").exists()
