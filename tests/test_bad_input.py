"""Bad input is an error in the failure file before training starts, and leaves no partial output."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

import pandas as pd
import pytest

from fusionzoo.training.checkpointing.checkpoint_io import check_intact
from shop import JobFolder, shop_rows


def replace_rows(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], file: str = "part-00000.parquet"
) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        seed = ("train", "val", "test").index(name)
        job.channel(name, change(shop_rows(160 if name == "train" else 48, seed)), file)

    return apply


def truncate_file(name: str, file: str, keep: float) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        path = job.channel(name, shop_rows(80, 5), file)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return apply


def empty_channel(name: str) -> Callable[[JobFolder], None]:
    def apply(job: JobFolder) -> None:
        for path in (job.root / "input/data" / name).iterdir():
            path.unlink()

    return apply


def remove_channel(name: str) -> Callable[[JobFolder], None]:
    return lambda job: shutil.rmtree(job.root / "input/data" / name)


def write_file(name: str, part: str, content: bytes) -> Callable[[JobFolder], None]:
    return lambda job: (job.root / "input/data" / name / part).write_bytes(content) and None


CASES: dict[str, tuple[Callable[[JobFolder], None], list[str]]] = {
    "train missing": (remove_channel("train"), ["channel 'train'", "input/data/train"]),
    "val missing": (remove_channel("val"), ["channel 'val'"]),
    "train empty": (empty_channel("train"), ["channel 'train'", "no part file"]),
    "test empty": (empty_channel("test"), ["channel 'test'", "no part file"]),
    "truncated parquet": (truncate_file("train", "part-00001.parquet", 0.6), ["train/part-00001.parquet", "truncated"]),
    "truncated jsonl": (truncate_file("train", "part-00001.jsonl", 0.501), ["train/part-00001.jsonl"]),
    "not the format of the suffix": (
        write_file("val", "part-2.parquet", b"id,message\n1,a\n"),
        ["val/part-2.parquet"],
    ),
    "unknown type": (write_file("train", "part-3.xlsx", b"PK"), ["train/part-3.xlsx", ".csv"]),
    "other columns": (
        replace_rows("train", lambda f: f.rename(columns={"price": "prize"}), "part-00004.csv"),
        ["train/part-00004.csv", "'price'", "did you mean 'prize'"],
    ),
    "column missing in val": (
        replace_rows("val", lambda f: f.drop(columns="country")),
        ["val/part-00000", "'country'"],
    ),
    "no usable text": (replace_rows("train", lambda f: f.assign(message=None)), ["message", "text"]),
    "one class only": (replace_rows("train", lambda f: f.assign(target=1)), ["one class only", "target"]),
    "labels beyond num_classes": (
        replace_rows("train", lambda f: f.assign(target=[2, *f["target"][1:]])),
        ["num_classes is 2", "3 labels", "'2'", "row 1"],
    ),
    "null label": (
        replace_rows("train", lambda f: f.assign(target=[None, *f["target"][1:]])),
        ["null", "row 1", "target"],
    ),
    "label never seen": (
        replace_rows("val", lambda f: f.assign(target=[5, *f["target"][1:]])),
        ["'5'", "row 1", "val"],
    ),
    "text in a number column": (
        replace_rows("train", lambda f: f.assign(price=["cheap", *f["price"].astype(str)[1:]]), "part-00000.parquet"),
        ["price", "'cheap'", "row 1", "cat_field_list"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_data_is_an_error_before_training_starts_and_leaves_no_output(case: str, job: JobFolder) -> None:
    damage, messages = CASES[case]
    job.fill()
    damage(job)
    assert job.run() == 1
    for message in messages:
        assert message in job.failure, job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()
    assert list(job.model.iterdir()) == []
    assert list(job.output.iterdir()) == []


def test_duplicate_ids_are_a_warning_with_their_count(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.fill(max_epochs=1)
    frame = shop_rows(48, 1)
    job.channel("val", frame.assign(id=["same"] * 3 + frame["id"].tolist()[3:]))
    assert job.run() == 0
    assert "val: 2 rows with a duplicate id" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be_written_is_an_error_before_data_is_read(job: JobFolder) -> None:
    job.fill()
    job.model.write_text("a file where the folder should be")
    shutil.rmtree(job.root / "input/data/train")
    assert job.run() == 1
    assert str(job.model) in job.failure


def test_more_warmup_steps_than_training_steps_are_an_error_before_training(job: JobFolder) -> None:
    job.fill(warmup_steps=1000)
    assert job.run() == 1
    assert "warmup_steps = 1000" in job.failure
    assert "20 steps" in job.failure
    assert not (job.root / "checkpoints/best.ckpt").exists()


def test_early_stopping_on_auroc_with_one_class_in_val_is_an_error(job: JobFolder) -> None:
    job.fill(early_stop_metric="val/auroc")
    job.channel("val", shop_rows(30, 1).assign(target=1))
    assert job.run() == 1
    assert "val/auroc" in job.failure


def test_diverging_training_is_an_error_and_leaves_no_model(job: JobFolder) -> None:
    job.fill(lr=10.0, optimizer="sgd", gradient_clip_val=0, momentum=0.99, schedule="constant", max_epochs=9)
    job.channel("train", shop_rows(160, 0).assign(price=lambda f: f["price"] * 1e30))
    if job.run() == 0:
        pytest.skip("training does not diverge on this machine")
    assert "diverged" in job.failure
    assert list(job.model.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("place", ["model", "output/data", "checkpoints"])
def test_a_full_disk_is_an_error_and_leaves_no_partial_file(place: str, job: JobFolder) -> None:
    folder = job.fill(max_epochs=1).root / place
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted on this machine")
    try:
        assert job.run() == 1
        left = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
        for best in [path for path in left if path.name == "best.ckpt"]:  # weights fit, the state does not
            check_intact(best)
            left.remove(best)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert str(folder) in job.failure
    assert "space" in job.failure.lower()
    assert left == []
