"""The preprocessing job: splits, reports, and what is refused without leaving anything."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fusionzoo.data.reading.rows import Rows
from fusionzoo.hyperparameters import PluginSettings, parse_hyperparameters
from fusionzoo.preprocessing.column_statistics import ColumnStatistics
from fusionzoo.preprocessing.preprocess_arguments import parse_arguments
from fusionzoo.preprocessing.suggested_roles import suggest_role
from fusionzoo.settings import ModelSettings
from preprocess_helpers import (
    REPORTS,
    list_outputs,
    read_all,
    read_channels,
    read_message,
    run,
    write_input,
    write_shop,
    write_table,
)
from shop import shop_rows


def read_report(root: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((root / "processing/report" / name).read_text())
    return document


def test_each_row_is_in_one_channel_and_classes_have_the_same_shares(tmp_path: Path) -> None:
    frame = write_shop(tmp_path, 100)
    assert run(tmp_path) == 0
    channels = read_channels(tmp_path)
    assert sorted(id_ for table in channels.values() for id_ in table["id"].to_pylist()) == frame["id"].tolist()
    assert [len(table) for table in channels.values()] == [60, 20, 20]
    for split, table in read_report(tmp_path, "statistics.json")["splits"].items():
        counts = channels[split]["target"].to_pandas().value_counts()
        assert {label: entry["rows"] for label, entry in table["labels"].items()} == counts.to_dict()
        assert table["labels"]["1"]["share"] == pytest.approx((frame["target"] == 1).mean(), abs=0.05)
    assert {name.split("/")[-1] for name in list_outputs(tmp_path) if "/report/" in name} == REPORTS


def test_a_group_is_in_one_channel_and_a_rare_class_stays_in_train(tmp_path: Path) -> None:
    columns = {
        "id": range(90),
        "who": [i // 3 for i in range(90)],
        "target": ["x" if i < 2 else "yz"[i % 2] for i in range(90)],
    }
    write_table(tmp_path, columns)
    assert run(tmp_path, group_field="who") == 0
    groups = [set(table["who"].to_pylist()) for table in read_channels(tmp_path).values()]
    assert all(groups)
    assert sum(map(len, groups)) == 30
    write_table(tmp_path, columns)
    assert run(tmp_path) == 0
    assert "x" in read_channels(tmp_path)["train"]["target"].to_pylist()


def test_the_index_of_pandas_is_not_suggested_as_a_number(tmp_path: Path) -> None:
    write_input(tmp_path, "rows.csv", shop_rows(60).to_csv().encode())
    assert run(tmp_path) == 0
    roles = {column["name"]: column["suggested_role"] for column in read_report(tmp_path, "schema.json")["columns"]}
    assert (roles["Unnamed: 0"], roles["visits"]) == ("unused", "tab_field_list")
    assert read_report(tmp_path, "suggested_hyperparameters.json")["tab_field_list"] == ["price", "visits"]
    names = ["", "__index_level_0__", "Unnamed: 0x"]
    columns = [ColumnStatistics(pa.field(name, pa.int64())) for name in names]
    for column in columns:
        column.add(Rows({column.name: pa.array([1, 2, 2])}, "rows", 1, True))
    settings = parse_arguments({"label-name": "target"})
    assert [suggest_role(column, settings).setting for column in columns] == ["unused", "unused", "tab_field_list"]


def test_a_fraction_of_zero_writes_no_file_into_its_channel(tmp_path: Path) -> None:
    write_shop(tmp_path)
    assert run(tmp_path) == 0
    assert run(tmp_path, val_fraction="0", test_fraction="0.0") == 0
    assert {name: len(table) for name, table in read_channels(tmp_path).items()} == {"train": 60}
    assert list(read_report(tmp_path, "statistics.json")["splits"]) == ["train"]


def test_the_report_describes_columns_as_training_reads_them(tmp_path: Path) -> None:
    rows = 200
    frame = shop_rows(rows).assign(
        zip=[f"{i % 30:05d}" for i in range(rows)],
        token=[f"t{i}" for i in range(rows)],
        same="x",
        empty=" ",
        day=[f"2024-02-{i % 20 + 1:02d}x" for i in range(rows)],
    )
    frame.loc[:9, "country"] = "N/A"
    write_input(tmp_path, "rows.csv", frame.to_csv(index=False).encode())
    assert run(tmp_path) == 0
    columns = read_report(tmp_path, "statistics.json")["columns"]
    assert columns["country"]["missing"] == int((frame["country"].isna() | (frame["country"] == "N/A")).sum())
    assert columns["price"]["numbers"]["mean"] == pytest.approx(frame["price"].mean())
    assert columns["price"]["numbers"]["quantiles"]["50 %"] == pytest.approx(frame["price"].median())
    assert columns["message"]["characters"]["max"] == frame["message"].str.len().max()
    assert (columns["token"]["distinct"], columns["empty"]["missing_share"]) == (rows, 1.0)
    roles = {column["name"]: column["suggested_role"] for column in read_report(tmp_path, "schema.json")["columns"]}
    assert list(roles) == frame.columns.tolist()
    assert [name for name, role in roles.items() if role == "cat_field_list"] == ["country", "zip", "day"]
    assert [name for name, role in roles.items() if role == "tab_field_list"] == ["price", "visits"]
    assert [name for name, role in roles.items() if role == "unused"] == ["token", "same", "empty"]
    suggested = read_report(tmp_path, "suggested_hyperparameters.json")
    settings = parse_hyperparameters({**suggested, "model_class": "any"}, PluginSettings("any", ModelSettings)).job
    assert (settings.id_name, settings.label_name, settings.text_name) == ("id", "target", "message")
    assert settings.num_classes == 2


def test_duplicates_and_rows_that_also_appear_in_train_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = shop_rows(40)
    twice = pd.concat([frame, frame.assign(id=frame["id"] + "b"), frame[:1]])
    write_input(tmp_path, "rows.csv", twice.to_csv(index=False).encode())
    assert run(tmp_path, test_fraction="0") == 0
    statistics = read_report(tmp_path, "statistics.json")
    assert (statistics["duplicate_rows"], statistics["duplicate_ids"]) == (41, 1)
    channels = {name: table.to_pandas().drop(columns="id") for name, table in read_channels(tmp_path).items()}
    train = set(channels["train"].astype(str).agg("|".join, axis=1))
    expected = int(channels["val"].astype(str).agg("|".join, axis=1).isin(train).sum())
    assert 0 < expected == statistics["rows_also_in_train"]["val"]
    assert f"val: {expected} rows of 16 also appear in train" in capsys.readouterr().out


UNLABELED = b"id,target\n" + b"".join(f"{i},{'' if i == 3 else i % 2}\n".encode() for i in range(20))


@pytest.mark.parametrize(
    ("content", "arguments", "parts"),
    [
        (None, {"label_name": "Targets"}, ["Targets", "'target'", "rows.csv"]),
        (None, {"id_name": "idd", "group_field": "no"}, ["'idd'", "'no'"]),
        (None, {"group_field": "target"}, ["group_field", "also label_name"]),
        (None, {"val_fraction": "1.5", "task": "ranking", "seed": "x"}, ["val_fraction = 1.5", "task", "seed"]),
        (None, {"val_fraction": "0.6", "test_fraction": "0.5"}, ["add up to 1.1"]),
        (None, {"val_fraction": "NaN"}, ["val_fraction"]),
        (None, {"label_name": '["target", "price"]'}, ["label_name"]),
        (None, {"label_separator": "|"}, ["label_separator"]),
        (None, {"label_name": ""}, ["label_name"]),
        (None, {"task": "regression", "label_name": "country"}, ["'country': all 56 values are not finite numbers"]),
        (b"", {}, ["its part files have no rows"]),
        (b"id,target\n", {}, ["no rows"]),
        (b"id,target,target\n1,1,1\n", {}, ["target"]),
        (b"id,target\n" + b"1,x\n" * 20, {}, ["one class"]),
        (UNLABELED, {}, ["rows.csv row 4", "null"]),
        (b"id,target\n1,a\n2,b\n3,a\n", {}, ["no row for test"]),
        (b"id,target\n1,a\n2,b,c\n", {}, ["rows.csv", "columns"]),
        (b"id,target\n1,\xff\n", {}, ["UTF-8"]),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_explained_and_leaves_nothing_of_an_earlier_run(
    content: bytes | None, arguments: dict[str, str], parts: list[str], tmp_path: Path
) -> None:
    write_shop(tmp_path)
    assert run(tmp_path) == 0
    assert len(list_outputs(tmp_path)) == 6
    if content is not None:
        write_input(tmp_path, "rows.csv", content)
    assert run(tmp_path, **arguments) == 1
    assert list_outputs(tmp_path) == set()
    message = read_message(tmp_path)
    assert all(part in message for part in parts), message
    assert "Fix: " in message
    assert "Traceback" not in message


def test_groups_that_are_larger_than_a_split_are_refused(tmp_path: Path) -> None:
    write_table(
        tmp_path, {"id": range(40), "who": [i < 36 for i in range(40)], "target": ["ab"[i % 2] for i in range(40)]}
    )
    assert run(tmp_path, group_field="who") == 1
    assert "2 groups of 4 to 36 rows" in read_message(tmp_path)


def test_a_part_file_without_a_column_is_refused_and_named(tmp_path: Path) -> None:
    frame = write_shop(tmp_path)
    write_input(tmp_path, "more.csv", frame.rename(columns={"country": "Country"}).to_csv(index=False).encode())
    assert run(tmp_path) == 1
    message = read_message(tmp_path)
    assert "more.csv" in message
    assert "'country'" in message
    assert "'Country'" in message


def test_a_missing_or_empty_input_folder_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(tmp_path) == 1
        assert str(tmp_path / "processing/input") in read_message(tmp_path)
        (tmp_path / "processing/input").mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("name", ["mine.csv", "mine.parquet", "part.0.parquet", "part-00000-tid-1.snappy.parquet"])
def test_a_file_that_training_would_read_with_a_channel_is_refused_and_stays(name: str, tmp_path: Path) -> None:
    write_shop(tmp_path)
    (tmp_path / "processing/val").mkdir()
    (tmp_path / f"processing/val/{name}").write_text("id,target\n")
    (tmp_path / "processing/val/_SUCCESS").write_text("")
    assert run(tmp_path) == 1
    assert name in read_message(tmp_path)
    assert list_outputs(tmp_path) == {f"processing/val/{name}", "processing/val/_SUCCESS"}


@pytest.mark.parametrize(("hosts", "status"), [(["algo-1"], 0), (["algo-1", "algo-2"], 1)])
def test_a_job_with_several_instances_is_refused(hosts: list[str], status: int, tmp_path: Path) -> None:
    write_shop(tmp_path)
    path = tmp_path / "config/resourceconfig.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"current_host": "algo-1", "hosts": hosts}))
    assert run(tmp_path) == status
    if status:
        assert "2 instances" in read_message(tmp_path)
        assert list_outputs(tmp_path) == set()


def test_a_failure_while_the_last_channel_is_moved_leaves_no_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shop(tmp_path)
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if "train" in str(target):  # the folders are completed in reverse order
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    assert run(tmp_path) == 1
    assert list_outputs(tmp_path) == set()
    assert "No space left" in read_message(tmp_path)


def test_a_column_of_types_that_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    write_table(
        tmp_path, {"id": range(20), "target": ["ab"[i % 2] for i in range(20)], "blob": [b"\xff"] * 20}, "a.parquet"
    )
    write_table(tmp_path, {"id": range(20), "target": ["ab"[i % 2] for i in range(20)], "blob": [1] * 20}, "b.parquet")
    assert run(tmp_path) == 1
    assert "column 'blob': its values are of the types binary, int64" in read_message(tmp_path)


def test_dozens_of_numbers_as_classes_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path, {"id": range(600), "target": [i % 60 for i in range(600)]})
    assert run(tmp_path) == 0
    assert "regression" in capsys.readouterr().out
    assert len(read_all(tmp_path)) == 600
    assert logging.getLogger("fusionzoo").handlers == []
