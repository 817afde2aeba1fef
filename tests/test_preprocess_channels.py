"""The channels that preprocessing writes: a training job reads the same values and types as from the raw files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, are_equal, difficult_rows, write_part
from fusionzoo.data.cache import Cache
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.encoding import EncodedData, encode_channels
from fusionzoo.data.reading.channel import Channel, open_channel
from fusionzoo.data.splitting import SplitPart, split_channel
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.preprocessing.channel_writer import ChannelWriter
from preprocess_helpers import CHANNELS, list_outputs, read_all, read_channels, run, write_input, write_table

WORDS = SETTINGS.model_copy(update={"embeddings": "random"})
FRACTIONS = {"val": 0.2, "test": 0.2}


def encode(channels: dict[str, Channel | SplitPart], cache: Path, settings: DataSettings = WORDS) -> EncodedData:
    return encode_channels(settings, channels, Cache(cache, 10**9), 0, lambda rows: None)


@pytest.mark.parametrize("suffix", ["csv", "tsv.gz", "parquet", "jsonl"])
def test_a_training_job_encodes_the_channels_as_its_own_split_of_the_raw_files(suffix: str, tmp_path: Path) -> None:
    frame = difficult_rows()
    for part, name in enumerate((f"part-2.{suffix}", f"part-10.{suffix}")):
        write_part(frame.iloc[part * 40 : (part + 1) * 40], tmp_path / "processing/input" / name)
    assert run(tmp_path, seed="7") == 0
    raw = open_channel("train", tmp_path / "processing/input", WORDS.columns)
    parts = split_channel(raw, FRACTIONS, choose_target(WORDS).strata(), 7)
    written = {name: open_channel(name, tmp_path / "processing" / name, WORDS.columns) for name in CHANNELS}
    expected, found = encode(dict(parts), tmp_path / "one"), encode(dict(written), tmp_path / "two")
    assert found.preprocessor.target == expected.preprocessor.target
    for name in CHANNELS:
        assert len(found.splits[name]) > 0
        assert are_equal(found.splits[name], expected.splits[name]), name


def test_parquet_columns_keep_their_types_order_nulls_and_values(tmp_path: Path) -> None:
    rows = 40
    table = pa.table(
        {
            "z": pa.array([None, 2**62, *range(rows - 2)], pa.int64()),
            "id": pa.array(range(rows), pa.int16()),
            "target": pa.array([i % 2 == 0 for i in range(rows)]),
            "message": pa.array(["", None, " a\r\nb\t\x00", *map(str, range(rows - 3))], pa.large_string()),
            "day": pa.array([0, *range(rows - 1)], pa.date32()),
            "time": pa.array(range(rows), pa.timestamp("ns", "Europe/Berlin")),
            "small": pa.array([0.1] * rows, pa.float32()),
            "ratio": pa.array([float("nan"), None, *[0.5] * (rows - 2)]),
            "decimal": pa.array([None] * rows, pa.decimal128(9, 2)),
            "blob": pa.array([b"\xff\x00"] * rows),
            "tags": pa.array([["a", None], None, *[[]] * (rows - 2)], pa.list_(pa.string())),
            "nothing": pa.nulls(rows),
            "nested": pa.array([{"a": 1}] * rows),
        }
    )
    write_table(tmp_path, table)
    assert run(tmp_path) == 0
    found = pa.concat_tables(read_channels(tmp_path).values()).sort_by("id")
    assert found.schema.equals(table.schema)
    assert str(found.to_pylist()) == str(table.to_pylist())  # as text, because NaN is not equal to itself


def write_json_lines(root: Path, records: list[dict[str, Any]], blocks: list[dict[str, Any]] | None = None) -> None:
    """Write JSON Lines; `blocks` follow in a part file of their own, and so have types of their own."""
    for name, part in (("a.jsonl", records), ("b.jsonl", blocks or [])):
        if part:
            write_input(root, name, "".join(json.dumps(record) + "\n" for record in part).encode())


def test_values_of_several_json_types_share_one_type_without_loss(tmp_path: Path) -> None:
    one = {
        "number": 3,
        "large": 2**60,
        "mixed": 7,
        "tags": ["a"],
        "odd": [1],
        "thing": {"a": [1]},
        "empty": [],
    }
    two = {"number": 2.5, "large": 0.5, "mixed": "x", "tags": [], "odd": ["c"], "thing": None, "empty": None}
    write_json_lines(
        tmp_path,
        [{**one, "id": i, "target": i % 2} for i in range(10)],
        [{**two, "id": f"b{i}", "target": i % 2} for i in range(10)],
    )
    assert run(tmp_path) == 0
    frame = read_all(tmp_path).groupby("number").first()
    assert frame["large"].to_dict() == {3.0: str(2**60), 2.5: "0.5"}
    assert frame["mixed"].to_dict() == {3.0: "7", 2.5: "x"}
    assert [list(tags) for tags in frame["tags"]] == [[], ["a"]]
    assert frame["odd"].to_dict() == {3.0: "[1]", 2.5: '["c"]'}
    assert frame["thing"][3.0] == '{"a": [1]}'
    assert {"0", "9", "b0"} <= set(read_all(tmp_path)["id"])


@pytest.mark.parametrize("task", ["multilabel lists", "multilabel json", "multilabel columns", "regression"])
def test_labels_of_every_task_are_the_same_for_a_training_job(task: str, tmp_path: Path) -> None:
    frame = difficult_rows()
    names = np.array(["red", "blue", "green"])
    sets = [list(names[np.array([i % 2, i % 3 == 0, i % 5 == 0], bool)]) for i in range(len(frame))]
    arguments, changes = {"task": task.split()[0]}, {"task": task.split()[0], "num_classes": None}
    if task == "regression":
        frame["target"] = np.arange(len(frame)) / 7
        write_input(tmp_path, "rows.csv", frame.to_csv(index=False).encode())
    elif task == "multilabel columns":
        for name in names:
            frame[name] = [name in labels for labels in sets]
        write_input(tmp_path, "rows.csv", frame.to_csv(index=False).encode())
        arguments["label_name"], changes["label_name"] = json.dumps(names.tolist()), names.tolist()
    else:
        frame["target"] = sets if task == "multilabel lists" else [json.dumps(labels) for labels in sets]
        write_json_lines(tmp_path, json.loads(frame.to_json(orient="records")))
    settings = WORDS.model_copy(update=changes)
    assert run(tmp_path, **arguments) == 0
    raw = open_channel("train", tmp_path / "processing/input", settings.columns)
    parts = split_channel(raw, FRACTIONS, choose_target(settings).strata(), 42)
    written = {name: open_channel(name, tmp_path / "processing" / name, settings.columns) for name in CHANNELS}
    expected = encode(dict(parts), tmp_path / "one", settings)
    found = encode(dict(written), tmp_path / "two", settings)
    assert found.preprocessor.target == expected.preprocessor.target
    for name in CHANNELS:
        np.testing.assert_array_equal(found.splits[name].labels, expected.splits[name].labels)


def test_hive_partitions_and_one_file_in_another_format_become_one_channel(tmp_path: Path) -> None:
    frame = difficult_rows().drop(columns="country")
    write_part(frame[:30], tmp_path / "processing/input/country=de/part-0.csv")
    write_part(frame[30:], tmp_path / "processing/input/country=__HIVE_DEFAULT_PARTITION__/part-0.parquet")
    assert run(tmp_path) == 0
    found = read_all(tmp_path)
    assert found["country"].isna().tolist() == [False] * 30 + [True] * 30
    assert found["id"].tolist() == frame["id"].tolist()
    assert pd.to_numeric(found["price"]).fillna(-1).to_numpy() == pytest.approx(frame["price"].fillna(-1).to_numpy())


def test_the_same_files_give_the_same_bytes_and_another_seed_other_splits(tmp_path: Path) -> None:
    ids = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        write_part(difficult_rows(), tmp_path / name / "processing/input/rows.csv")
        assert run(tmp_path / name, seed=seed) == 0
        ids.append(set(read_channels(tmp_path / name)["val"]["id"].to_pylist()))
    outputs = list_outputs(tmp_path / "a")
    assert len(outputs) == 6
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in outputs)
    assert ids[0] != ids[2]


def test_a_large_channel_has_several_part_files_and_row_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.preprocessing.channel_writer.PART_BYTES", 4_000)
    monkeypatch.setattr("fusionzoo.preprocessing.channel_writer.BLOCK_ROWS", 100)
    schema = pa.schema([("value", pa.int64())])
    with ChannelWriter(tmp_path, schema) as writer:
        for start in range(0, 1_040, 10):
            writer.add(pa.RecordBatch.from_arrays([pa.array(range(start, start + 10))], schema=schema))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"part-0000{part}.parquet" for part in range(3)]
    assert pq.read_metadata(files[0]).row_group(0).num_rows == 100
    assert pq.read_table(tmp_path)["value"].to_pylist() == list(range(1_040))
