"""A value has one canonical text in every type, file format, record and data frame."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.data.reading.canonical_text import canonical_text
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.number_text import format_number
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.targets.class_labels import ClassLabelScan, canonical_label

SAME = {
    "3": [3, 3.0, np.float32(3), decimal.Decimal("3.00"), "3", "3.0", "3.00", "3."],
    "3.5": [3.5, np.float32(3.5), decimal.Decimal("3.50"), "3.5", "3.50"],
    "0.1": [0.1, np.float32(0.1), decimal.Decimal("0.1"), "0.10", ".1"],
    "-0.5": [-0.5, "-.5", "-0.50"],
    "0": [0, 0.0, -0.0, "-0", "-0.0", "0.00"],
    "1e-05": [1e-5, "0.00001", "1.0E-5", "1e-05", decimal.Decimal("0.00001")],
    "10000000000000000": [10**16, 1e16, "1e+16", "10000000000000000.0", decimal.Decimal("1E+16")],
    "100000000000000000000": [10**20, 1e20, "1e+20"],
    "1e+21": [1e21, "1.0e21", "1e+21"],
    "True": [True, np.True_, "TRUE", "true", "True"],
    "2024-02-29": [
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29),
        pd.Timestamp("2024-02-29"),
        np.datetime64("2024-02-29"),
        "2024-02-29",
        "2024-02-29 00:00:00",
        "2024-02-29T00:00:00.000",
    ],
    "2024-02-29 12:30:00.5": [
        datetime.datetime(2024, 2, 29, 12, 30, 0, 500_000),
        np.datetime64("2024-02-29T12:30:00.500", "ns"),
        "2024-02-29T12:30:00.5",
        "2024-02-29 12:30:00.500000",
    ],
    "2024-02-29 11:30:00+00:00": [
        datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        pd.Timestamp("2024-02-29 12:30", tz="Europe/Berlin"),
        "2024-02-29T11:30:00Z",
        "2024-02-29 12:30:00+0100",
        "2024-02-29T12:30+01",
        "2024-02-29 11:30:00 UTC",
        "2024-02-29 17:15:00.000+05:45",
    ],
    "12:30": [datetime.time(12, 30), "12:30", "12:30:00", "12:30:00.000"],
    "12:30:05": [datetime.time(12, 30, 5), "12:30:05", "12:30:05.000000"],
    "00:00:00.5": [datetime.time(0, 0, 0, 500_000), "00:00:00.5", "00:00:00.500", "00:00:00.500000000"],
}
DIFFERENT = ["007", "007.0", "7", "1e5", "100000", "12e4", "1.2.3", "-", ".", "1,5", " 3", "a", "A", "True "]
DIFFERENT += [
    "2024-02-30 00:00:00",
    "2024-2-29",
    "24:00",
    "12:60",
    "9:30",
    "12:30:60",
    "12:30:00Z",
    "1e400",
    "1.0e400",
    "0x1f",
    "NaN",
    "-e+5",
    "",
    "३.०",
]


@pytest.mark.parametrize(("canonical", "value"), [(text, value) for text in SAME for value in SAME[text]])
def test_a_value_has_the_same_canonical_text_in_every_type(canonical: str, value: Any) -> None:
    rows = rows_from_records([{"c": value}], ["c"])
    assert canonicalize_column(rows, "c").to_pylist() == [canonical]
    assert ClassLabelScan("c").add(rows)[0].to_pylist() == [canonical]


@pytest.mark.parametrize("text", [*SAME, *DIFFERENT])
def test_other_texts_and_canonical_texts_are_unchanged(text: str) -> None:
    assert canonical_text(text) == text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("number", "text"), [(2.0, "2"), (0.5, "0.5"), (65504.0, "65504")])
def test_a_float_of_16_bits_is_written_without_a_warning(number: float, text: str) -> None:
    assert format_number(np.float16(number)) == text


@given(st.one_of(st.text(), st.floats().map(str), st.decimals().map(str), st.datetimes().map(str)))
def test_the_canonical_text_is_its_own_canonical_text(text: str) -> None:
    assert canonical_text(canonical_text(text)) == canonical_text(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_distinct_floats_have_distinct_canonical_texts(value: float) -> None:
    assert float(canonical_label(value)) == value
    assert canonical_text(str(value)) == canonical_text(repr(value)) == canonical_label(value)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([3.5, 2.0, None]),
        pa.array([3.5, 0.25, None], pa.float32()),
        pa.array([decimal.Decimal("3.50"), decimal.Decimal("2.00"), None], pa.decimal128(9, 2)),
        pa.array([3, 2**53 + 1, None]),
        pa.array([True, False, None]),
        pa.array([datetime.date(2024, 2, 29), datetime.date(1969, 1, 1), None]),
        *(
            pa.array([datetime.datetime(2024, 2, 29), None, datetime.datetime(2024, 2, 29, 1, 2, 3)], pa.timestamp(*t))
            for t in (("s",), ("ms",), ("us",), ("ns",), ("us", "UTC"), ("ns", "Europe/Berlin"))
        ),
        pa.array([datetime.datetime(2024, 2, 29), None], pa.timestamp("ns")),
        pa.array(["a", "3.50", "TRUE", None]),
    ],
    ids=lambda values: f"{values.type}-{values[1]}",
)
def test_a_column_is_the_same_in_every_file_format(values: pa.Array, tmp_path: Path) -> None:
    series = pa.table({"c": values}).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)["c"]
    if pa.types.is_decimal(values.type) or pa.types.is_date(values.type):
        series = series.astype(object)
    (tmp_path / "c").mkdir()
    pq.write_table(pa.table({"c": values, "one": [1] * len(values)}), tmp_path / "c/1.parquet")
    pd.DataFrame({"c": series, "one": 1}).to_csv(tmp_path / "c/2.csv", index=False)
    isoformat = [value.isoformat() if hasattr(value, "isoformat") else value for value in values.to_pylist()]
    plain = [float(value) if isinstance(value, decimal.Decimal) else value for value in isoformat]
    (tmp_path / "c/3.jsonl").write_text("".join(json.dumps({"c": value}) + "\n" for value in plain))
    found = [canonicalize_column(rows, "c").to_pylist() for rows in open_channel("c", tmp_path / "c", ["c"])]
    records = rows_from_records([{"c": value} for value in values.to_pylist()], ["c"])
    assert found[0] == found[1] == found[2] == canonicalize_column(records, "c").to_pylist()
