"""The content of a channel: every file is read or is a problem that names it; part files and folders of other tools."""

from __future__ import annotations

import gzip
import json
import logging
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from data_helpers import SETTINGS, write_part
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import find_similar_columns, open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training.channel_folders import find_channel_folders, list_unused_channels
from shop import shop_rows


def read_ids(folder: Path, options: ReadOptions | None = None) -> list[str]:
    channel = open_channel("train", folder, SETTINGS.columns, options)
    return [row_id for rows in channel for row_id in rows.columns["id"].to_pylist()]


def read_problem(folder: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_ids(folder, options)
    return str(error.value)


# --- everything in a channel is read or named


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_part(shop_rows(20), tmp_path / "train/part-0.csv")
    return tmp_path / "train"


def test_links_to_files_and_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    write_part(shop_rows(20, 1), tmp_path / "elsewhere/deep/part-1.csv")
    write_part(shop_rows(20, 2), tmp_path / "single.csv")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "part-9.csv").symlink_to(tmp_path / "single.csv")
    assert len(read_ids(folder)) == 60


@pytest.mark.parametrize("target", [".", "..", "inner"])
def test_a_link_to_a_folder_that_contains_it_is_a_problem(target: str, folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner/again").symlink_to(folder / target, target_is_directory=True)
    message = read_problem(folder)
    assert "train/inner/again" in message
    assert "a link to a folder that contains it" in message


@pytest.mark.parametrize("target", ["gone.csv", "broken.csv"])
def test_a_dangling_link_is_a_problem(target: str, folder: Path) -> None:
    (folder / "broken.csv").symlink_to(folder / target)
    message = read_problem(folder)
    assert "train/broken.csv: it is a link to" in message
    assert target in message


def test_a_named_pipe_is_a_problem(folder: Path) -> None:
    os.mkfifo(folder / "part-1.csv")
    assert "train/part-1.csv: it is a named pipe, not a file" in read_problem(folder)


@pytest.mark.parametrize("name", ["closed", "part-1.csv"])
def test_a_file_without_read_permission_is_a_problem(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_part(shop_rows(20), folder / ("closed/part-1.csv" if name == "closed" else name))
    (folder / name).chmod(0)
    if os.geteuid() == 0:  # root may read everything
        refuse_access(folder / name, monkeypatch)
    try:
        message = read_problem(folder)
    finally:
        (folder / name).chmod(0o755)
    assert f"train/{name}: it cannot be read (Permission denied)" in message


def refuse_access(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for method in ("iterdir", "open"):
        original = getattr(Path, method)

        def refuse(path: Path, *args: object, original: object = original) -> object:
            if path == closed:
                raise PermissionError(13, "Permission denied")
            return original(path, *args)  # type: ignore[operator]

        monkeypatch.setattr(Path, method, refuse)


def test_skipped_names_are_counted_in_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("_SUCCESS", ".part-0.csv.crc", "_temporary/part-3.csv", "part-0_$folder$", "placeholder"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("junk" if name.startswith(("_", ".")) else "")
    with caplog.at_level(logging.INFO):
        assert len(read_ids(folder)) == 20
    assert "train: 5 names skipped" in caplog.text
    assert "_SUCCESS" in caplog.text


def test_a_channel_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "train").write_text("id\n")
    assert "is not a folder" in read_problem(tmp_path / "train")


# --- part files of other tools


@pytest.mark.parametrize(
    "name",
    [
        "part-00000-5ca1ab1e-c000.snappy.parquet",
        "part-00000-5ca1ab1e.c000",
        "part-00000",
        "000000_0",
        "part-00000.gz",
        "data.txt",
        "part-0.CSV",
        "part-0.csv.GZ",
    ],
)
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_a_part_file_without_a_known_suffix_is_recognized_by_its_content(kind: str, name: str, tmp_path: Path) -> None:
    lower = name.lower()
    if (lower.endswith(".snappy.parquet") and kind != "parquet") or (".csv" in lower and kind != "csv"):
        return
    frame = shop_rows(20)
    write_part(frame, tmp_path / f"source.{kind}")
    content = (tmp_path / f"source.{kind}").read_bytes()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / name).write_bytes(gzip.compress(content) if lower.endswith(".gz") else content)
    assert read_ids(tmp_path / "train") == frame["id"].tolist()


@pytest.mark.parametrize("name", ["part-00000", "part-0.c000", "data.txt"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_a_file_without_labels_and_a_known_suffix_is_recognized(name: str, delimiter: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(delimiter.join(["id", "t"]) + "\n" + delimiter.join(["1", "good"]) + "\n")
    channel = open_channel("test", tmp_path, ["id", "t", "label"], optional_columns=["label"])
    assert channel.absent_columns == ("label",)
    assert [rows.columns["t"].to_pylist() for rows in channel] == [["good"]]


@pytest.mark.parametrize("first", ["id,t,label", "t,label,id"])
def test_a_header_in_any_order_is_an_error_if_the_settings_give_the_names(first: str, tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text(f"{first}\n1,good,0\n")
    with pytest.raises(DataError, match="FZ-D303"):
        open_channel("train", tmp_path, ["id", "t"], ReadOptions(header=("id", "t", "label")))


def test_a_csv_file_that_is_compressed_without_saying_so_is_read(tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part.csv")
    (tmp_path / "part.csv").write_bytes(gzip.compress((tmp_path / "part.csv").read_bytes()))
    assert len(read_ids(tmp_path)) == 20


def test_the_content_type_of_the_channel_decides_where_the_content_does_not(tmp_path: Path) -> None:
    (tmp_path / "part-0").write_text("id,message,country,price,visits,target\n1,a,b,1,2,0\n")
    assert read_ids(tmp_path, ReadOptions(content_type="text/csv")) == ["1"]
    (tmp_path / "part-0").write_text("wrong,header\n1,a\n")
    assert "the suffix of the file name is not a known format" in read_problem(tmp_path)
    assert "use one of them" in read_problem(tmp_path, ReadOptions(content_type="text/csv"))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("part-0.csv", b"PAR1", "the file is Parquet"),
        ("part-0.jsonl", b"PK\x03\x04", "Excel"),
        ("part-0", b"PK\x03\x04", "Excel"),
        ("part-0.csv.bz2", b"BZh91AY", "bzip2"),
        ("part-0.csv.zst", b"\x28\xb5\x2f\xfd..", "zstd"),
        ("part-0.pkl", b"\x80\x04\x95", "a pickle"),
        ("part-0.orc", b"ORC...", "ORC"),
        ("part-0.parquet", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("README", b"Read me first\n", "Read me first"),
        ("part-0.parquet", b"", "0 bytes"),
    ],
)
def test_a_file_of_another_kind_is_a_problem_that_says_what_it_is(
    name: str, content: bytes, found: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    message = read_problem(tmp_path)
    assert f"train/{name}" in message
    assert found in message


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_columns_of_partitioned_folders_are_read(suffix: str, tmp_path: Path) -> None:
    frame = shop_rows(40).assign(country=[None, "de", "a b", "é/ü"] * 10)
    names = {"de": "de", "a b": "a%20b", "é/ü": "%C3%A9%2F%C3%BC"}
    for target in (0, 1):
        for country, part in frame[frame["target"] == target].groupby("country", dropna=False):
            folder = f"target={target}/country={names.get(country, '__HIVE_DEFAULT_PARTITION__')}"
            write_part(part.drop(columns=["country", "target"]), tmp_path / folder / f"part-0.{suffix}")
    channel = open_channel("train", tmp_path, SETTINGS.columns)
    result = pd.concat([pd.DataFrame({c: rows.columns[c].to_pylist() for c in rows.columns}) for rows in channel])
    expected = frame.set_index("id").loc[result["id"]]
    assert result["target"].tolist() == expected["target"].astype(str).tolist()
    assert [c or None for c in result["country"]] == [c if isinstance(c, str) else None for c in expected["country"]]
    only = open_channel("train", tmp_path, ["target"])
    assert sum(len(rows) for rows in only) == 40


def test_a_column_of_the_file_is_used_before_one_of_its_folder(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame, tmp_path / "country=xx/part-0.parquet")
    (rows,) = open_channel("train", tmp_path, ["country", "id"])
    assert rows.columns["country"].to_pylist() == frame["country"].tolist()


# --- names of channels


def find(root: Path) -> tuple[dict[str, str], str]:
    problems = ProblemLog()
    folders = find_channel_folders(Paths(root, root / "checkpoints", root / "cache"), problems)
    return {split: folder.name for split, folder in folders.items()}, "\n".join(map(str, problems.problems))


@pytest.mark.parametrize("val", ["val", "validation", "valid", "eval"])
@pytest.mark.parametrize("train", ["train", "training"])
def test_names_that_other_jobs_use_for_a_channel_are_accepted(train: str, val: str, tmp_path: Path) -> None:
    for name in (train, val, "testing"):
        (tmp_path / "input/data" / name).mkdir(parents=True)
    assert find(tmp_path) == ({"train": train, "val": val, "test": "testing"}, "")


def test_two_channels_for_one_split_are_a_problem(tmp_path: Path) -> None:
    for name in ("train", "validation", "eval"):
        (tmp_path / "input/data" / name).mkdir(parents=True)
    assert "the channels 'validation', 'eval' are all names for val" in find(tmp_path)[1]


@pytest.mark.parametrize("is_declared", [True, False])
def test_pipe_mode_is_a_problem_that_names_the_input_mode(is_declared: bool, tmp_path: Path) -> None:
    (tmp_path / "input/data/val").mkdir(parents=True)
    (tmp_path / "input/config").mkdir()
    os.mkfifo(tmp_path / "input/data/train_0")
    if is_declared:
        config = {"train": {"TrainingInputMode": "Pipe"}, "val": {"TrainingInputMode": "File"}}
        (tmp_path / "input/config/inputdataconfig.json").write_text(json.dumps(config))
    folders, message = find(tmp_path)
    assert folders == {"train": "train", "val": "val"}
    assert "channel 'train': it is mounted in Pipe mode" in message
    assert "File or FastFile" in message


def test_the_channels_that_no_split_uses_are_listed(tmp_path: Path) -> None:
    for name in ("train", "holdout", "config"):
        (tmp_path / "input/data" / name).mkdir(parents=True)
    paths = Paths(tmp_path, tmp_path / "checkpoints", tmp_path / "cache")
    assert list_unused_channels(paths, find_channel_folders(paths, ProblemLog())) == ["holdout"]
    shutil.rmtree(tmp_path / "input")
    assert list_unused_channels(paths, {}) == []


def test_a_column_with_another_role_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    write_part(pd.DataFrame({"country": ["US"], "msg": ["a"]}), tmp_path / "train/part.csv")
    with pytest.raises(DataError, match="column 'county' does not exist") as error:
        open_channel("train", tmp_path / "train", ["country", "msg", "county"])
    assert "did you mean" not in str(error.value)
    with pytest.raises(DataError, match="did you mean 'country'"):
        open_channel("train", tmp_path / "train", ["msg", "county"])
    assert find_similar_columns(open_channel("test", tmp_path / "train", ["country", "county"], None, ["county"])) == {}
    assert find_similar_columns(open_channel("test", tmp_path / "train", ["county"], None, ["county"])) == {
        "county": "country"
    }
