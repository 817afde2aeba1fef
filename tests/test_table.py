"""The table: numbers and categories have the same meaning in every type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_helpers import fit_frame, make_column, make_rows
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.data.table import numbers
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.errors import DataError
from shop import shop_rows

# --- numbers


def fit_numbers(*blocks: np.ndarray) -> numbers.NumberEncoder:
    statistics = numbers.NumberStatistics("c")
    for block in blocks:
        statistics.add(block)
    return statistics.fit()


def test_missing_numbers_do_not_affect_the_statistics() -> None:
    full = fit_numbers(np.array([1.0, 2.0, 6.0]))
    holes = fit_numbers(np.array([1.0, np.nan, 2.0]), np.array([np.nan, 6.0, np.nan]))
    assert holes == full
    assert full.mean == 3.0
    value, missing = full.encode(make_column([3.0, None, float("nan")]))
    assert value.tolist() == [0.0, 0.0, 0.0]
    assert missing.tolist() == [False, True, True]


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(1, 5))
def test_statistics_do_not_depend_on_blocks_and_edges_ascend(values: list[float], parts: int) -> None:
    expected = np.array(values)
    first, many = fit_numbers(expected), fit_numbers(*np.array_split(expected, parts))
    assert first == many
    assert all(a < b for a, b in zip(first.edges, first.edges[1:], strict=False))
    assert np.isfinite([first.mean, first.std, *first.edges]).all()
    assert first.std > 0


def test_constant_and_empty_number_columns_are_encoded() -> None:
    assert fit_numbers(np.full(9, 7.0)).encode(make_column([7.0, 7.0]))[0].tolist() == [0.0, 0.0]
    empty = fit_numbers(np.full(9, np.nan))
    assert empty.encode(make_column(pa.nulls(2)))[1].tolist() == [True, True]


@pytest.mark.parametrize("bad", ["cheap", "1,000", "1 2", "0x1f", "--1", "inf"])
def test_a_text_in_a_number_column_is_named_with_its_row(bad: str) -> None:
    with pytest.raises(DataError) as error:
        numbers.column_as_numbers(make_column(["1", " 3.5 ", bad, "+2e3", " ", ""], typed=False), "c")
    assert "train/part-0 row 3" in str(error.value)
    assert bad in str(error.value)
    assert "1 value" in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 3], pa.int16()),
        pa.array([1.0, None, 3.0], pa.float32()),
        pa.array(["1", "", "3.0"]),
        pa.array(["1", " ", "3"]).dictionary_encode().dictionary_decode(),
    ],
)
def test_numbers_are_the_same_for_every_type(values: pa.Array) -> None:
    assert np.array_equal(numbers.column_as_numbers(make_column(values), "c"), [1.0, np.nan, 3.0], equal_nan=True)


# --- categories


def test_missing_unknown_and_frequent_categories_have_different_ids() -> None:
    frame = shop_rows(40)
    frame["country"] = ["de"] * 20 + ["fr"] * 10 + ["it"] + [None] * 4 + [""] * 5
    preprocessor = fit_frame(frame, min_category_count=2)
    assert preprocessor.categories[0].values == ("de", "fr")
    ids = preprocessor.categories[0].encode(make_rows(pd.DataFrame({"country": ["de", "fr", "it", "xx", None, ""]})))
    assert ids.tolist() == [2, 3, 1, 1, 0, 0]


@pytest.mark.parametrize(("min_count", "values"), [(1, ("c", "b", "a")), (2, ("c", "b")), (3, ("c",)), (4, ())])
def test_a_category_with_exactly_the_minimum_count_has_an_id(min_count: int, values: tuple[str, ...]) -> None:
    frame = shop_rows(6).assign(country=["a", "b", "b", "c", "c", "c"])
    encoder = fit_frame(frame, min_category_count=min_count).categories[0]
    assert encoder.values == values


def test_a_category_has_the_same_id_as_a_number_and_as_text() -> None:
    frame = shop_rows(40)
    frame["country"] = [1, 2] * 20
    encoder = fit_frame(frame).categories[0]
    result = [
        encoder.encode(Rows({"country": pa.array(v)}, "x", 1, True)).tolist() for v in ([1], [1.0], ["1"], ["1.0"])
    ]
    assert result == [result[0]] * 4
    assert result[0][0] >= 2


# --- the same value in every type


def test_large_whole_numbers_are_the_same_category_in_every_type() -> None:
    large = 12_345_678_901
    made = [pa.array([large]), pa.array([float(large)]), pa.array([str(large)]), pa.array([f"{large}.0"])]
    assert {canonicalize_column(make_column(values), "c")[0].as_py() for values in made} == {str(large)}
    assert canonicalize_column(make_column([0.1, float("nan"), None, -0.0]), "c").to_pylist() == [
        "0.1",
        None,
        None,
        "0",
    ]


def test_booleans_are_numbers_in_every_format() -> None:
    for values in (pa.array([True, False]), pa.array(["True", "false"]), pa.array([1, 0])):
        assert numbers.column_as_numbers(make_column(values), "c").tolist() == [1.0, 0.0]


def test_decimals_equal_their_texts_as_numbers() -> None:
    texts = pa.array([f"{i * 7919 % 100_000 / 100:.2f}" for i in range(2000)])
    decimals = texts.cast(pa.decimal128(9, 2))
    assert np.array_equal(
        numbers.column_as_numbers(make_column(texts), "c"), numbers.column_as_numbers(make_column(decimals), "c")
    )


VALUES = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_record_is_read_the_same_alone_and_among_others(values: list[Any]) -> None:
    together = canonicalize_column(rows_from_records([{"c": value} for value in values], ["c"]), "c").to_pylist()
    assert together == [
        canonicalize_column(rows_from_records([{"c": value}], ["c"]), "c")[0].as_py() for value in values
    ]


# --- numbers at the limits


def test_statistics_do_not_depend_on_the_order_of_rows() -> None:
    values = np.random.default_rng(0).normal(1e6, 1, 5001)
    assert fit_numbers(values) == fit_numbers(values[::-1])


@pytest.mark.parametrize(
    "values", [[1e-200, 2e-200], [5e-324, 1e-323], [3e38, -3e38], [1e15, 1e15 + 0.125], [0.1] * 10, [-7.0]]
)
def test_extreme_numbers_are_standardized_to_finite_values(values: list[float]) -> None:
    encoder = fit_numbers(np.array(values))
    assert encoder.std > 0
    assert np.isfinite([encoder.mean, encoder.std, *encoder.edges]).all()
    assert np.isfinite(encoder.encode(make_column([*values, 3e38, -3e38, 0.0]))[0]).all()


@pytest.mark.parametrize("value", [1e39, -1e300, float("inf")])
def test_a_number_beyond_the_range_of_float32_is_named(value: float) -> None:
    with pytest.raises(DataError, match="train/part-0 row 2"):
        numbers.column_as_numbers(make_column([1.0, value]), "c")


def test_a_column_with_small_deviations_is_not_constant() -> None:
    assert fit_numbers(np.array([1e-14, 3e-14])).encode(make_column([1e-14, 3e-14]))[0].tolist() == [-1.0, 1.0]
