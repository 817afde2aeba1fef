"""Number columns: statistics that do not depend on blocks, fences, and the supported types."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from fusionzoo.data.bottom_k import MAX_BATCHES, BottomK
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table import numbers
from fusionzoo.data.table.numbers import (
    MAX_STANDARDIZED,
    NumberEncoder,
    NumberStatistics,
    column_as_numbers,
    find_clipped,
)
from fusionzoo.errors import DataError

NAN = float("nan")
PARQUET_HAS_FLOAT16 = Version(pa.__version__) >= Version("15")


def fit(*blocks: Sequence[float] | np.ndarray, clip: float | None = None) -> NumberEncoder:
    statistics = NumberStatistics("price")
    for block in blocks:
        statistics.add(np.asarray(block, float))
    return statistics.fit(clip)


def encoded(encoder: NumberEncoder, *values: float | None) -> list[float]:
    return encoder.encode(Rows({"price": pa.array(values, pa.float64())}, "train/part-0", 1, True))[0].tolist()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shrink pieces and samples, so that a few values are more than one of them."""
    monkeypatch.setattr(numbers, "PIECE_SIZE", 16)
    monkeypatch.setattr(numbers, "SAMPLE_SIZE", 24)


# --- blocks


@pytest.mark.parametrize("clip", [None, 1.5])
@pytest.mark.usefixtures("small")
@given(st.lists(st.floats(-1e6, 1e6) | st.just(NAN), min_size=1, max_size=150), st.data())
@settings(deadline=None)
def test_statistics_are_bit_identical_for_every_division_into_blocks(
    clip: float | None, values: list[float], data: Any
) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(values)), max_size=6))
    assert fit(*np.split(np.array(values), sorted(cuts)), clip=clip) == fit(values, clip=clip)


def test_statistics_of_many_rows_are_bit_identical_for_every_division_into_blocks() -> None:
    values = np.random.default_rng(0).lognormal(3, 2, 2 * numbers.PIECE_SIZE + 77_777)
    values[::10] = NAN
    expected = fit(values)
    assert fit(*np.array_split(values, 50)) == expected
    assert fit(values[:5], values[5:]) == expected


def test_statistics_of_one_piece_are_those_of_numpy() -> None:
    values = np.random.default_rng(1).normal(5, 2, 1000)
    ordered = np.sort(values)
    encoder = fit(values)
    assert (encoder.mean, encoder.std) == (ordered.mean(), ordered.std())
    scaled = np.quantile((ordered - ordered.mean()) / ordered.std(), np.linspace(0, 1, numbers.BINS + 1))
    assert encoder.edges == tuple(scaled.astype(np.float32).tolist())


@pytest.mark.parametrize(("center", "spread"), [(1e6, 1.0), (-1e9, 100.0), (0.0, 1e30), (3.0, 1e-6)])
def test_mean_and_standard_deviation_of_many_pieces_are_accurate(center: float, spread: float) -> None:
    values = np.sort(np.random.default_rng(2).normal(center, spread, 3 * numbers.PIECE_SIZE + 1000))
    encoder = fit(values)
    mean = math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values.tolist()) / len(values))
    assert encoder.mean == pytest.approx(mean, rel=1e-15, abs=1e-14 * spread)
    assert encoder.std == pytest.approx(std, rel=1e-9)


@pytest.mark.parametrize(
    "values", [[1e-200, 2e-200], [5e-324, 1e-323], [3e38, -3e38], [1e15, 1e15 + 0.125], [0.1], [-7.0], [0.0, -0.0]]
)
@pytest.mark.usefixtures("small")
def test_extreme_numbers_stay_finite_through_many_pieces(values: list[float]) -> None:
    encoder = fit(values * 50, sorted(values * 50))
    assert encoder.std > 0
    assert np.isfinite([encoder.mean, encoder.std, *encoder.edges]).all()
    assert encoder.mean == pytest.approx(
        math.fsum(value / len(values) for value in values), abs=5e-324 + 1e-15 * max(values)
    )
    assert np.isfinite(encoded(encoder, *values, 3e38, -3e38)).all()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("value", [0.1, 7.0, 14.62, 1.7e18 + 123456789, -1.7e18 - 123456789, 1e30, 3e38])
