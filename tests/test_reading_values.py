"""Values of a channel: the same from every format and every Parquet type."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import encode_train, read_problem, serialize, write_part
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.table.numbers import column_as_numbers
from fusionzoo.errors import DataError
from shop import shop_rows


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
        result = encode_train(tmp_path)
        if name == "country":
            assert set(result.categories[:, 0]) == {2, 3}
        else:
            assert result.ids.to_pylist() == column.to_pylist()


@pytest.mark.parametrize("year", [1, 1600, 2024, 2263, 9999])
def test_int96_timestamps_of_spark_are_the_same_dates_as_others(year: int, tmp_path: Path) -> None:
    column = pa.array([datetime(year, 12, 31), None, datetime(year, 1, 2, 3, 4, 5, 678901)], pa.timestamp("us"))
    texts, ids = [], []
    for is_int96 in (True, False):
        path = tmp_path / str(is_int96) / "part.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table({"day": column}), path, use_deprecated_int96_timestamps=is_int96)
        (rows,) = open_channel("train", path.parent, ["day"])
        texts.append(canonicalize_column(rows, "day").to_pylist())
        ids.append(rows.columns["day"].to_pylist())
    assert texts == [[f"{year:04}-12-31", None, f"{year:04}-01-02 03:04:05.678901"]] * 2
    assert ids == [column.to_pylist()] * 2


@pytest.mark.parametrize("column", ["message", "country", "price", "target"])
@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"a", b"\xff"]])
def test_nested_and_binary_values_are_problems_and_raise_no_other_error(
    column: str, values: list[object], tmp_path: Path
) -> None:
    base = pa.Table.from_pandas(shop_rows(20), preserve_index=False)
    table = base.set_column(base.schema.get_field_index(column), column, pa.array(values * 10))
    pq.write_table(table, tmp_path / "part.parquet")
    assert column in read_problem(tmp_path)


def test_json_values_without_an_arrow_type_are_read_as_text(tmp_path: Path) -> None:
    write_part(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"id": 18446744073709551617, "message": "half \\ud83d a pair", "country": NaN, "target": 1}\n')
    split = encode_train(tmp_path)
    assert split.ids.to_pylist()[-1] == "18446744073709551617"
    assert split.categories[-1].tolist() == [0]
    assert split.numbers_missing[-1].tolist() == [True, True]


def test_dictionaries_that_differ_between_part_files_are_merged(tmp_path: Path) -> None:
    frame = shop_rows(300)
    for i in range(3):
        table = pa.Table.from_pandas(frame[i * 100 : i * 100 + 100], preserve_index=False)
        small = table["id"].combine_chunks().dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        pq.write_table(table.set_column(0, "id", small), tmp_path / f"part-{i}.parquet")
    assert encode_train(tmp_path).ids.to_pylist() == frame["id"].tolist()


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
        (pa.timestamp("us", "UTC"), NOON.replace(tzinfo=timezone.utc), "2024-07-01 12:00:00+00:00"),
        (pa.timestamp("ms", BERLIN), NOON.replace(tzinfo=timezone.utc), "2024-07-01 14:00:00+02:00"),
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
def test_a_uuid_is_read_as_its_text() -> None:
    rows = Rows({"c": pa.array([b"0" * 16], pa.uuid())}, "x", 1, typed=True)
    assert column_as_text(rows, "c").to_pylist() == ["30303030-3030-3030-3030-303030303030"]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_real_reviews_have_the_same_values_in_every_format(suffix: str, real_data: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(real_data / "womens_clothing/val")
    write_part(frame, tmp_path / f"part.{suffix}")
    columns = ["id", "age", "title", "review_text", "class_name"]
    result = read_values(tmp_path, columns, ["age"])
    for column in columns:
        assert result[f"text {column}"] == [None if pd.isna(v) or v == "" else str(v) for v in frame[column]], column
    assert result["number age"] == [repr(float(v)) for v in frame["age"]]
