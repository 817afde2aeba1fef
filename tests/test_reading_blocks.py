"""Reading in blocks: bounded memory, and rows that keep their numbers."""

from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, encode_train, read_problem, serialize, write_part
from fusionzoo.data.reading.channel import Channel, open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError
from shop import shop_rows


def test_a_problem_names_the_row_by_its_number_in_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 8)
    for i, suffix in enumerate(("csv", "parquet", "jsonl")):
        frame = shop_rows(40, i)
        frame["price"] = [*map(str, range(29)), "cheap", *map(str, range(10))]
        write_part(frame, tmp_path / f"part-{i}.{suffix}")
    message = read_problem(tmp_path)
    assert all(f"train/part-{i}.{suffix} row 30" in message for i, suffix in enumerate(("csv", "parquet", "jsonl")))


def test_blocks_of_long_rows_have_fewer_rows_and_no_row_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = shop_rows(40)
    for suffix in ("csv", "jsonl"):
        write_part(frame, tmp_path / suffix / f"part.{suffix}")
        expected = encode_train(tmp_path / suffix)
        monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 100)
        blocks = list(open_channel("train", tmp_path / suffix, SETTINGS.columns))
        assert max(map(len, blocks)) <= 3
        assert [rows.first_row for rows in blocks[1:]] == np.cumsum([1, *map(len, blocks)])[1:-1].tolist()
        assert np.array_equal(encode_train(tmp_path / suffix).tokens, expected.tokens)
        monkeypatch.undo()


def read_blocks(path: Path, columns: list[str]) -> list[Rows]:
    return list(open_channel("train", path.parent, columns))


@pytest.mark.parametrize("how", ["plain", "repeated", "dictionary", "after short ones"])
def test_parquet_blocks_of_long_texts_have_fewer_rows_and_no_row_is_lost(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{i % 3 if how != 'plain' else i:05d}" * 2000 for i in range(60)]  # 10,000 characters
    if how == "after short ones":
        texts = ["short"] * 600 + texts
    column = pa.array(texts).dictionary_encode() if how == "dictionary" else pa.array(texts)
    pq.write_table(pa.table({"id": range(len(texts)), "t": column}), tmp_path / "part.parquet")
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 50_000)
    monkeypatch.setattr("fusionzoo.data.reading.parquet.SLICE_LENGTH", 20_000)
    blocks = read_blocks(tmp_path / "part.parquet", ["id", "t"])
    assert max(rows.columns["t"].nbytes for rows in blocks) < 50_000 + 2 * 20_000
    assert [t for rows in blocks for t in rows.columns["t"].to_pylist()] == texts
    assert [i for rows in blocks for i in rows.columns["id"].to_pylist()] == list(range(len(texts)))
    assert [rows.first_row for rows in blocks] == np.cumsum([1, *map(len, blocks)])[:-1].tolist()


def test_small_parquet_row_groups_are_read_into_one_block(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": range(40_000)}), tmp_path / "part.parquet", row_group_size=1000)
    blocks = read_blocks(tmp_path / "part.parquet", ["id"])
    assert len(blocks) == 3
    assert max(map(len, blocks)) <= 16_384
    assert sum(map(len, blocks)) == 40_000


@pytest.mark.parametrize("suffix", ["parquet", "parquet.gz", "csv", "csv.gz", "jsonl", "jsonl.gz"])
def test_a_large_file_is_never_held_in_memory_completely(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(97, 123, (700, 20_000), np.uint8)
    table = pa.table({"id": range(700), "t": [row.tobytes().decode() for row in noise]})  # 14 MB in one row group
    path = tmp_path / f"part.{suffix}"
    if suffix.startswith("parquet"):
        pq.write_table(table, tmp_path / "part.parquet", row_group_size=10**6, write_batch_size=20)
        if suffix != "parquet":
            path.write_bytes(gzip.compress((tmp_path / "part.parquet").read_bytes(), 1))
            (tmp_path / "part.parquet").unlink()
    else:
        path.write_bytes(serialize(table.to_pylist(), suffix))
    del table, noise
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 2**20)
    monkeypatch.setattr("fusionzoo.data.reading.parquet.SLICE_LENGTH", 2**18)
    monkeypatch.setattr("fusionzoo.data.reading.parquet.READ_BUFFER", 2**16)
    bytes_before, row_count, max_bytes = pa.total_allocated_bytes(), 0, 0
    tracemalloc.start()
    try:
        for rows in open_channel("train", tmp_path, ["id", "t"]):
            row_count += len(rows)
            max_bytes = max(max_bytes, pa.total_allocated_bytes() - bytes_before)
        python_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert row_count == 700
    assert max_bytes < 8e6  # bytes that Arrow holds
    assert python_bytes < 8e6


def test_rows_of_another_width_are_counted_and_the_first_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("id,t\n1,a\n" + "1,2,3\n" * 500)
    with pytest.raises(DataError) as error:
        read_blocks(tmp_path / "part.csv", ["id"])
    assert "500 rows with another number of columns than the header's 2: line 3 (3), line 4 (3)" in str(error.value)
    assert "line 22 (3) and 480 more" in str(error.value)


def test_other_columns_of_a_channel_are_checked_before_they_are_read(tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part-0.csv")
    write_part(shop_rows(20).drop(columns="price"), tmp_path / "part-1.jsonl")
    channel = open_channel("train", tmp_path, ["id"])
    assert channel.with_columns(["country", "id"]).columns == ("country", "id")
    with pytest.raises(DataError, match=r"train/part-1\.jsonl: column 'price' does not exist"):
        channel.with_columns(["id", "price"])


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_in_memory_is_read_like_one_on_a_disk(suffix: str, gzipped: bool, tmp_path: Path) -> None:
    content = serialize(shop_rows(40).to_dict("records"), suffix)
    stored = gzip.compress(content) if gzipped else content
    (tmp_path / "part").write_bytes(stored)
    on_disk = PartFile(tmp_path / "part", "part", suffix, gzipped)
    in_memory = PartFile(Path("absent"), "part", suffix, gzipped, content=stored)
    blocks = [list(Channel("train", (file,), ("message", "country"))) for file in (on_disk, in_memory)]
    assert blocks[0] == blocks[1]
    assert sum(map(len, blocks[0])) == 40
    limited = replace(in_memory, options=ReadOptions(max_file_bytes=100))
    with pytest.raises(DataError, match="part: "):
        list(Channel("train", (limited,), ("message",)))