def test_a_constant_column_is_zero_with_standard_deviation_one(value: float) -> None:
    for rows in (*range(1, 60), 120, 1000):
        encoder = fit([value] * rows)
        assert [encoder.std, *encoded(encoder, value, None)] == [1.0, 0.0, 0.0]


def test_quantiles_of_many_values_have_the_documented_accuracy() -> None:
    rows = 5 * numbers.SAMPLE_SIZE
    order = np.arange(rows) * 1_000_003 % rows  # each rank once, in an order that is no sample's
    encoder = fit(order)
    edges = np.array(encoder.edges, float) * encoder.std + encoder.mean
    expected = np.linspace(0, 1, numbers.BINS + 1) * (rows - 1)
    assert np.abs(edges - expected).max() / rows < 4 * 0.0039


def test_the_fit_is_available_between_blocks() -> None:
    statistics = NumberStatistics("price")
    statistics.add(np.array([1.0, 2.0]))
    assert statistics.fit() == statistics.fit() == fit([1.0, 2.0])
    statistics.add(np.array([6.0]))
    assert statistics.fit() == fit([1.0, 2.0, 6.0])


def test_a_column_without_values_causes_one_warning() -> None:
    statistics = NumberStatistics("price")
    statistics.add(np.array([NAN] * 9))
    assert encoded(statistics.fit(3.0), 5.0, None) == [5.0, 0.0]
    assert statistics.warnings == [
        "Number column 'price' has no value in train: the model can only use that it is missing."
    ]


# --- outliers


def test_outliers_are_clipped_to_the_fences_before_the_fit() -> None:
    plain = [float(value) for value in range(101)]  # quartiles 25 and 75
    encoder = fit([*plain, 1e9], clip=1.5)
    low, high = np.quantile([*plain, 1e9], [0.25, 0.75])
    assert encoder.fences == (low - 1.5 * (high - low), high + 1.5 * (high - low))
    as_clipped = fit([*plain, encoder.fences[1]])
    assert (encoder.mean, encoder.std, encoder.edges) == (as_clipped.mean, as_clipped.std, as_clipped.edges)
    values = encoded(encoder, 1e9, encoder.fences[1], -1e9, encoder.fences[0], 50.0)
    assert values[0] == values[1] == pytest.approx((encoder.fences[1] - encoder.mean) / encoder.std)
    assert values[2] == values[3] < values[4] < values[0]


def test_a_clipped_value_is_present_and_a_missing_one_stays_missing() -> None:
    encoder = fit(range(100), clip=1.0)
    rows = Rows({"price": pa.array([1e30, None, NAN, -1e30])}, "train/part-0", 1, True)
    value, missing = encoder.encode(rows)
    assert missing.tolist() == [False, True, True, False]
    assert value[1] == value[2] == 0
    assert fit([*range(100), NAN, NAN], clip=1.0) == encoder


def test_fences_of_a_sample_are_near_those_of_all_values() -> None:
    values = np.random.default_rng(3).standard_t(2, 3 * numbers.SAMPLE_SIZE)
    encoder = fit(values, clip=3.0)
    low, high = np.quantile(values, [0.25, 0.75])
    clipped = np.clip(values, low - 3 * (high - low), high + 3 * (high - low))
    assert encoder.fences == pytest.approx((low - 3 * (high - low), high + 3 * (high - low)), rel=0.02)
    assert encoder.mean == pytest.approx(clipped.mean(), abs=0.01 * clipped.std())
    assert encoder.std == pytest.approx(clipped.std(), rel=0.02)


def test_a_column_with_equal_quartiles_is_not_clipped_and_causes_a_warning() -> None:
    values = [3.0] * 80 + [1000.0] * 20
    statistics = NumberStatistics("price")
    statistics.add(np.array(values))
    assert statistics.fit(3.0) == fit(values)
    assert statistics.warnings == ["Number column 'price' is not clipped: both quartiles in train are 3."]


