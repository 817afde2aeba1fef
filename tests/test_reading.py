"""Reading a channel: formats, part files, and damaged files."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, difficult_rows, write_part
from fusionzoo.data import fit_preprocessor
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.table.numbers import column_as_numbers
from fusionzoo.errors import DataError
from shop import shop_rows


def encode(folder: Path) -> EncodedSplit:
    channel = open_channel("train", folder, SETTINGS.columns)
    fitted = fit_preprocessor.fit_preprocessor(SETTINGS, channel).preprocessor
    return fitted.encode(channel, "train")


def read_problem(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        encode(folder)
    return str(error.value)


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "csv.gz", "tsv.gz", "parquet.gz", "jsonl.gz"])
def test_the_encoding_does_not_depend_on_format_or_number_of_files(suffix: str, parts: int, tmp_path: Path) -> None:
    frame = difficult_rows()
    write_part(frame, tmp_path / "one/part-0.parquet")
    for i, chunk in enumerate(np.array_split(np.arange(60), parts)):
        write_part(frame.iloc[chunk], tmp_path / f"many/day-{i}/part-{i}.{suffix}")
    first, many = encode(tmp_path / "one"), encode(tmp_path / "many")
    for name in ("tokens", "chunk_starts", "row_starts", "categories", "numbers", "numbers_missing", "labels"):
        assert np.array_equal(getattr(first, name), getattr(many, name)), name
    assert first.ids.to_pylist() == many.ids.to_pylist() == frame["id"].tolist()


def test_part_files_are_read_in_numeric_order_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    frame = shop_rows(40)
    for start, number in ((0, 0), (10, 2), (20, 10), (30, 1000)):
        write_part(frame[start : start + 10], tmp_path / f"part-{number}.csv")
    for name in ("_SUCCESS", ".part-0.csv.crc", "_temporary/part-3.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("junk")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_an_empty_part_file_or_one_with_only_a_header_has_no_rows(suffix: str, tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / f"part-0.{suffix}")
    (tmp_path / f"part-1.{suffix}").write_bytes(b"")
    write_part(shop_rows(20)[:0], tmp_path / f"part-2.{suffix}")
    assert len(encode(tmp_path)) == 20


def test_a_channel_without_rows_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv").write_bytes(b"")
    assert "no row" in read_problem(tmp_path)


def truncate(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)]) and None


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("part-1.parquet", truncate(0.7)),
        ("part-1.parquet", truncate(0)),
        ("part-1.csv.gz", truncate(0.7)),
        ("part-1.parquet.gz", truncate(0.7)),
        ("part-1.csv", lambda path: path.write_text(path.read_text().rstrip().rsplit(",", 2)[0])),
        ("part-1.csv", lambda path: path.write_text(path.read_text() + 'x,"a text that never ends')),
        ("part-1.jsonl", lambda path: path.write_text(path.read_text().rstrip()[:-9])),
        ("part-1.jsonl", lambda path: path.write_text(path.read_text() + "[1]\n")),
        ("part-1.csv", lambda path: path.write_bytes(bytes(range(256)) * 9)),
        ("part-1.csv", lambda path: path.write_bytes(path.read_bytes().replace(b"order", b"\xe4rder"))),
        ("part-1.parquet", lambda path: path.write_text("id,message\n1,2\n")),
        ("part-1.csv", lambda path: shutil.copy(path.parent / "good.parquet", path)),
        ("part-1.csv.gz", lambda path: path.write_text("id,message\n1,2\n")),
    ],
)
def test_a_truncated_or_mislabeled_part_file_is_named(
    name: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    write_part(shop_rows(60), tmp_path / "good.parquet")
    write_part(shop_rows(60, 1), tmp_path / name)
    assert len(encode(tmp_path)) == 120
    damage(tmp_path / name)
    assert f"train/{name}" in read_problem(tmp_path)


def test_byte_order_mark_and_windows_line_endings_are_read(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame, tmp_path / "a/part.csv")
    text = (tmp_path / "a/part.csv").read_text().replace("\n", "\r\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/part.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert np.array_equal(encode(tmp_path / "a").tokens, encode(tmp_path / "b").tokens)


def test_a_missing_column_of_one_part_is_named_with_the_nearest_names(tmp_path: Path) -> None:
    for i in range(9):
        frame = shop_rows(20, i)
        write_part(frame.rename(columns={"country": "contry"}) if i == 7 else frame, tmp_path / f"part-{i}.jsonl")
    message = read_problem(tmp_path)
    assert "train/part-7.jsonl: column 'country' does not exist" in message
    assert "'contry'" in message


def test_part_files_may_have_their_columns_in_different_orders(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame[:10], tmp_path / "part-0.csv")
    write_part(frame[10:][frame.columns[::-1]], tmp_path / "part-1.csv")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


def test_a_repeated_column_and_rows_of_another_width_are_problems(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("id,id,message,country,price,visits,target\n1,2,a,b,1,2,0\n")
    assert "'id' occurs more than once" in read_problem(tmp_path)
    (tmp_path / "part.csv").write_text("id,message,country,price,visits,target\n1,a,b,1,2,0\n2,a,b,1\n3,b,c,1,2,1,9\n")
    message = read_problem(tmp_path)
    assert "3" in message
    assert "4" in message
    assert "part.csv" in message


def test_an_unknown_format_is_a_problem_that_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "part-0.xlsx").write_bytes(b"PK")
    (tmp_path / "part-1").write_bytes(b"PK")
    message = read_problem(tmp_path)
    assert "part-0.xlsx" in message
    assert "part-1" in message
    assert ".parquet" in message


def test_a_text_of_thirty_megabytes_is_read(tmp_path: Path) -> None:
    frame = shop_rows(10)
    frame.loc[5, "message"] = "word, " * 5_000_000
    frame.to_csv(tmp_path / "part.csv", index=False)
    channel = open_channel("train", tmp_path, SETTINGS.columns)
    assert max(len(t) for rows in channel for t in rows.columns["message"].to_pylist()) == 30_000_000


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.large_string(), ["a", "b"]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
        (pa.int8(), [1, 2]),
        (pa.uint64(), [2**63, 2]),
        (pa.bool_(), [True, False]),
        (pa.date32(), [1, 2]),
        (pa.decimal128(9, 2), ["1.50", "2.00"]),
    ],
)
def test_plain_parquet_types_are_read_as_categories_and_ids(
    kind: pa.DataType, values: list[object], tmp_path: Path
) -> None:
    given = [Decimal(str(v)) for v in values] if pa.types.is_decimal(kind) else values
    column = pa.array(given * 10, kind)
    base = pa.Table.from_pandas(shop_rows(20), preserve_index=False)
    for name in ("country", "id"):
        table = base.set_column(base.schema.get_field_index(name), name, column)
        pq.write_table(table, tmp_path / "part.parquet")
        result = encode(tmp_path)
        if name == "country":
            assert set(result.categories[:, 0]) == {2, 3}
        else:
            assert result.ids.to_pylist() == column.to_pylist()


@pytest.mark.parametrize("column", ["message", "country", "price", "target"])
@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"a", b"\xff"]])
def test_nested_and_binary_values_are_problems_and_raise_no_other_error(
    column: str, values: list[object], tmp_path: Path
) -> None:
    base = pa.Table.from_pandas(shop_rows(20), preserve_index=False)
    table = base.set_column(base.schema.get_field_index(column), column, pa.array(values * 10))
    pq.write_table(table, tmp_path / "part.parquet")
    assert column in read_problem(tmp_path)


def test_problems_of_files_and_of_values_are_reported_together(tmp_path: Path) -> None:
    for i in range(4):
        frame = shop_rows(20, i)
        write_part(frame.assign(price="cheap") if i == 2 else frame, tmp_path / f"part-{i}.csv")
    for i in (0, 3):
        with (tmp_path / f"part-{i}.csv").open("a") as file:
            file.write("only,three,columns\n")
    message = read_problem(tmp_path)
    assert "train/part-0.csv: 1 row with another number of columns than the header's 6: line 22 (3)" in message
    assert "train/part-3.csv: 1 row with" in message
    assert "train/part-2.csv row 1 'cheap'" in message


def test_an_unclosed_quote_is_named_with_the_line_where_it_starts(tmp_path: Path) -> None:
    frame = shop_rows(20)
    frame.loc[2, "message"] = "two\nlines"
    write_part(frame, tmp_path / "part-0.csv")
    with (tmp_path / "part-0.csv").open("a") as file:
        file.write('x,"a text\nthat never,ends\n')
    assert "train/part-0.csv line 23: a quoted text does not end" in read_problem(tmp_path)


def test_a_header_without_line_ending_and_folders_named_like_part_files_are_no_problem(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write_part(frame, tmp_path / "part-1.csv/part-0.csv")
    (tmp_path / "part-0.csv").write_text(",".join(frame.columns))
    (tmp_path / "part-2.csv").mkdir()
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


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
        expected = encode(tmp_path / suffix)
        monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_LENGTH", 100)
        blocks = list(open_channel("train", tmp_path / suffix, SETTINGS.columns))
        assert max(map(len, blocks)) <= 3
        assert [rows.first_row for rows in blocks[1:]] == np.cumsum([1, *map(len, blocks)])[1:-1].tolist()
        assert np.array_equal(encode(tmp_path / suffix).tokens, expected.tokens)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"price": 1%s}' % ("0" * 5000), "line 21: the line is not valid JSON"),
        ("[" * 100_000, "line 21: the line is not valid JSON"),
        ('{"id": 1, "message": "\ufffd', "line 21: the line is not valid JSON"),
        ("null", "line 21: the line is not a JSON object"),
        ('{"country": ["de"], "target": 1}', "column 'country'"),
        ('{"price": {"amount": 1}, "target": 1}', "column 'price'"),
        ('{"price": Infinity, "target": 1}', "train/part.jsonl row 21 'inf'"),
    ],
)
def test_an_invalid_json_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write(line + "\n")
    assert message in read_problem(tmp_path)


def test_json_values_without_an_arrow_type_are_read_as_text(tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"id": 18446744073709551617, "message": "half \\ud83d a pair", "country": NaN, "target": 1}\n')
    split = encode(tmp_path)
    assert split.ids.to_pylist()[-1] == "18446744073709551617"
    assert split.categories[-1].tolist() == [0]
    assert split.numbers_missing[-1].tolist() == [True, True]


def test_dictionaries_that_differ_between_part_files_are_merged(tmp_path: Path) -> None:
    frame = shop_rows(300)
    for i in range(3):
        table = pa.Table.from_pandas(frame[i * 100 : i * 100 + 100], preserve_index=False)
        small = table["id"].combine_chunks().dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        pq.write_table(table.set_column(0, "id", small), tmp_path / f"part-{i}.parquet")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


# --- the same values from every format


def serialize(records: list[dict[str, Any]], suffix: str) -> bytes:
    """Write records with libraries that this project does not use for writing."""
    kind = suffix.removesuffix(".gz")
    if kind == "parquet":
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), stream, row_group_size=5)
        data = stream.getvalue()
    elif kind == "jsonl":
        data = "".join(json.dumps(record) + "\n" for record in records).encode()
    else:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(records[0]), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(records)
        data = text.getvalue().encode()
    return gzip.compress(data, 1) if suffix.endswith(".gz") else data


def read_values(folder: Path, columns: list[str], numbers: list[str]) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = {}
    for rows in open_channel("train", folder, columns):
        for column in columns:
            result.setdefault(f"text {column}", []).extend(column_as_text(rows, column).to_pylist())
            result.setdefault(f"canonical {column}", []).extend(canonicalize_column(rows, column).to_pylist())
        for column in numbers:
            result.setdefault(f"number {column}", []).extend(map(repr, column_as_numbers(rows, column).tolist()))
    return result


@pytest.mark.parametrize("parts", [1, 5])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "tsv.gz", "jsonl.gz", "parquet.gz"])
def test_values_do_not_depend_on_format_or_number_of_files(
    suffix: str, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        "plain",
        'a "quoted", one',
        "two\nlines\r\nand a\ttab",
        "漢字 😀 ü",
        "",
        None,
        " spaces ",
        "007",
        "3.0",
        "nan",
    ]
    records = [
        {
            "text": texts[i % len(texts)],
            "whole": None if i % 7 == 3 else i * 10**12,
            "real": None if i % 5 == 1 else i / 7 * 10.0 ** (i - 15),
            "flag": None if i % 4 == 2 else i % 3 == 0,
            "empty": None,
        }
        for i in range(31)
    ]
    for i, part in enumerate(np.array_split(np.arange(31), parts)):
        (tmp_path / f"part-{i}.{suffix}").write_bytes(serialize([records[j] for j in part], suffix))
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 7)
    result = read_values(tmp_path, list(records[0]), ["whole", "real", "flag", "empty"])
    for name in records[0]:
        plain = [None if r[name] in (None, "") else str(r[name]) for r in records]
        assert result[f"canonical {name}"] == [t if t is None else t.removesuffix(".0") for t in plain], name
        if name != "real":  # as text, a whole number is "3.0" in CSV, where all is text, and "3" elsewhere
            assert result[f"text {name}"] == plain, name
    for name in ("whole", "real", "flag", "empty"):
        assert result[f"number {name}"] == ["nan" if r[name] is None else repr(float(r[name])) for r in records], name


BERLIN = "Europe/Berlin"
NOON = datetime(2024, 7, 1, 12)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (pa.decimal128(9, 2), Decimal("1.50"), "1.50"),
        (pa.decimal256(50, 2), Decimal("-7.00"), "-7.00"),
        (pa.bool_(), True, "True"),
        (pa.float32(), 0.1, "0.1"),
        (pa.float64(), 3.0, "3"),
        (pa.uint64(), 2**64 - 1, str(2**64 - 1)),
        (pa.date32(), date(2024, 7, 1), "2024-07-01"),
        (pa.date64(), date(2024, 7, 1), "2024-07-01"),
        (pa.timestamp("s"), NOON, str(NOON)),
        (pa.timestamp("ms"), NOON, str(NOON)),
        (pa.timestamp("ns"), NOON, str(NOON)),
        (pa.timestamp("us"), NOON + timedelta(microseconds=600), "2024-07-01 12:00:00.000600"),
        (pa.timestamp("ms"), NOON + timedelta(milliseconds=5), "2024-07-01 12:00:00.005000"),
        (pa.timestamp("ns"), NOON + timedelta(microseconds=600), "2024-07-01 12:00:00.000600"),
        (pa.timestamp("ns"), 1719835200000007001, "2024-07-01 12:00:00.000007001"),
        (pa.timestamp("us", "UTC"), NOON.replace(tzinfo=UTC), "2024-07-01 12:00:00+00:00"),
        (pa.timestamp("ms", BERLIN), NOON.replace(tzinfo=UTC), "2024-07-01 14:00:00+02:00"),
        (pa.time32("ms"), time(1, 2, 3, 5000), "01:02:03.005000"),
        (pa.time64("us"), time(1, 2, 3), "01:02:03"),
        (pa.string(), "a", "a"),
        (pa.large_string(), "a", "a"),
        *([(pa.string_view(), "a", "a")] if hasattr(pa, "string_view") else []),  # since Arrow 16
        (pa.dictionary(pa.int8(), pa.string()), "a", "a"),
        (pa.dictionary(pa.int8(), pa.large_string()), "a", "a"),
        (pa.null(), None, None),
        (pa.binary(), b"a", DataError),
        (pa.large_binary(), b"a", DataError),
        (pa.binary(1), b"a", DataError),
        (pa.list_(pa.string()), ["a"], DataError),
        (pa.struct([("a", pa.int8())]), {"a": 1}, DataError),
        (pa.map_(pa.string(), pa.int8()), [("a", 1)], DataError),
        (pa.duration("s"), timedelta(1), DataError),
    ],
)
def test_every_parquet_type_is_read_as_python_writes_it_or_is_a_problem(
    kind: pa.DataType, value: object, text: Any, tmp_path: Path
) -> None:
    plain = pa.array([value, None, value], kind.value_type if pa.types.is_dictionary(kind) else kind)
    column = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain
    pq.write_table(pa.table({"c": column}), tmp_path / "part.parquet")
    (rows,) = open_channel("train", tmp_path, ["c"])
    if text is DataError:
        with pytest.raises(DataError, match="column 'c': the column holds"):
            column_as_text(rows, "c")
    else:
        assert column_as_text(rows, "c").to_pylist() == [text, None, text]


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="this Arrow has no type for UUIDs")
def test_a_uuid_is_not_read_as_text() -> None:
    with pytest.raises(DataError, match="uuid"):
        column_as_text(Rows({"c": pa.array([b"0" * 16], pa.uuid())}, "x", 1, typed=True), "c")


# --- bounded memory


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


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_real_reviews_have_the_same_values_in_every_format(suffix: str, real_data: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(real_data / "womens_clothing/val")
    write_part(frame, tmp_path / f"part.{suffix}")
    columns = ["id", "age", "title", "review_text", "class_name"]
    result = read_values(tmp_path, columns, ["age"])
    for column in columns:
        assert result[f"text {column}"] == [None if pd.isna(v) or v == "" else str(v) for v in frame[column]], column
    assert result["number age"] == [repr(float(v)) for v in frame["age"]]
