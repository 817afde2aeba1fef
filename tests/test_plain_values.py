"""A value has the same meaning in every role, alone and in a list, as a record, in a data frame and in Arrow."""

from __future__ import annotations

import datetime
import decimal
import enum
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.data.table.categories import CategoryEncoder, canonicalize_column
from fusionzoo.data.table.numbers import NumberEncoder
from fusionzoo.data.targets.class_labels import ClassLabelScan
from fusionzoo.errors import DataError
from predictor_helpers import rows_from_data_frame

MISSING = (
    None,
    float("nan"),
    np.nan,
    np.float16("nan"),
    np.float32("nan"),
    np.float64("nan"),
    np.longdouble("nan"),
    np.array(np.nan),
    pd.NaT,
    pd.NA,
    np.datetime64("NaT"),
    np.datetime64("NaT", "ns"),
    np.timedelta64("NaT"),
    np.ma.masked,
    decimal.Decimal("NaN"),
    decimal.Decimal("sNaN"),
    pa.scalar(None),
    pa.scalar(None, pa.float64()),
    pa.scalar(None, pa.timestamp("ns")),
    pa.scalar(float("nan"), pa.float32()),
    "",
)


class Size(enum.IntEnum):
    SMALL = 3


class Color(str, enum.Enum):
    RED = "red"


UTC, EAST = datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=2))
PRESENT = (
    *(0, 3, -7, 2**53 + 1, 2**63, 2**70, True, False, Size.SMALL, np.int8(3), np.uint64(2**63), np.bool_(True)),
    *(3.0, 0.1, -0.0, 1e16, 1e-7, 1e300, float("inf"), np.float16(0.1), np.float32(0.1), np.float64(0.1)),
    *(np.longdouble(0.5), np.array(2.5), pa.scalar(3), pa.scalar(0.1, pa.float32()), pa.scalar("a"), 1j),
    *(decimal.Decimal("3.50"), decimal.Decimal("1E+2"), decimal.Decimal("1.234"), decimal.Decimal("Infinity")),
    *("a", "3", "3.0", "3.50", "true", "<NA>", "NaT", np.str_("a"), Color.RED, "half \ud800", " ", "2020-01-01"),
    *(datetime.date(2020, 1, 1), datetime.time(12, 30), datetime.time(12, 30, tzinfo=UTC)),
    *(datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, 1, 2, 3, 400)),
    *(datetime.datetime(2020, 1, 1, tzinfo=UTC), datetime.datetime(2020, 1, 1, tzinfo=EAST)),
    *(pd.Timestamp("2020-01-01"), pd.Timestamp("2020-01-01", tz="UTC"), pd.Timestamp("2020-01-01 00:00:00.000000001")),
    *(np.datetime64("2020-01"), np.datetime64("2020-01-01"), np.datetime64("2020-01-01T10"), np.datetime64(1, "ns")),
    *(pa.scalar(1, pa.timestamp("ns")), pa.scalar(1, pa.timestamp("s", "UTC")), np.datetime64(10**17, "s")),
    *(pd.Period("2020-01"), pd.Interval(0, 1), uuid.UUID(int=7)),
)
REJECTED = (
    *(b"a", bytearray(b"a"), memoryview(b"a"), np.bytes_(b"a")),
    *(datetime.timedelta(1), pd.Timedelta(1, "D"), np.timedelta64(1, "D"), pa.scalar(1, pa.duration("s"))),
    *([1], (1,), {1}, {"a": 1}, frozenset(), np.array([1, 2]), pd.Series([1]), pa.scalar([1]), [pd.Timestamp(0)]),
)
TEXTS = ["3", "3.5", "a", "True", "0.1", "100", "red", "2020-01-01", "2020-01-01 10:00:00"]
Role = Callable[[Rows], list[Any]]


def as_category(rows: Rows) -> list[Any]:
    ids = CategoryEncoder("c", tuple(TEXTS)).encode(rows).tolist()
    return list(zip(ids, canonicalize_column(rows, "c").to_pylist(), strict=True))