@pytest.mark.parametrize("values", [[3e38, -3e38] * 9, [5e-324, 1e-323, 0.0] * 9, [1e15, 1e15 + 0.125] * 9])
@pytest.mark.parametrize("clip", [1e-6, 1e6])
def test_fences_of_extreme_numbers_stay_finite(values: list[float], clip: float) -> None:
    encoder = fit(values, clip=clip)
    assert encoder.fences is not None
    assert np.isfinite([encoder.mean, encoder.std, *encoder.edges, *encoder.fences]).all()
    assert np.isfinite(encoded(encoder, *values, 3e38, -3e38)).all()


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from([None, 3.0]))
def test_standardized_values_are_bounded(value: float, clip: float | None) -> None:
    encoder = fit([*range(100), NAN], clip=clip)
    (standardized,) = encoded(encoder, value)
    assert abs(standardized) <= MAX_STANDARDIZED
    exact = (value - encoder.mean) / encoder.std
    if abs(exact) < MAX_STANDARDIZED and clip is None:
        assert standardized == pytest.approx(exact, rel=1e-6, abs=1e-6)
    assert find_clipped(np.array([standardized])).tolist() == [clip is None and abs(exact) >= MAX_STANDARDIZED]


@pytest.mark.parametrize("text", ["1e25", "-3e38", "100000000000000000000"])
def test_a_text_far_outside_train_is_clipped_like_a_number(text: str) -> None:
    encoder = fit(range(100))
    rows = [Rows({"price": pa.array([value])}, "rows", 1, True) for value in (text, float(text))]
    first, second = (encoder.encode(row)[0].tolist() for row in rows)
    assert first == second == [np.copysign(MAX_STANDARDIZED, float(text))]


@pytest.mark.parametrize(("extreme", "warns"), [(1e25, True), (-3e38, True), (1e6, True), (1e3, False)])
def test_extreme_values_in_train_cause_a_warning_unless_they_are_clipped(extreme: float, warns: bool) -> None:
    for clip in (None, 3.0):
        statistics = NumberStatistics("age")
        statistics.add(np.array([*range(100), extreme]))
        statistics.fit(clip)
        assert len(statistics.warnings) == (warns and clip is None)
    if warns:
        statistics = NumberStatistics("age")
        statistics.add(np.array([*range(100), extreme]))
        statistics.fit()
        assert (
            f"'age' has extreme values in train ({min(0, extreme):g} to {max(99, extreme):g})"
            in (statistics.warnings[0])
        )


@pytest.mark.parametrize("values", [np.random.default_rng(0).lognormal(0, 2, 2000), [0.0] * 99 + [1e9], range(2)])
def test_skewed_and_sparse_columns_cause_no_warning(values: Sequence[float]) -> None:
    statistics = NumberStatistics("price")
    statistics.add(np.asarray(values, float))
    statistics.fit()
    assert not statistics.warnings


def test_an_encoder_is_restored_from_json() -> None:
    for clip in (None, 2.0):
        encoder = fit(range(30), clip=clip)
        assert NumberEncoder.of(**json.loads(json.dumps(asdict(encoder)))) == encoder


# --- types


