"""The arguments of Predictor: each is supported, or an error with a fix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusionzoo.data.reading.channel import open_channel
from fusionzoo.errors import DataError, ModelFolderError, PathError, PredictorInputError
from fusionzoo.serving.predictor import Predictor
from fusionzoo.serving.records import RecordRows
from fusionzoo.serving.row_source import ModelColumns
from shop import JobFolder, shop_rows

RECORD = {"message": "late broken awful", "price": 1.0, "visits": 2.0, "country": "fr"}


@pytest.fixture(scope="module")
def job(trained_job: JobFolder) -> JobFolder:
    return trained_job


@pytest.fixture(scope="module")
def predictor(job: JobFolder) -> Predictor:
    return Predictor.load(job.model)


@pytest.mark.parametrize(
    "convert",
    [
        tuple,
        iter,
        lambda records: (record for record in records),
        lambda records: dict(enumerate(records)).values(),
        lambda records: np.array(records, dtype=object),
        lambda records: [pd.Series(record) for record in records],
        pd.Series,
    ],
)
def test_any_iterable_of_records_is_scored_as_their_list(predictor: Predictor, convert: Callable[[Any], Any]) -> None:
    records = [RECORD, {**RECORD, "price": 3.0}, {**RECORD, "message": "fine"}]
    expected = predictor.predict_records(records)
    np.testing.assert_allclose(predictor.predict_records(convert(records)), expected, atol=1e-6)


def test_no_records_have_no_predictions(predictor: Predictor) -> None:
    for rows in ([], (), iter(())):
        assert predictor.predict(rows) == predictor.predict_proba(rows) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (RECORD, r"one record.*\[record\]"),
        ({"price": [1.0, 2.0]}, r"one record.*pandas\.DataFrame"),
        (pd.Series(RECORD), "one record"),
        ("order 7", "'order 7' does not exist"),
        ("late " * 2000, "does not exist"),
        ("a\0b", "does not exist"),
        (b"order 7", "type bytes"),
        (7, "type int"),
        (None, "type NoneType"),
        ([RECORD, "order 7"], r"records\[1\] is a value of type str"),
        ([[1.0, 2.0]], "type list"),
        ([None], "type NoneType"),
    ],
)
def test_rows_of_another_kind_are_an_error(predictor: Predictor, rows: Any, message: str) -> None:
    for predict in (predictor.predict, predictor.predict_proba):
        with pytest.raises(PredictorInputError, match=f"(?s){message}"):
            predict(rows)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, r"no column that the model reads; its keys are: none.*message, country, price, visits"),
        ({"id": 7, "target": 1}, "its keys are: id, target"),
        ({"mesage": "late", "contry": "fr", "prize": 1}, "did you mean message, country, price"),
        ({7: "late"}, "its keys are: 7"),
        ({"Message": "late", "price": 1}, "the key 'Message', but the model's column is 'message'"),
        ({"message ": "late", "price": 1}, "the key 'message '"),
        ({**{key: RECORD[key] for key in ("message", "price", "country")}, "Visits_": 3}, "rename the key"),
    ],
)
def test_a_record_with_other_keys_than_the_columns_is_an_error(
    predictor: Predictor, record: dict[Any, Any], message: str
) -> None:
    with pytest.raises(PredictorInputError, match=rf"(?s)records\[1\].*{message}"):
        predictor.predict([RECORD, record])


def test_a_key_that_some_records_lack_is_a_missing_value(predictor: Predictor) -> None:
    missing = predictor.predict_records([RECORD, {**RECORD, "price": None}])
    without = {key: value for key, value in RECORD.items() if key != "price"}
    np.testing.assert_array_equal(predictor.predict_records([RECORD, {**without, "id": 7, "prices": 3}]), missing)


def test_a_key_that_every_record_lacks_is_an_error_with_the_nearest_key(predictor: Predictor) -> None:
    without = {key: value for key, value in RECORD.items() if key not in ("price", "country")}
    with pytest.raises(DataError, match=r"(?s)'country' of the model does not exist.*'price'.*did you mean 'prices'"):
        predictor.predict([without, {**without, "prices": 3}])


@pytest.mark.parametrize("value", [0, -1, 2.0, "8", None, True])
def test_a_batch_size_that_is_not_an_integer_above_0_is_an_error(predictor: Predictor, value: Any) -> None:
    for predict in (predictor.predict, predictor.predict_proba, predictor.predict_blocks):
        for rows in ([RECORD], shop_rows(3), []):
            with pytest.raises(PredictorInputError, match="batch_size"):
                predict(rows, value)
    assert len(predictor.predict([RECORD], np.int64(1))) == 1


@pytest.mark.parametrize("value", [0, -1, 2.0, "8", True])
def test_a_number_of_threads_that_is_not_an_integer_above_0_is_an_error(job: JobFolder, value: Any) -> None:
    with pytest.raises(PredictorInputError, match="threads"):
        Predictor.load(job.model, threads=value)


def test_blocks_without_a_column_of_the_model_are_an_error(job: JobFolder, predictor: Predictor) -> None:
    channel = open_channel("val", job.root / "input/data/val", ["message", "price"])
    with pytest.raises(DataError, match="'country'"):
        list(predictor.predict_blocks(channel))


def test_a_folder_without_a_model_is_an_error_that_names_the_right_folder(job: JobFolder, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"")
    for folder, message in (
        (tmp_path / "absent", "does not exist"),
        (tmp_path, r"has no manifest\.json"),
        (tmp_path / "model.tar.gz", "it is a file; unpack it"),
        (job.root, r"give .*model, which is a model folder"),
    ):
        for path in (folder, str(folder)):
            with pytest.raises(ModelFolderError, match=f"(?s){message}"):
                Predictor.load(path)


def test_a_model_in_the_only_folder_of_a_folder_is_named_whatever_that_is_called(
    job: JobFolder, tmp_path: Path
) -> None:
    shutil.copytree(job.model, tmp_path / "20240131")
    with pytest.raises(ModelFolderError, match=r"(?s)has no manifest\.json.*give .*20240131, which is a model folder"):
        Predictor.load(tmp_path)
    shutil.copytree(job.model, tmp_path / "other")
    with pytest.raises(ModelFolderError, match=r"(?s)has no manifest\.json.*give a model folder that"):
        Predictor.load(tmp_path)


@pytest.mark.parametrize("url", ["s3://bucket/model", "https://example.com/model.tar.gz", "S3://b"])
def test_a_url_is_not_taken_for_a_folder_or_file_that_does_not_exist(predictor: Predictor, url: str) -> None:
    with pytest.raises(PathError, match=f"(?s)is the URL {url}.*Download"):
        Predictor.load(url)
    with pytest.raises(PathError, match=f"(?s)rows is the URL {url}.*Download"):
        predictor.predict(url)


def test_a_column_that_the_model_reads_is_not_taken_for_an_absent_one() -> None:
    columns = ModelColumns(("msg", "amount", "country", "county"), ("counts",), "account")
    for present in (["msg", "country", "county", "counts", "account"], ["msg", "amount", "country", "counts"]):
        with pytest.raises(DataError) as error:
            columns.check("request", present, strict=False)
        assert "did you mean" not in str(error.value)
        assert "rename" not in str(error.value).lower()
    with pytest.raises(DataError, match="did you mean 'amounts'"):
        columns.check("request", ["msg", "country", "county", "counts", "account", "amounts"], strict=False)


def test_a_label_or_id_of_records_is_not_taken_for_an_absent_column() -> None:
    columns = ModelColumns(("price",), ("Price",), "prices")
    for record in ({"Price": 1}, {"prices": 7}):
        with pytest.raises(PredictorInputError, match="no column that the model reads; its keys are") as error:
            list(RecordRows([record]).read(columns, strict=False))
        assert "did you mean" not in str(error.value)
