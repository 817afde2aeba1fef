"""Bytes that are not UTF-8, JSON that is not one object per line, and files made to fill the memory."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, write_part
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows, array_from_values
from fusionzoo.data.table.numbers import column_as_numbers
from fusionzoo.errors import DataError
from process_helpers import run_in_child
from shop import shop_rows

COLUMNS = ["id", "t"]


def read(folder: Path, columns: list[str] = COLUMNS, **limits: Any) -> list[list[Any]]:
    channel = open_channel("train", folder, columns, ReadOptions(**limits))
    return [list(row) for rows in channel for row in zip(*(rows.columns[c].to_pylist() for c in columns), strict=True)]


def read_problem(folder: Path, **limits: Any) -> str:
    with pytest.raises(DataError) as error:
        read(folder, **limits)
    return str(error.value)


# --- bytes


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz"])
@pytest.mark.parametrize("rows_before", [0, 5, 40_000])  # 40,000 rows are more than a chunk of the decoder
def test_a_wrong_byte_is_named_by_its_offset_and_line(suffix: str, rows_before: int, tmp_path: Path) -> None:
    kind = suffix.removesuffix(".gz")
    line = {
        "csv": '%d,"caf\u00e9 au lait"\n',
        "tsv": "%d\tcaf\u00e9 au lait\n",
        "jsonl": '{"id": %d, "t": "caf\u00e9"}\n',
    }[kind]
    header = "" if kind == "jsonl" else "id\tt\n" if kind == "tsv" else "id,t\n"
    good = (header + "".join(line % i for i in range(rows_before))).encode()
    content = good + (line % 7).encode("latin-1") + (line % 8).encode()
    (tmp_path / f"part.{suffix}").write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    message = read_problem(tmp_path)
    assert f"byte 0xE9 at offset {content.index(0xE9, len(good)):,} of " in message
    assert f"in line {good.count(10) + 1:,}" in message
    assert "looks like Windows-1252 (Latin-1)" in message


def test_utf_16_is_recognized(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_bytes("id,t\n1,a\n".encode("utf-16"))
    assert "looks like UTF-16" in read_problem(tmp_path)


# --- JSON


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 7, 2**16])
def test_a_json_array_of_objects_is_read(
    chunk: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.json_array.CHUNK", chunk)
    records = [{"id": i, "t": 'a "text], [{' + "x" * i} for i in range(30)]
    (tmp_path / "part.json").write_text("\ufeff  " * (chunk > 7) + json.dumps(records, indent=indent) + "\n")
    assert read(tmp_path) == [[record["id"], record["t"]] for record in records]


def test_an_empty_array_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text("[ ]")
    assert read(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"id": 1, "t": "a"} {"id": 2}]', "a comma or ] is missing at element 2"),
        ('[{"id": 1, "t": "a"},]', "at element 2"),
        ('[{"id": 1, "t": "a"}', "the array has no end"),
        ('[{"id": 1, "t": "a"}] x', "text after the array"),
        ('["id", 1]', "element 1 of the JSON array is not an object"),
        ('[[1, "a"]]', "element 1 of the JSON array is not an object"),
    ],
)
def test_an_array_element_that_is_not_an_object_is_named(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text(text)
    assert problem in read_problem(tmp_path)


@pytest.mark.parametrize("orient", ["columns", "index", "split", "table"])
def test_other_forms_of_to_json_are_problems_that_say_what_to_write(orient: Any, tmp_path: Path) -> None:
    pd.DataFrame({"id": [1, 2], "t": ["a", "b"]}).to_json(tmp_path / "part.json", orient=orient)
    assert 'to_json(path, orient="records", lines=True)' in read_problem(tmp_path)


# --- numbers


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1e39", "beyond the range of float32"),
        ("-1e400", "beyond the range of float32"),
        (1e39, "beyond the range of float32"),
        (10**40, "beyond the range of float32"),
        (float("inf"), "not a finite number"),
        ("cheap", "not a finite number"),
    ],
)
def test_a_large_number_is_not_called_infinite(value: object, message: str) -> None:
    rows = Rows(
        {"n": array_from_values([1, value] if not isinstance(value, str) else ["1", value])}, "f", 1, typed=True
    )
    with pytest.raises(DataError, match=f"1 value is {message}: f row 2"):
        column_as_numbers(rows, "n")


# --- sizes


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("part.csv", b'id,t\n1,a\n2,"%s"\n', "line 3"),
        ("part.csv", b"id,t\n1,a\n2,%s\n", "line 3"),
        ("part.csv", b'id,t\n1,a\n2,"%s', "line 3"),
        ("part.csv", b'id,t\n1,a\n2,"\n\n%s\n"\n', "line 3"),
        ("part.csv", b"%s,id,t\n", "line 1"),
        ("part.tsv", b"id\tt\n1\ta\n2\t%s\n", "line 3"),
        ("part.jsonl", b'{"id": 1, "t": "a"}\n{"id": 2, "t": "%s"}\n', "line 2"),
        ("part.json", b'[{"id": 1, "t": "a"}, {"id": 2, "t": "%s"}]', "element 2"),
    ],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_row_beyond_the_limit_is_named(name: str, content: bytes, line: str, gzipped: bool, tmp_path: Path) -> None:
    data = content.replace(b"%s", b"x" * 300_000)
    (tmp_path / (name + ".gz" * gzipped)).write_bytes(gzip.compress(data) if gzipped else data)
    assert f"{line}: the row is longer than 0.1 MB" in read_problem(tmp_path, max_row_bytes=100_000)


def test_a_parquet_value_beyond_the_limit_is_a_problem(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "t": ["a", "x" * 300_000]}), tmp_path / "part.parquet")
    assert "the row is longer than 0.1 MB" in read_problem(tmp_path, max_row_bytes=100_000)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("length", [2**21, 2**19])
def test_a_long_text_that_many_rows_share_is_decoded_a_few_rows_at_a_time(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 2**22)
    pq.write_table(pa.table({"id": range(200), "t": ["x" * length] * 200}), tmp_path / "part.parquet")
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for block in open_channel("train", tmp_path, COLUMNS):
        rows += len(block)
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 200
    assert most < 60e6  # all rows together have 420 and 105 MB


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "csv.gz", "parquet.gz"])
def test_a_file_beyond_the_limit_is_a_problem(suffix: str, tmp_path: Path) -> None:
    write_part(shop_rows(500), tmp_path / f"part.{suffix}")
    with pytest.raises(DataError, match=r"the file has more than 1e-05 GB of data\. Fix: divide the file, or raise"):
        list(open_channel("train", tmp_path, SETTINGS.columns, ReadOptions(max_file_bytes=10_000)))


@pytest.mark.parametrize("name", ["part.csv.gz", "part.jsonl.gz", "part.parquet.gz"])
def test_a_file_that_expands_far_beyond_its_size_is_a_problem(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.limits.MIN_SUSPECT_BYTES", 10**6)
    (tmp_path / name).write_bytes(
        gzip.compress((b"id,t\n" if "csv" in name else b'{"id": 1, "t": "a"}\n') + b" " * 3_000_000)
    )
    assert "the data of the file is more than 200 times its" in read_problem(tmp_path)


@pytest.mark.parametrize(
    ("name", "start"),
    [("part.csv.gz", b"id,t\n"), ("part.tsv.gz", b"id\tt\n"), ("part.jsonl.gz", b'{"id": 1, "t": "a"}\n')],
)
def test_a_file_full_of_line_ends_is_a_problem_within_seconds(name: str, start: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(gzip.compress(start + b"\n" * 50_000_000, 1))
    started = time.monotonic()
    assert "more than 1,000,000 blank lines follow each other" in read_problem(tmp_path)
    assert time.monotonic() - started < 30


def test_a_damaged_parquet_footer_is_an_error_and_never_ends_the_process(tmp_path: Path) -> None:
    folder = tmp_path / "channel"
    folder.mkdir()
    texts = ["good", None, "fine"] * 200
    pq.write_table(pa.table({"id": range(600), "t": texts, "n": [[1], None, []] * 200}), folder / "part.parquet")
    whole = (folder / "part.parquet").read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8

    def read_each_damage() -> int:
        refused = 0
        for position in range(len(whole) - footer, len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 1
            (folder / "part.parquet").write_bytes(damaged)
            try:
                read(folder)
            except DataError:
                refused += 1
        return 0 if refused > footer // 4 else 1

    assert run_in_child(read_each_damage, tmp_path / "log") == 0, (tmp_path / "log").read_text()[-2000:]
