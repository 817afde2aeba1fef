"""Files as other tools leave them: joined, decompressed under their old name, wrapped, or with other delimiters."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from data_helpers import write_part
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from shop import shop_rows

COLUMNS = ["id", "message", "country"]


def read_ids(folder: Path, options: ReadOptions | None = None) -> list[str]:
    return [row for rows in open_channel("train", folder, COLUMNS, options) for row in rows.columns["id"].to_pylist()]


def find_problem(folder: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_ids(folder, options)
    return str(error.value)


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("name", "old_name"),
    [
        ("part.csv", "part.csv.gz"),
        ("part.tsv", "part.tsv.GZ"),
        ("part.jsonl", "part.jsonl.gzip"),
        ("part.parquet", "part.parquet.gzip"),
        ("part.parquet", "part.parquet.gz"),
        ("part.csv", "part-00000.gz"),
    ],
)
def test_a_file_that_is_not_compressed_is_read_although_its_suffix_says_so(
    name: str, old_name: str, tmp_path: Path
) -> None:
    write_part(shop_rows(20), tmp_path / name)
    expected = read_ids(tmp_path)
    (tmp_path / name).rename(tmp_path / old_name)
    assert read_ids(tmp_path) == expected


@pytest.mark.parametrize("content", [b"\x1e\x8b\x08\x00 damaged", b"\xff\xfe\x00", b"id\x00,message"])
def test_a_compressed_file_without_its_first_bytes_is_not_read_as_text(content: bytes, tmp_path: Path) -> None:
    write(tmp_path / "part.csv.gz", content)
    assert "Not a gzipped file" in find_problem(tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_joined_files_with_headers_are_an_error_that_names_the_lines(
    suffix: str, mark: str, quote: str, tmp_path: Path
) -> None:
    delimiter = "\t" if suffix == "tsv" else ","
    header = delimiter.join(f"{quote}{name}{quote}" for name in COLUMNS)
    part = f"{header}\n" + "".join(delimiter.join((f"r{i}", "good red", "de")) + "\n" for i in range(3))
    write(tmp_path / f"part.{suffix}", part + mark + part + mark + part)
    message = find_problem(tmp_path)
    assert "2 rows with the names of the columns instead of values: line 5, line 9." in message
    assert "FZ-D323" in message


def test_a_joined_file_with_the_index_of_pandas_is_an_error(tmp_path: Path) -> None:
    content = shop_rows(5).to_csv()
    write(tmp_path / "part.csv", content + content)
    assert "FZ-D323" in find_problem(tmp_path)


def test_rows_that_hold_some_names_of_columns_are_rows(tmp_path: Path) -> None:
    write(tmp_path / "part.csv", "id,message,country\nid,message,de\nid,,\nx,message,country\n")
    assert read_ids(tmp_path) == ["id", "id", "x"]
    write(tmp_path / "part.csv", "0,1,2\n0,1,2\n")
    numbered = ReadOptions(header=("0", "1", "2"))
    assert [len(rows) for rows in open_channel("train", tmp_path, ["0", "1"], numbered)] == [2]


def test_a_repeated_header_is_a_rejected_row(tmp_path: Path) -> None:
    write(tmp_path / "part.csv", "id,message,country\na,b,c\nid,message,country\nd,e,f\n")
    rejected = []
    options = ReadOptions(reject_row=lambda name, row, column, reason: rejected.append((row, reason)))
    assert read_ids(tmp_path, options) == ["a", "d"]
    assert rejected == [(2, "line 3: it repeats the names of the columns")]


@pytest.mark.parametrize("key", ["instances", "data", "entries"])
@pytest.mark.parametrize("more", [{}, {"count": 2}])
@pytest.mark.parametrize("name", ["part.json", "manifest"])
def test_rows_inside_of_a_json_object_are_an_error_that_names_the_key(
    key: str, more: Mapping[str, int], name: str, tmp_path: Path
) -> None:
    write(tmp_path / name, json.dumps({**more, key: [dict.fromkeys(COLUMNS, "a")]}))
    message = find_problem(tmp_path)
    assert f"an array of objects in '{key}', instead of rows" in message
    assert message.count("Fix: ") == 1


def test_a_row_with_an_array_of_objects_is_a_row(tmp_path: Path) -> None:
    write(tmp_path / "part.jsonl", json.dumps({**dict.fromkeys(COLUMNS, "a"), "items": [{"b": 1}]}))
    assert read_ids(tmp_path) == ["a"]


def test_a_key_that_a_part_lacks_may_be_null_as_spark_leaves_it_out(tmp_path: Path) -> None:
    frame = shop_rows(20)
    frame[:10].to_json(tmp_path / "part-0.json", orient="records", lines=True)
    frame[10:].drop(columns="country").to_json(tmp_path / "part-1.json", orient="records", lines=True)
    message = find_problem(tmp_path)
    assert "train/part-1.json: column 'country' does not exist" in message
    assert "if it is null in all rows, write null in one of them (Spark: set ignoreNullFields to false)" in message
    frame[10:].drop(columns="country").to_csv(tmp_path / "part-1.json", index=False)
    (tmp_path / "part-1.json").rename(tmp_path / "part-1.csv")
    assert "ignoreNullFields" not in find_problem(tmp_path)


@pytest.mark.parametrize("delimiter", [";", "|", "\x01"])
@pytest.mark.parametrize("name", ["0000_part_00", "part.txt", "part.csv", "part.csv000", "part.tsv"])
def test_another_delimiter_is_named_whatever_the_name_of_the_file_is(delimiter: str, name: str, tmp_path: Path) -> None:
    write(tmp_path / name, shop_rows(5).to_csv(index=False, sep=delimiter))
    message = find_problem(tmp_path)
    assert message.count("the delimiter of the file is a ") == 1
    if name != "part.tsv":
        assert f"set csv_delimiter to {json.dumps(delimiter)}" in message


@pytest.mark.parametrize("delimiter", [";", "|", "\x01"])
def test_another_delimiter_of_a_file_without_a_header_is_named(delimiter: str, tmp_path: Path) -> None:
    frame = shop_rows(5)
    write(tmp_path / "000000_0", frame.to_csv(index=False, header=False, sep=delimiter))
    message = find_problem(tmp_path, ReadOptions(header=tuple(frame.columns)))
    assert f"set csv_delimiter to {json.dumps(delimiter)}" in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"id": 1}\n', "JSON"),
        ('\ufeff[\n  {"id": 1}]', "JSON"),
        ('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        ("<!DOCTYPE html>\n<html>", "a web page"),
        ("<HTML><body>Sign in</body></HTML>", "a web page"),
    ],
)
@pytest.mark.parametrize("name", ["part.csv", "part.tsv", "part.csv.gz"])
def test_other_text_with_the_suffix_of_a_delimited_file_is_named(
    content: str, found: str, name: str, tmp_path: Path
) -> None:
    write(tmp_path / name, gzip.compress(content.encode()) if name.endswith(".gz") else content)
    message = find_problem(tmp_path)
    assert f"the file is {found}, although its suffix is {Path(name.removesuffix('.gz')).suffix}" in message
