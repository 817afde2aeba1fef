"""Predictions for pandas data frames: the same as for records, missing values included."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import rows_from_records
from fusionzoo.errors import DataError
from fusionzoo.serving.data_frames import rows_from_data_frame
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder, shop_rows

FEATURES = ["message", "price", "visits", "country"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a small job with text labels."""
    job = JobFolder(tmp_path_factory.mktemp("job")).fill(classes=("no", "yes"), rows=80, max_epochs=1)
    assert job.run() == 0
    return job.model


@pytest.fixture(scope="module")
def predictor(model_folder: Path) -> Predictor:
    return Predictor.load(str(model_folder))


def test_a_data_frame_gets_the_same_probabilities_as_its_records(predictor: Predictor) -> None:
    frame = shop_rows(50, seed=9)
    assert frame[FEATURES].isna().any().sum() >= 3
    predicted = predictor.predict(frame)
    from_records = predictor.predict_records(frame.to_dict("records"))
    np.testing.assert_array_equal(predicted[["prob_no", "prob_yes"]].to_numpy(), from_records)
    assert predicted["prob_no"].dtype == np.float32
    assert predicted["predicted_target"].tolist() == [predictor.classes[k] for k in from_records.argmax(axis=1)]


def test_the_index_is_kept_and_columns_may_have_any_order(predictor: Predictor) -> None:
    frame = shop_rows(7, seed=9)
    shuffled = frame[FEATURES[::-1]].set_index(pd.Index(list("gfedcaa"), name="row"))
    predicted = predictor.predict(shuffled)
    assert list(predicted.columns) == ["prob_no", "prob_yes", "predicted_target"]
    assert predicted.index.equals(shuffled.index)
    assert predicted.index.name == "row"
    np.testing.assert_array_equal(predicted["prob_no"], predictor.predict(frame)["prob_no"])


def test_the_input_is_not_changed_and_an_empty_data_frame_has_no_predictions(predictor: Predictor) -> None:
    frame = shop_rows(5, seed=9)
    before = frame.copy(deep=True)
    predictor.predict(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert predictor.predict(frame.iloc[:0]).shape == (0, 3)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NaT, pd.NA], ids=str)
@pytest.mark.parametrize("column", FEATURES)
def test_every_kind_of_missing_value_gets_the_same_probabilities(
    predictor: Predictor, column: str, missing: object
) -> None:
    frame = shop_rows(6, seed=9)
    frame[column] = frame[column].astype(object)
    frame.loc[2, column] = None
    expected = predictor.predict_records(
        [{**record, column: None} if i == 2 else record for i, record in enumerate(frame.to_dict("records"))]
    )
    values = pd.Series(frame[column].tolist(), dtype=object)
    values.iloc[2] = missing
    frame[column] = values
    np.testing.assert_array_equal(predictor.predict(frame)[["prob_no", "prob_yes"]].to_numpy(), expected)
    np.testing.assert_array_equal(predictor.predict_records(frame.to_dict("records")), expected)


@pytest.mark.parametrize("dtype", ["category", "string", "string[pyarrow]", "Int64", "float32", "boolean", "int8"])
def test_every_dtype_of_pandas_is_read_as_its_values(predictor: Predictor, dtype: str) -> None:
    values: list[Any] = ["de", None, "fr"] if dtype in ("category", "string", "string[pyarrow]") else [1, 0, 1]
    column = "country" if isinstance(values[0], str) else "visits"
    frame = shop_rows(3, seed=9).assign(**{column: pd.Series(values, dtype=object)})
    np.testing.assert_array_equal(
        predictor.predict(frame.astype({column: dtype}))["prob_no"], predictor.predict(frame)["prob_no"]
    )


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


def test_an_extreme_number_is_clipped_with_a_warning(predictor: Predictor, caplog: pytest.LogCaptureFixture) -> None:
    frame = shop_rows(3, seed=9).assign(price=[1e25, 3e38, 1.0])
    predicted = predictor.predict(frame)["prob_no"]
    assert predicted.notna().all()
    assert predicted[0] == predictor.predict(frame.assign(price=3e38))["prob_no"][0]
    assert "rows: 66.67% of the values of number column 'price'" in caplog.text


def test_nested_values_are_an_error(predictor: Predictor) -> None:
    frame = shop_rows(3, seed=9)
    frame["country"] = pd.Series([["de"], "fr", None], dtype=object)
    with pytest.raises(DataError, match="country"):
        predictor.predict(frame)


def test_an_absent_or_duplicate_column_is_an_error_that_names_it(predictor: Predictor) -> None:
    frame = shop_rows(3, seed=9)
    with pytest.raises(DataError, match=r"(?s)data frame.*'country'.*'price'.*'prices'"):
        predictor.predict(frame.rename(columns={"price": "prices"}).drop(columns="country"))
    with pytest.raises(DataError, match="'visits'"):
        predictor.predict(pd.concat([frame, frame[["visits"]]], axis=1))


SCORE_RECORDS = """
import sys

class Uninstalled:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "pandas"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Uninstalled)
from fusionzoo.serving.predictor import Predictor
print(Predictor.load(sys.argv[1]).predict_records([{"price": 1.0}]).shape)
"""


def test_records_are_scored_without_torch_and_without_pandas(model_folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCORE_RECORDS, str(model_folder)], capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 2)", done.stderr
