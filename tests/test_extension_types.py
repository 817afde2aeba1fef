"""Arrow extension types: read as what they mean, or refused by name, and never read as their storage."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import SETTINGS, encode_folder, read_problem
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.extension_types import METADATA_KEY, NAME_KEY, ForeignType
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.data.reading.value_kinds import describe_type
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.serving.arrow_tables import TableRows
from fusionzoo.serving.row_source import ModelColumns
from predictor_helpers import rows_from_data_frame
from preprocess_helpers import read_all, run, write_table
from shop import shop_rows

STORED = {  # by the name of the type: its metadata, its values as stored, and their text
    "arrow.bool8": (b"", pa.array([1, None, 0], pa.int8()), ["True", None, "False"]),
    "arrow.json": (b"", pa.array(['{"a":1}', None, "2"]), ['{"a":1}', None, "2"]),
    "arrow.uuid": (b"", pa.array([bytes(range(16)), None, b"\0" * 16], pa.binary(16)), ["", None, ""]),
    "pandas.period": (b'{"freq": "M"}', pa.array([648, None, 650]), ["2024-01", None, "2024-03"]),
}
STORED["arrow.uuid"][2][::2] = [str(uuid.UUID(bytes=bytes(range(16)))), str(uuid.UUID(int=0))]
OPAQUE = "acme.point"  # a type that Arrow does not have
MAKERS: dict[str, Callable[[], pa.DataType]] = {
    "arrow.bool8": lambda: pa.bool8(),
    "arrow.json": lambda: pa.json_(pa.string()),
    "arrow.uuid": lambda: pa.uuid(),
    "pandas.period": lambda: (
        pa.Table.from_pandas(pd.DataFrame({"c": pd.period_range("2024", periods=1, freq="M")})).schema.field("c").type
    ),
}


def make_table(name: str, *, is_known: bool) -> pa.Table:
    """Return a table of one column, whose type is one that Arrow knows, or one that only its metadata names."""
    metadata, stored, _ = STORED[name]
    if is_known:
        try:
            return pa.table({"c": pa.ExtensionArray.from_storage(MAKERS[name](), stored)})
        except AttributeError:
            pytest.skip(f"this Arrow does not have {name}")
    return foreign_table(stored, name, metadata)


def foreign_table(stored: pa.Array, name: str, metadata: bytes = b"") -> pa.Table:
    field = pa.field("c", stored.type, metadata={NAME_KEY: name.encode(), METADATA_KEY: metadata})
    return pa.table([stored], schema=pa.schema([field]))


def read_file(table: pa.Table, folder: Path) -> Rows:
    pq.write_table(table, folder / "part.parquet")
    (rows,) = open_channel("train", folder, ["c"])
    return rows


def read_table(table: pa.Table, _: Path) -> Rows:
    (rows,) = TableRows(table).read(ModelColumns(["c"], None, ()), strict=False)
    return rows


def read_batch(table: pa.Table, _: Path) -> Rows:
    (rows,) = TableRows(table.to_batches()[0]).read(ModelColumns(["c"], None, ()), strict=False)
    return rows


READERS = pytest.mark.parametrize("read", [read_file, read_table, read_batch])


@READERS
@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("name", STORED)
def test_a_known_type_is_read_as_what_it_means(
    name: str, is_known: bool, read: Callable[[pa.Table, Path], Rows], tmp_path: Path
) -> None:
    rows = read(make_table(name, is_known=is_known), tmp_path)
    assert canonicalize_column(rows, "c").to_pylist() == STORED[name][2]


@pytest.mark.parametrize("freq", ["D", "W", "M", "Q", "min"])
def test_periods_are_the_same_in_files_and_data_frames(freq: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"c": [*pd.period_range("2024-01-31", periods=3, freq=freq), pd.NaT]})
    frame = frame.astype({"c": pd.PeriodDtype(freq)})
    from_file = canonicalize_column(read_file(pa.Table.from_pandas(frame), tmp_path), "c")
    assert from_file.to_pylist() == canonicalize_column(rows_from_data_frame(frame, ["c"]), "c").to_pylist()
    assert from_file.null_count == 1


def test_a_dictionary_and_a_list_of_such_values_are_read_alike() -> None:
    period = MAKERS["pandas.period"]()
    values = pa.ExtensionArray.from_storage(period, pa.array([648, 649]))
    encoded = pa.DictionaryArray.from_arrays(pa.array([1, 0, 1]), values)
    assert to_plain_layout(encoded).to_pylist() == ["2024-02", "2024-01", "2024-02"]


@READERS
@pytest.mark.parametrize("name", [OPAQUE, "pandas.interval", "acme.text"])
def test_an_unknown_type_is_an_error_that_names_it(
    name: str, read: Callable[[pa.Table, Path], Rows], tmp_path: Path
) -> None:
    stored = pa.array(["a", "b"]) if name == "acme.text" else pa.array([{"left": 0, "right": 1}] * 2)
    metadata = b'{"subtype": "int64", "closed": "right"}'
    rows = read(foreign_table(stored, name, metadata), tmp_path)
    assert isinstance(rows.columns["c"].type, ForeignType)
    assert describe_type(rows.columns["c"].type) == f"values of the Arrow type {name}"


def shop_table(column: str, values: pa.Array, name: str, metadata: bytes = b"") -> pa.Table:
    base = pa.Table.from_pandas(shop_rows(len(values)), preserve_index=False)
    field = pa.field(column, values.type, metadata={NAME_KEY: name.encode(), METADATA_KEY: metadata})
    if column in base.schema.names:
        return base.set_column(base.schema.get_field_index(column), field, values)
    return base.append_column(field, values)


@pytest.mark.parametrize("column", ["id", "message", "country", "price", "target"])
@pytest.mark.parametrize(("name", "metadata"), [(OPAQUE, b""), ("pandas.period", b'{"freq": "other"}')])
def test_a_role_refuses_an_unknown_type(column: str, name: str, metadata: bytes, tmp_path: Path) -> None:
    pq.write_table(shop_table(column, pa.array([1, 2] * 20), name, metadata), tmp_path / "part.parquet")
    problem = read_problem(tmp_path)
    assert f"column '{column}': the column holds values of the Arrow type {name}" in problem
    assert "FZ-D107" in problem if column == "price" else "FZ-D103" in problem


def test_periods_in_a_number_column_are_an_error_that_shows_them(tmp_path: Path) -> None:
    table = shop_table("price", pa.array([648, 649] * 20), "pandas.period", b'{"freq": "M"}')
    pq.write_table(table, tmp_path / "part.parquet")
    assert "row 1 '2024-01'" in read_problem(tmp_path)
    assert "cat_field_list" in read_problem(tmp_path)


@pytest.mark.parametrize("name", ["arrow.bool8", "arrow.uuid", OPAQUE])
def test_label_columns_hold_booleans_and_refuse_others(name: str, tmp_path: Path) -> None:
    stored = pa.array([0, 1] * 20, pa.int8())
    if name == "arrow.uuid":
        stored = STORED["arrow.uuid"][1].take(pa.array([0, 2] * 20))
    settings = SETTINGS.model_copy(update={"task": "multilabel", "num_classes": None, "label_name": ["x", "target"]})
    (tmp_path / "data/train").mkdir(parents=True)
    pq.write_table(shop_table("x", stored, name), tmp_path / "data/train/part.parquet")
    if name == "arrow.bool8":
        encoded = encode_folder(tmp_path / "data", settings)
        assert encoded.splits["train"].labels[:, 0].tolist() == [0, 1] * 20
        return
    with pytest.raises(Exception, match=r"column 'x'.*FZ-D") as error:
        encode_folder(tmp_path / "data", settings)
    assert type(error.value).__name__ == "DataError"


EXTRA: list[tuple[str, bytes, Any]] = [
    (OPAQUE, b"", 1),
    ("arrow.json", b"", "{}"),
    ("pandas.period", b'{"freq": "M"}', 648),
    ("arrow.opaque", b'{"type_name": "t", "vendor_name": "v"}', 1),
]


@pytest.mark.parametrize(("name", "metadata", "value"), EXTRA)
def test_a_column_that_a_job_does_not_need_never_fails(name: str, metadata: bytes, value: Any, tmp_path: Path) -> None:
    table = shop_table("extra", pa.array([value] * 40), name, metadata)
    (tmp_path / "data/train").mkdir(parents=True)
    pq.write_table(table, tmp_path / "data/train/part.parquet")
    assert len(encode_folder(tmp_path / "data").splits["train"]) == 40
    write_table(tmp_path, table)
    assert run(tmp_path) == 0
    assert len(read_all(tmp_path)) == 40


def test_an_unknown_type_keeps_its_name_in_preprocessed_channels(tmp_path: Path) -> None:
    write_table(tmp_path, shop_table("extra", pa.array([1] * 40), OPAQUE, b"crs"))
    assert run(tmp_path) == 0
    (path, *_) = (tmp_path / "processing/train").glob("*.parquet")
    assert pq.read_schema(path).field("extra").metadata == {NAME_KEY: OPAQUE.encode(), METADATA_KEY: b"crs"}
