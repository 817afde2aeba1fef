"""Without `id_name`, the id of a row is its file and row number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_helpers import SETTINGS, encode_folder, write_part
from fusionzoo.artifacts.predictions import prediction_columns
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.data.splitting import split_channel
from fusionzoo.data.targets.class_labels import ClassStrata
from fusionzoo.errors import PredictionColumnsError
from parsing_helpers import parse_changed
from shop import shop_rows
from task_helpers import make_classification

WITHOUT_ID = SETTINGS.model_copy(update={"id_name": None})


@pytest.mark.parametrize("suffix", [".csv", ".tsv.gz", ".jsonl", ".parquet", ".parquet.gz"])
def test_the_id_is_the_file_and_the_row_in_every_format(tmp_path: Path, suffix: str) -> None:
    rows = shop_rows(5000).drop(columns="id")
    write_part(rows[:4000], tmp_path / f"data/train/sub/part-2{suffix}")
    write_part(rows[4000:], tmp_path / f"data/train/part-10{suffix}")
    channel = open_channel("train", tmp_path / "data/train", WITHOUT_ID.columns)
    found = [row_id for block in channel for row_id in block.row_ids().to_pylist()]
    expected = [f"train/part-10{suffix}:{i}" for i in range(1, 1001)]
    assert found == expected + [f"train/sub/part-2{suffix}:{i}" for i in range(1, 4001)]


def test_a_row_keeps_its_id_in_a_split_of_train(tmp_path: Path) -> None:
    write_part(shop_rows(40), tmp_path / "train/a.csv")
    channel = open_channel("train", tmp_path / "train", WITHOUT_ID.columns)
    texts = {row_id: text for block in channel for row_id, text in _ids_and_texts(block)}
    parts = split_channel(channel, {"val": 0.3}, ClassStrata("target"), 0)
    found = [pair for part in parts.values() for block in part for pair in _ids_and_texts(block)]
    assert len(found) == 40
    assert dict(found) == texts


def _ids_and_texts(block: object) -> list[tuple[str, str]]:
    return list(zip(block.row_ids().to_pylist(), block.columns["message"].to_pylist(), strict=True))  # type: ignore[attr-defined]


def test_encoded_ids_follow_the_names_of_the_files_although_the_contents_are_in_the_cache(tmp_path: Path) -> None:
    write_part(shop_rows(30), tmp_path / "data/train/old.csv")
    first = encode_folder(tmp_path / "data", WITHOUT_ID).splits["train"]
    (tmp_path / "data/train/old.csv").rename(tmp_path / "data/train/new.csv")
    second = encode_folder(tmp_path / "data", WITHOUT_ID).splits["train"]
    assert first.ids.to_pylist() == [f"train/old.csv:{i}" for i in range(1, 31)]
    assert second.ids.to_pylist() == [f"train/new.csv:{i}" for i in range(1, 31)]
    assert np.array_equal(first.tokens, second.tokens)
    assert first.duplicate_ids == second.duplicate_ids == 0


def test_renamed_files_with_an_id_column_come_from_the_cache(tmp_path: Path) -> None:
    write_part(shop_rows(30), tmp_path / "data/train/old.csv")
    encode_folder(tmp_path / "data")
    entries = sorted((tmp_path / "cache").rglob("*"))
    (tmp_path / "data/train/old.csv").rename(tmp_path / "data/train/new.csv")
    encode_folder(tmp_path / "data")
    assert sorted((tmp_path / "cache").rglob("*")) == entries


def test_records_have_their_row_number() -> None:
    assert rows_from_records([{"a": 1}, {"a": 2}], ["a"]).row_ids().to_pylist() == ["records:1", "records:2"]


@pytest.mark.parametrize("value", [..., None, "null"])
def test_id_name_may_be_absent_or_null(value: object) -> None:
    job = parse_changed(id_name=value).job
    assert job.id_name is None
    assert job.id_column == "row_id"
    assert "row_id" not in job.columns


def test_a_label_column_named_row_id_is_an_error_that_says_what_to_rename() -> None:
    with pytest.raises(PredictionColumnsError, match="columns 'row_id'") as error:
        prediction_columns(WITHOUT_ID.id_column, make_classification(name="row_id"))
    assert "set id_name" in str(error.value)


def test_a_column_named_row_id_can_be_a_feature(tmp_path: Path) -> None:
    frame = shop_rows(30).rename(columns={"visits": "row_id"})
    write_part(frame, tmp_path / "data/train/a.csv")
    settings = WITHOUT_ID.model_copy(update={"tab_field_list": ["price", "row_id"]})
    encoded = encode_folder(tmp_path / "data", settings)
    assert encoded.splits["train"].ids.to_pylist()[0] == "train/a.csv:1"
    assert [encoder.name for encoder in encoded.preprocessor.numbers] == ["price", "row_id"]
