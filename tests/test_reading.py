"""Reading a channel: formats, part files, and files that are not what they should be."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionzoo.data import preprocessor
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.reading import open_channel
from fusionzoo.data.settings import DataSettings
from fusionzoo.errors import DataError
from shop import shop_rows

SETTINGS = DataSettings(
    id_name="id",
    label_name="target",
    text_name="message",
    cat_field_list=["country"],
    tab_field_list=["price", "visits"],
    num_classes=2,
    tokenizer="word",
    embedding_dim=4,
)


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    match plain.suffix:
        case ".parquet":
            frame.to_parquet(plain, index=False)
        case ".jsonl":
            frame.to_json(plain, orient="records", lines=True, force_ascii=False)
        case suffix:
            frame.to_csv(plain, index=False, sep="\t" if suffix == ".tsv" else ",")
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


def hard_rows() -> pd.DataFrame:
    frame = shop_rows(60)
    frame.loc[3, "message"] = 'quotes "here", commas,\nnew lines\r\nand\ttabs, ünïcode 漢字 😀'
    frame.loc[4, "country"] = 'a "b", c'
    frame["price"] = frame["price"].astype(np.float64).round(6)
    return frame


def encode(folder: Path) -> EncodedSplit:
    channel = open_channel("train", folder, SETTINGS.columns)
    fitted, _ = preprocessor.fit(SETTINGS, channel)
    return fitted.encode(channel, "train")


def fault(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        encode(folder)
    return str(error.value)


@pytest.mark.parametrize("parts", [1, 7])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl", "csv.gz", "tsv.gz", "parquet.gz", "jsonl.gz"])
def test_the_same_rows_in_any_format_and_number_of_files_give_bit_equal_encodings(
    suffix: str, parts: int, tmp_path: Path
) -> None:
    frame = hard_rows()
    write(frame, tmp_path / "one/part-0.parquet")
    for i, chunk in enumerate(np.array_split(np.arange(60), parts)):
        write(frame.iloc[chunk], tmp_path / f"many/day-{i}/part-{i}.{suffix}")
    one, many = encode(tmp_path / "one"), encode(tmp_path / "many")
    for name in ("tokens", "chunk_starts", "row_starts", "categories", "numbers", "numbers_missing", "labels"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name
    assert one.ids.to_pylist() == many.ids.to_pylist() == frame["id"].tolist()


def test_every_part_file_is_read_in_the_order_of_its_number_and_what_is_no_data_is_not(tmp_path: Path) -> None:
    frame = shop_rows(40)
    for start, number in ((0, 0), (10, 2), (20, 10), (30, 1000)):
        write(frame[start : start + 10], tmp_path / f"part-{number}.csv")
    for name in ("_SUCCESS", ".part-0.csv.crc", "_temporary/part-3.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("junk")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_part_of_zero_bytes_or_a_header_alone_has_no_rows(suffix: str, tmp_path: Path) -> None:
    write(shop_rows(20), tmp_path / f"part-0.{suffix}")
    (tmp_path / f"part-1.{suffix}").write_bytes(b"")
    write(shop_rows(20)[:0], tmp_path / f"part-2.{suffix}")
    assert len(encode(tmp_path)) == 20


def test_a_channel_whose_parts_hold_no_row_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "part-0.csv").write_bytes(b"")
    assert "no row" in fault(tmp_path)


def truncate(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)]) and None


@pytest.mark.parametrize(
    ("name", "spoil"),
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
def test_a_part_that_is_cut_or_not_what_its_name_says_is_named(
    name: str, spoil: Callable[[Path], object], tmp_path: Path
) -> None:
    write(shop_rows(60), tmp_path / "good.parquet")
    write(shop_rows(60, 1), tmp_path / name)
    assert len(encode(tmp_path)) == 120
    spoil(tmp_path / name)
    assert f"train/{name}" in fault(tmp_path)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write(frame, tmp_path / "a/part.csv")
    text = (tmp_path / "a/part.csv").read_text().replace("\n", "\r\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/part.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert np.array_equal(encode(tmp_path / "a").tokens, encode(tmp_path / "b").tokens)


def test_a_missing_column_of_one_part_is_named_with_the_nearest_names(tmp_path: Path) -> None:
    for i in range(9):
        frame = shop_rows(20, i)
        write(frame.rename(columns={"country": "contry"}) if i == 7 else frame, tmp_path / f"part-{i}.jsonl")
    message = fault(tmp_path)
    assert "train/part-7.jsonl: there is no column 'country'" in message
    assert "'contry'" in message


def test_columns_may_stand_in_another_order_in_another_part(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write(frame[:10], tmp_path / "part-0.csv")
    write(frame[10:][frame.columns[::-1]], tmp_path / "part-1.csv")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


def test_a_doubled_column_and_rows_of_other_width_are_faults(tmp_path: Path) -> None:
    (tmp_path / "part.csv").write_text("id,id,message,country,price,visits,target\n1,2,a,b,1,2,0\n")
    assert "'id' stands there more than once" in fault(tmp_path)
    (tmp_path / "part.csv").write_text("id,message,country,price,visits,target\n1,a,b,1,2,0\n2,a,b,1\n3,b,c,1,2,1,9\n")
    message = fault(tmp_path)
    assert "3" in message
    assert "4" in message
    assert "part.csv" in message


def test_an_unknown_type_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "part-0.xlsx").write_bytes(b"PK")
    (tmp_path / "part-1").write_bytes(b"PK")
    message = fault(tmp_path)
    assert "part-0.xlsx" in message
    assert "part-1" in message
    assert ".parquet" in message


def test_a_text_of_thirty_megabytes_passes(tmp_path: Path) -> None:
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
def test_plain_parquet_types_are_taken_as_categories_and_ids(
    kind: pa.DataType, values: list[object], tmp_path: Path
) -> None:
    from decimal import Decimal

    given = [Decimal(str(v)) for v in values] if pa.types.is_decimal(kind) else values
    column = pa.array(given * 10, kind)
    base = pa.Table.from_pandas(shop_rows(20), preserve_index=False)
    for name in ("country", "id"):
        table = base.set_column(base.schema.get_field_index(name), name, column)
        pq.write_table(table, tmp_path / "part.parquet")
        found = encode(tmp_path)
        if name == "country":
            assert set(found.categories[:, 0]) == {2, 3}
        else:
            assert found.ids.to_pylist() == column.to_pylist()


@pytest.mark.parametrize("column", ["message", "country", "price", "target"])
@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"a", b"\xff"]])
def test_nested_and_binary_values_are_refused_and_never_raise_anything_else(
    column: str, values: list[object], tmp_path: Path
) -> None:
    base = pa.Table.from_pandas(shop_rows(20), preserve_index=False)
    table = base.set_column(base.schema.get_field_index(column), column, pa.array(values * 10))
    pq.write_table(table, tmp_path / "part.parquet")
    assert column in fault(tmp_path)


def test_faults_of_several_parts_and_of_values_are_reported_together(tmp_path: Path) -> None:
    for i in range(4):
        frame = shop_rows(20, i)
        write(frame.assign(price="cheap") if i == 2 else frame, tmp_path / f"part-{i}.csv")
    for i in (0, 3):
        with (tmp_path / f"part-{i}.csv").open("a") as file:
            file.write("only,three,columns\n")
    message = fault(tmp_path)
    assert "train/part-0.csv: 1 row with another number of columns than the header's 6: line 22 (3)" in message
    assert "train/part-3.csv: 1 row with" in message
    assert "train/part-2.csv row 1 'cheap'" in message


def test_a_quote_that_is_not_closed_is_named_by_the_line_where_it_begins(tmp_path: Path) -> None:
    frame = shop_rows(20)
    frame.loc[2, "message"] = "two\nlines"
    write(frame, tmp_path / "part-0.csv")
    with (tmp_path / "part-0.csv").open("a") as file:
        file.write('x,"a text\nthat never,ends\n')
    assert "train/part-0.csv line 23: a text in quotes there does not end" in fault(tmp_path)


def test_a_header_without_a_line_end_and_folders_named_like_parts_are_no_faults(tmp_path: Path) -> None:
    frame = shop_rows(20)
    write(frame, tmp_path / "part-1.csv/part-0.csv")
    (tmp_path / "part-0.csv").write_text(",".join(frame.columns))
    (tmp_path / "part-2.csv").mkdir()
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()


def test_a_fault_names_the_row_by_its_number_in_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.BLOCK_ROWS", 8)
    for i, suffix in enumerate(("csv", "parquet", "jsonl")):
        frame = shop_rows(40, i)
        frame["price"] = [*map(str, range(29)), "cheap", *map(str, range(10))]
        write(frame, tmp_path / f"part-{i}.{suffix}")
    message = fault(tmp_path)
    assert all(f"train/part-{i}.{suffix} row 30" in message for i, suffix in enumerate(("csv", "parquet", "jsonl")))


def test_blocks_end_where_rows_are_long_and_no_row_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = shop_rows(40)
    for suffix in ("csv", "jsonl"):
        write(frame, tmp_path / suffix / f"part.{suffix}")
        whole = encode(tmp_path / suffix)
        monkeypatch.setattr("fusionzoo.data.reading.BLOCK_LENGTH", 100)
        blocks = list(open_channel("train", tmp_path / suffix, SETTINGS.columns))
        assert max(map(len, blocks)) <= 3
        assert [rows.first_row for rows in blocks[1:]] == np.cumsum([1, *map(len, blocks)])[1:-1].tolist()
        assert np.array_equal(encode(tmp_path / suffix).tokens, whole.tokens)
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ('{"price": 1%s}' % ("0" * 5000), "line 21: it is not JSON"),
        ("[" * 100_000, "line 21: it is not JSON"),
        ('{"id": 1, "message": "\ufffd', "line 21: it is not JSON"),
        ("null", "line 21: it is not a JSON object"),
        ('{"country": ["de"], "target": 1}', "column 'country'"),
        ('{"price": {"amount": 1}, "target": 1}', "column 'price'"),
        ('{"price": Infinity, "target": 1}', "train/part.jsonl row 21 'inf'"),
    ],
)
def test_a_json_line_that_cannot_be_used_is_named(spoilt: str, says: str, tmp_path: Path) -> None:
    write(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write(spoilt + "\n")
    assert says in fault(tmp_path)


def test_json_values_that_arrow_has_no_type_for_are_read_as_text(tmp_path: Path) -> None:
    write(shop_rows(20), tmp_path / "part.jsonl")
    with (tmp_path / "part.jsonl").open("a") as file:
        file.write('{"id": 18446744073709551617, "message": "half \\ud83d a pair", "country": NaN, "target": 1}\n')
    split = encode(tmp_path)
    assert split.ids.to_pylist()[-1] == "18446744073709551617"
    assert split.categories[-1].tolist() == [0]
    assert split.numbers_missing[-1].tolist() == [True, True]


def test_dictionaries_that_differ_between_parts_are_joined(tmp_path: Path) -> None:
    frame = shop_rows(300)
    for i in range(3):
        table = pa.Table.from_pandas(frame[i * 100 : i * 100 + 100], preserve_index=False)
        small = table["id"].combine_chunks().dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        pq.write_table(table.set_column(0, "id", small), tmp_path / f"part-{i}.parquet")
    assert encode(tmp_path).ids.to_pylist() == frame["id"].tolist()
