"""Predictions for pandas data frames: the same as for records, missing values included."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.errors import DataError
from fusionzoo.serving.predictor import Predictor
from predictor_helpers import FEATURES, make_predictor, rows_from_data_frame
from shop import shop_rows


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor(classes=("no", "yes"))[0]


def test_a_data_frame_gets_the_same_probabilities_and_decisions_as_its_records(predictor: Predictor) -> None:
    frame = shop_rows(50, seed=9)
    assert frame[FEATURES].isna().any().sum() >= 3
    scores = predictor.predict_proba(frame)
    from_records = predictor.predict_records(frame.to_dict("records"))
    np.testing.assert_array_equal(scores[["no", "yes"]].to_numpy(), from_records)
    assert scores["no"].dtype == np.float32
    decisions = predictor.predict(frame)
    assert list(decisions.columns) == ["predicted_target"]
    assert decisions["predicted_target"].tolist() == [predictor.classes[k] for k in from_records.argmax(axis=1)]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(list("gfedcaa"), name="row"),
        pd.MultiIndex.from_product([[1, 2], list("abcd")], names=["a", None])[:7],
        pd.date_range("2024-01-01", periods=7, tz="Europe/Berlin"),
        pd.CategoricalIndex(list("abababa")),
        pd.RangeIndex(70, 0, -10),
    ],
    ids=lambda index: type(index).__name__,
)
def test_the_index_is_kept_and_columns_may_have_any_order(predictor: Predictor, index: pd.Index) -> None:
    frame = shop_rows(7, seed=9)
    shuffled = frame[FEATURES[::-1]].set_index(index)
    for result in (predictor.predict(shuffled), predictor.predict_proba(shuffled)):
        pd.testing.assert_index_equal(result.index, index)
    np.testing.assert_array_equal(predictor.predict_proba(shuffled)["no"], predictor.predict_proba(frame)["no"])


def test_the_input_is_not_changed(predictor: Predictor) -> None:
    frame = shop_rows(5, seed=9)
    before = frame.copy(deep=True)
    predictor.predict(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_an_empty_data_frame_has_a_result_with_all_columns_and_no_rows(predictor: Predictor) -> None:
    frame = shop_rows(5, seed=9)
    for empty in (frame.iloc[:0], pd.DataFrame([])):
        decisions, scores = predictor.predict(empty), predictor.predict_proba(empty)
        assert list(decisions.columns) == ["predicted_target"]
        assert list(scores.columns) == ["no", "yes"]
        assert len(decisions) == len(scores) == 0
        assert scores.dtypes.tolist() == [np.float32] * 2


def test_classes_that_are_numbers_name_the_columns_as_numbers() -> None:
    frame = shop_rows(5, seed=9)
    scores = make_predictor()[0].predict_proba(frame)
    assert scores.columns.tolist() == [0, 1]
    assert scores.columns.dtype == np.int64
    assert scores[1].notna().all()


def test_column_names_that_are_not_text_are_read_as_their_text() -> None:
    frame = shop_rows(80).rename(columns={"price": "7"})
    predictor, _ = make_predictor(frame=frame, tab_field_list=["7", "visits"])
    np.testing.assert_array_equal(
        predictor.predict_proba(frame.rename(columns={"7": 7})), predictor.predict_proba(frame)
    )
    with pytest.raises(DataError, match="'7' occurs more than once"):
        predictor.predict(frame.assign(x=1).rename(columns={"x": 7}))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NaT, pd.NA], ids=str)
@pytest.mark.parametrize("column", FEATURES)
def test_every_kind_of_missing_value_gets_the_same_probabilities(
    predictor: Predictor, column: str, missing: object
) -> None:
    frame = shop_rows(6, seed=9)
    frame[column] = frame[column].astype(object)
    frame.loc[2, column] = None
    records = [{**record, column: None} if i == 2 else record for i, record in enumerate(frame.to_dict("records"))]
    expected = predictor.predict_records(records)
    values = pd.Series(frame[column].tolist(), dtype=object)
    values.iloc[2] = missing
    frame[column] = values
    np.testing.assert_array_equal(predictor.predict_proba(frame).to_numpy(), expected)
    np.testing.assert_array_equal(predictor.predict_records(frame.to_dict("records")), expected)


@pytest.mark.parametrize(
    "dtype",
    "category string string[pyarrow] object Int64 float32 boolean int8 bool int64[pyarrow] double[pyarrow] "
    "decimal128 Sparse[float] float16 complex".split(),
)
def test_every_dtype_of_pandas_is_read_as_its_values(predictor: Predictor, dtype: str) -> None:
    values: list[Any] = ["de", None, "fr"] if dtype in ("category", "string", "string[pyarrow]") else [1, 0, 1]
    column = "country" if isinstance(values[0], str) or dtype == "complex" else "visits"
    frame = shop_rows(3, seed=9).assign(**{column: pd.Series(values, dtype=object)})
    if dtype == "decimal128":
        converted = frame.astype({column: pd.ArrowDtype(pa.decimal128(5, 2))})
    else:
        converted = frame.astype({column: dtype})
    if dtype == "complex":
        frame[column] = ["(1+0j)", "0j", "(1+0j)"]
    np.testing.assert_array_equal(predictor.predict_proba(converted), predictor.predict_proba(frame))


@pytest.mark.parametrize(
    "values",
    [
        [1, 2.5, None],
        [1, "a", True],
        [True, None],
        [2**70, 1],
        ["half \ud800", None],
        [float("nan"), "a", 3.0],
        [decimal.Decimal("1.10"), None],
        [datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12)],
        [datetime.datetime(2024, 2, 29, 12), None],
        [pd.Timestamp("2024-02-29 12:00"), pd.NaT],
        [datetime.time(12, 30), None],
        [np.int64(3), 1.5],
        [None, pd.NA],
    ],
    ids=str,
)
def test_a_column_of_objects_has_the_same_texts_as_in_records(values: list[Any]) -> None:
    frame = pd.DataFrame({"value": pd.Series(values, dtype=object)})
    from_frame = column_as_text(rows_from_data_frame(frame, ["value"]), "value")
    from_records = column_as_text(rows_from_records([{"value": value} for value in values], ["value"]), "value")
    assert from_frame.to_pylist() == from_records.to_pylist()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("country", ["de"], "arrays.*row 2"),
        ("message", {"a": 1}, "objects.*row 2"),
        ("message", b"late", "bytes.*row 2"),
        ("message", ["[bom]late[eom]", "odd"], "arrays.*row 2"),
        ("price", "cheap", "row 2 'cheap'"),
        ("price", float("inf"), "row 2 inf|row 2 'inf'"),
        ("price", datetime.datetime(2024, 2, 29), "dates with times"),
        ("visits", datetime.timedelta(1), "durations"),
        ("visits", object(), "row 2"),
    ],
)
def test_a_value_that_cannot_be_encoded_is_an_error_with_its_row_and_column(
    predictor: Predictor, column: str, value: object, message: str
) -> None:
    frame = shop_rows(3, seed=9)
    frame[column] = pd.Series([None, value, None], dtype=object)
    for rows, place in ((frame, "row 2"), (frame.to_dict("records"), r"records\[1\]")):
        with pytest.raises(DataError, match=f"(?s)'{column}'.*{message.replace('row 2', place)}"):
            predictor.predict(rows)


def test_an_absent_or_duplicate_column_is_an_error_that_names_it(predictor: Predictor) -> None:
    frame = shop_rows(3, seed=9)
    with pytest.raises(DataError, match=r"(?s)data frame.*'country'.*'price'.*did you mean 'prices'"):
        predictor.predict(frame.rename(columns={"price": "prices"}).drop(columns="country"))
    for other in ("Price", " price ", "PRI_CE"):
        with pytest.raises(DataError, match=f"Fix: rename '{other}' to 'price'"):
            predictor.predict(frame.rename(columns={"price": other}))
    with pytest.raises(DataError, match="'visits' occurs more than once"):
        predictor.predict(pd.concat([frame, frame[["visits"]]], axis=1))
    assert len(predictor.predict(pd.concat([frame, frame[["id", "target"]]], axis=1))) == 3


def test_a_large_data_frame_is_converted_in_windows(monkeypatch: pytest.MonkeyPatch, predictor: Predictor) -> None:
    frame = shop_rows(50, seed=9)
    expected = predictor.predict_proba(frame)
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 7)
    pd.testing.assert_frame_equal(predictor.predict_proba(frame), expected)
    with pytest.raises(DataError, match=r"data frame row 50 'x'"):
        predictor.predict(frame.assign(price=[None] * 49 + ["x"]))