def as_number(rows: Rows) -> list[Any]:
    values, missing = NumberEncoder("c", 1.0, 2.0, ()).encode(rows)
    return list(zip(values.tolist(), missing.tolist(), strict=True))


def as_text(rows: Rows) -> list[Any]:
    texts: list[Any] = column_as_text(rows, "c").to_pylist()
    return texts


def as_label(rows: Rows) -> list[Any]:
    labels: list[Any] = ClassLabelScan("c").add(rows)[0].to_pylist()
    return labels


ROLES = (as_category, as_number, as_text, as_label)


def from_records(values: Sequence[Any]) -> Rows:
    return rows_from_records([{"c": value} for value in values], ["c"])


def from_objects(values: Sequence[Any]) -> Rows:
    column = np.empty(len(values), object)
    for i, value in enumerate(values):
        column[i] = value
    return rows_from_data_frame(pd.DataFrame({"c": pd.Series(column, dtype=object)}), ["c"])


SOURCES = (from_records, from_objects)


def encode(role: Role, source: Callable[[Sequence[Any]], Rows], values: Sequence[Any]) -> list[Any] | None:
    """Return the encoded values, None if they are an error."""
    try:
        return role(source(values))
    except DataError:
        return None


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("source", SOURCES)
@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(MISSING + PRESENT + REJECTED), min_size=1, max_size=5))
def test_a_value_is_encoded_as_if_it_were_alone(
    role: Role, source: Callable[[Sequence[Any]], Rows], values: list[Any]
) -> None:
    alone = [encode(role, source, [value]) for value in values]
    together = encode(role, source, values)
    if any(value is None for value in alone):
        assert together is None
    else:
        assert together == [value[0] for value in alone if value is not None]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("marker", MISSING, ids=lambda marker: f"{type(marker).__name__}-{marker!r}")
def test_every_missing_marker_is_missing_next_to_every_value(
    marker: Any, source: Callable[[Sequence[Any]], Rows], role: Role
) -> None:
    expected = encode(role, source, [None])
    assert encode(role, source, [marker]) == expected
    for value in PRESENT:
        alone = encode(role, source, [value])
        if alone is not None and expected is not None:
            assert encode(role, source, [marker, value, marker]) == [*expected, *alone, *expected]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("value", REJECTED, ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", ascii(value)))
def test_a_value_without_a_text_is_refused_alone_and_next_to_others(
    value: Any, source: Callable[[Sequence[Any]], Rows]
) -> None:
    for role in ROLES:
        for values in ([value], [value, "3"], [None, value], [3.0, value], [value, b"a"], [[1], value]):
            assert encode(role, source, values) is None


# in pandas before 3, `str` is the type of Python's text, to which None converts as "None"
TEXT = ["str"] if Version(pd.__version__).major >= 3 else []


@pytest.mark.parametrize(
    ("values", "dtypes"),
    [
        ([1, None, 3], ["Int8", "Int64", "float32", "float64", "Sparse[float64]", "category", "int64[pyarrow]"]),
        ([True, None, False], ["boolean", "bool[pyarrow]", "category"]),
        (["3", None, "a"], [*TEXT, "string", "string[pyarrow]", "category", "large_string[pyarrow]"]),
        (
            [datetime.datetime(2020, 1, 1, 2), None],
            ["datetime64[ns]", "datetime64[s]", "category", "timestamp[us][pyarrow]"],
        ),
        ([datetime.date(2020, 1, 1), None], ["category", "date32[pyarrow]"]),
        ([decimal.Decimal("3.50"), None], ["category"]),
        ([pd.Interval(0.5, 1.5), None], ["interval", "category"]),
        ([pd.Period("2020-01"), None], ["period[M]", "category"]),
    ],
)
def test_every_dtype_of_a_data_frame_is_encoded_as_its_records(values: list[Any], dtypes: list[str]) -> None:
    for dtype in dtypes:
        frame = pd.DataFrame({"c": pd.Series(values, dtype=object).astype(dtype)})
        for role in ROLES:
            expected = encode(role, from_records, values)
            assert encode(role, lambda _: rows_from_data_frame(frame, ["c"]), values) == expected, dtype  # noqa: B023