@pytest.mark.parametrize(
    "values",
    [
        *(pa.array([1, None, 0], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *(pa.array([1, None, 0], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        *([pa.array([np.float16(1), None, np.float16(0)], pa.float16())] if PARQUET_HAS_FLOAT16 else []),
        *(pa.array([1.0, None, 0.0], kind) for kind in (pa.float32(), pa.float64())),
        *(pa.array([Decimal("1.00"), None, Decimal(0)], kind) for kind in (pa.decimal128(5, 2), pa.decimal256(60, 2))),
        *(pa.array(["1", None, "0.0"], kind) for kind in (pa.string(), pa.large_string())),
        pa.array([True, None, False]),
        pa.array([1, None, 0]).dictionary_encode(),
        pa.array(["1", None, "0"], pa.large_string()).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_a_number_column_may_have_any_numeric_type(tmp_path: Path, values: pa.Array) -> None:
    assert read(tmp_path, values).tolist() == pytest.approx([1.0, NAN, 0.0], nan_ok=True)


def test_a_column_of_nulls_is_missing_everywhere(tmp_path: Path) -> None:
    assert np.isnan(read(tmp_path, pa.nulls(3))).all()


@pytest.mark.parametrize(
    ("value", "kind", "fix"),
    [
        (datetime.date(2024, 1, 1), pa.date32(), "move it to cat_field_list"),
        (datetime.datetime(2024, 1, 1), pa.timestamp("us"), "move it to cat_field_list"),
        (datetime.time(1), pa.time64("us"), "move it to cat_field_list"),
        (datetime.timedelta(1), pa.duration("us"), "as numbers, for example of seconds"),
        (b"1", pa.binary(), "decode the bytes"),
        ([1], pa.list_(pa.int64()), "give each element a column"),
        ({"a": 1}, pa.struct({"a": pa.int64()}), "give each key of the object a column"),
    ],
)
def test_a_column_of_another_type_is_an_error_with_a_fix(
    tmp_path: Path, value: object, kind: pa.DataType, fix: str
) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path, pa.array([value, None], kind))
    (fault,) = error.value.problems
    assert fault.where == "train/part-0.parquet, column 'price'"
    assert "not numbers" in fault.message
    assert fix in fault.fix


@pytest.mark.parametrize("bad", ["1_000", "１２", "٣", "0x1f", "1e400", "1.2.3"])
def test_other_notations_of_numbers_are_an_error(tmp_path: Path, bad: str) -> None:
    with pytest.raises(DataError, match="row 2"):
        read(tmp_path, pa.array(["1", bad]))


def read(folder: Path, values: pa.Array) -> np.ndarray:
    (folder / "train").mkdir()
    pq.write_table(pa.table({"price": values}), folder / "train" / "part-0.parquet")
    (rows,) = open_channel("train", folder / "train", ["price"])
    return column_as_numbers(rows, "price")


# --- the sample


def draw_sample(size: int, *blocks: Sequence[int]) -> list[int]:
    sample = BottomK(size)
    for block in blocks:
        values = np.array(block, np.int64)
        sample.add(len(values), lambda taken, values=values: pa.RecordBatch.from_pydict({"row": values[taken]}))  # type: ignore[misc]
    rows: list[int] = sample.rows()["row"].to_pylist()
    return rows


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(any), st.integers(1, 50))
def test_a_sample_has_each_row_once_and_does_not_depend_on_blocks(lengths: list[int], size: int) -> None:
    ends = np.cumsum(lengths).tolist()
    blocks = [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    result = draw_sample(size, *blocks)
    assert result == draw_sample(size, range(ends[-1]))
    assert len(result) == len(set(result)) == min(size, ends[-1])
    assert set(result) <= set(range(ends[-1]))


def test_a_sample_is_uniform_over_the_stream() -> None:
    tenths = np.bincount(np.array(draw_sample(5000, *np.array_split(np.arange(100_000), 300))) // 10_000)
    assert np.abs(tenths - 500).max() < 4 * math.sqrt(500 * 0.9)


def test_a_sample_of_a_stream_of_single_rows_holds_few_batches() -> None:
    sample = BottomK(10 * MAX_BATCHES)
    for row in range(3 * MAX_BATCHES):
        sample.add(1, lambda taken, row=row: pa.RecordBatch.from_pydict({"row": np.array([row])}))  # type: ignore[misc]
    assert len(sample._batches) <= MAX_BATCHES
    assert sorted(sample.rows()["row"].to_pylist()) == list(range(3 * MAX_BATCHES))


def test_memory_does_not_grow_with_the_rows() -> None:
    statistics = NumberStatistics("price")
    for seed in range(12):
        statistics.add(np.random.default_rng(seed).normal(size=numbers.SAMPLE_SIZE))
        assert statistics._sample._held <= 1.25 * numbers.SAMPLE_SIZE
