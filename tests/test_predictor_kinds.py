"""The kinds of rows that a predictor takes: each is returned in its own kind, with the same score for the same row."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_helpers import write_part
from fusionzoo.errors import DataError, PredictorInputError
from fusionzoo.serving.predictor import Predictor
from predictor_helpers import FEATURES, make_predictor
from shop import JobFolder, shop_rows


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("job")).fill(classes=("no", "yes"), rows=80, max_epochs=1, onnx="required")
    assert job.run() == 0
    return job


@pytest.fixture(scope="module")
def trained(job: JobFolder) -> Predictor:
    return Predictor.load(str(job.model), threads=1)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return make_predictor(classes=("no", "yes"))[0]


def to_table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def test_a_row_has_one_score_alone_in_any_batch_order_and_kind(trained: Predictor, tmp_path: Path) -> None:
    frame = shop_rows(60, seed=9)
    frame["message"] = [text if text is None else text * (1 + i % 7) for i, text in enumerate(frame["message"])]
    expected = trained.predict_proba(frame)["yes"].to_numpy()
    assert len(np.unique(expected)) > 50
    assert expected.dtype == np.float32
    shuffled = frame.sample(60, random_state=1)
    for batch_size in (1, 7, 1000):
        scores = trained.predict_proba(shuffled, batch_size)["yes"]
        np.testing.assert_allclose(scores.sort_index(), expected, atol=1e-6)
    table = to_table(frame)
    (batch,) = table.to_batches()
    write_part(frame.drop(columns="target"), tmp_path / "rows.parquet")
    for rows in (table, batch):
        np.testing.assert_allclose(trained.predict_proba(rows)["yes"].to_numpy(), expected, atol=1e-6)
    for rows in (frame, table, tmp_path / "rows.parquet", table.to_pylist()):
        scores = trained.predict_records(rows)
        assert (scores.shape, scores.dtype) == ((60, 2), np.float32)
        np.testing.assert_allclose(scores[:, 1], expected, atol=1e-6)
    alone = [trained.predict_records([record])[0, 1] for record in table.to_pylist()]
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    alone = [float(trained.predict_proba(frame.iloc[[i]])["yes"].iloc[0]) for i in range(60)]
    np.testing.assert_allclose(alone, expected, atol=1e-6)
    for suffix in ("parquet", "jsonl", "csv", "tsv", "csv.gz"):
        write_part(frame.drop(columns="target"), tmp_path / f"rows.{suffix}")
        result = trained.predict_proba(tmp_path / f"rows.{suffix}")
        np.testing.assert_allclose(result["yes"].to_numpy(), expected, atol=1e-6)
        assert result["id"].cast(pa.int64()).to_pylist() == frame["id"].astype(int).tolist()


def test_many_threads_get_the_scores_of_their_own_rows(trained: Predictor) -> None:
    frames = [shop_rows(2 + 3 * i, seed=i) for i in range(12)]
    expected = [trained.predict_proba(frame) for frame in frames]
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(trained.predict_proba, frames * 8))
    for i, result in enumerate(results):
        np.testing.assert_allclose(result, expected[i % 12], atol=1e-6)


def test_a_table_is_returned_as_a_table_and_a_record_batch_as_a_record_batch(predictor: Predictor) -> None:
    table = to_table(shop_rows(5, seed=9))
    (batch,) = table.to_batches()
    for rows in (table, batch, table.slice(0, 0), batch.slice(0, 0)):
        decisions, scores = predictor.predict(rows), predictor.predict_proba(rows)
        assert type(decisions) is type(scores) is type(rows)
        assert decisions.schema == pa.schema({"predicted_target": pa.string()})
        assert scores.schema == pa.schema({"no": pa.float32(), "yes": pa.float32()})
        assert decisions.num_rows == scores.num_rows == rows.num_rows
    assert predictor.predict(pa.table({})).schema.names == ["predicted_target"]


class ForeignTable:
    """A table of another library, such as polars or DuckDB, that has Arrow's PyCapsule interface."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_a_table_of_another_library_is_scored_as_an_arrow_table(predictor: Predictor) -> None:
    table = to_table(shop_rows(5, seed=9))
    empty = table.slice(0, 0)
    for rows, same_rows in ((ForeignTable(table), table), (table.to_reader(), table), (ForeignTable(empty), empty)):
        result = predictor.predict_proba(rows)
        assert type(result) is pa.Table
        assert result.equals(predictor.predict_proba(same_rows))


@pytest.mark.parametrize("message", ["non-struct type", "unknown type"])
def test_a_column_or_an_unknown_type_of_another_library_is_an_error_with_a_fix(
    predictor: Predictor, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ForeignTable, requested_schema: object = None) -> object:
        raise pa.ArrowInvalid(message)

    monkeypatch.setattr(ForeignTable, "__arrow_c_stream__", fail)
    with pytest.raises(PredictorInputError, match=rf"type ForeignTable \({message}\).*\n.*pyarrow\.Table"):
        predictor.predict(ForeignTable(to_table(shop_rows(2))))


LAYOUTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "dictionary": lambda values: values.dictionary_encode(),
    "dictionary of string_view": lambda values: pa.DictionaryArray.from_arrays(
        values.dictionary_encode().indices, values.dictionary_encode().dictionary.cast(pa.string_view())
    ),
    "large_string": lambda values: values.cast(pa.large_string()),
    "string_view": lambda values: values.cast(pa.string_view()),
    "run_end_encoded": lambda values: pa.compute.run_end_encode(values),
    "chunked": lambda values: pa.chunked_array([values[:2], values[2:2], values[2:]]),
    "chunked dictionary": lambda values: pa.chunked_array(
        [values[:2].dictionary_encode(), values[2:].dictionary_encode()]
    ),
    "sliced": lambda values: pa.concat_arrays([values, values])[len(values) :],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("column", ["message", "country"])
def test_every_layout_of_an_arrow_column_is_read_as_its_values(predictor: Predictor, layout: str, column: str) -> None:
    table = to_table(shop_rows(9, seed=9))
    i = table.schema.get_field_index(column)
    converted = table.set_column(i, column, LAYOUTS[layout](table[column].combine_chunks().cast(pa.string())))
    assert predictor.predict_proba(converted).equals(predictor.predict_proba(table))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 0, 3], pa.uint8()),
        pa.array([1, 0, 3], pa.float16()) if hasattr(pa, "float16") else None,
        pa.array([1, 0, 3], pa.decimal128(9, 2)),
        pa.array([1, 0, 3], pa.decimal256(40, 2)),
        pa.array(["1", " 0 ", "+3.0"]),
        pa.array([1, 0, 3]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_every_type_of_an_arrow_number_is_read_as_its_value(predictor: Predictor, values: pa.Array) -> None:
    table = to_table(shop_rows(3, seed=9).assign(visits=[1, 0, 3]))
    converted = table.set_column(table.schema.get_field_index("visits"), "visits", values)
    assert predictor.predict_proba(converted).equals(predictor.predict_proba(table))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([None, ["a"], None]),
        pa.array([None, {"a": 1}, None]),
        pa.array([None, b"a", None]),
        pa.array([None, b"a", None], pa.binary_view()),
        pa.array([None, 5, None], pa.duration("s")),
        pa.array([None, [("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        pa.array([None, ["a"], None], pa.large_list(pa.string())),
    ],
    ids=lambda values: str(values.type),
)
@pytest.mark.parametrize("column", FEATURES)
def test_an_arrow_value_that_cannot_be_encoded_is_an_error_with_its_column(
    predictor: Predictor, column: str, values: pa.Array
) -> None:
    table = to_table(shop_rows(3, seed=9))
    with pytest.raises(
        DataError, match=f"(?s)table, column '{column}'.*row 2|table, column '{column}': the column holds"
    ):
        predictor.predict(table.set_column(table.schema.get_field_index(column), column, values))


def test_a_table_without_a_column_or_with_two_of_a_name_is_an_error(predictor: Predictor) -> None:
    table = to_table(shop_rows(3, seed=9))
    with pytest.raises(DataError, match=r"(?s)table: column 'price' of the model does not exist.*rename 'PRICE'"):
        predictor.predict(table.rename_columns({"price": "PRICE"}))
    with pytest.raises(DataError, match="table: column 'price' occurs more than once"):
        predictor.predict(table.append_column("price", table["price"]))


def test_a_folder_is_read_as_one_and_its_ids_are_returned_in_order(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.reading.blocks.BLOCK_ROWS", 4)
    frame = shop_rows(30, seed=9).drop(columns=["target", "country"])
    for i, country in enumerate(("de", "fr", "it")):
        write_part(frame[10 * i : 10 * i + 10], tmp_path / f"country={country}/part-{i}.parquet")
    (tmp_path / "_SUCCESS").touch()
    result = predictor.predict_proba(str(tmp_path))
    assert result.schema.names == ["id", "no", "yes"]
    assert result["id"].to_pylist() == frame["id"].tolist()
    whole = frame.assign(country=np.repeat(["de", "fr", "it"], 10))
    np.testing.assert_array_equal(result["yes"].to_numpy(), predictor.predict_proba(whole)["yes"])
    write_part(frame[:3].drop(columns="id"), tmp_path / "country=us/part-3.parquet")
    assert predictor.predict_proba(tmp_path).schema.names == ["no", "yes"]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_file_without_a_column_is_an_error_that_names_it(predictor: Predictor, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    write_part(shop_rows(3).rename(columns={"price": "prices"}), path)
    with pytest.raises(DataError, match=rf"(?s){path}: column 'price' of the model.*did you mean 'prices'"):
        predictor.predict(path)


def test_a_file_without_rows_has_a_result_without_rows(predictor: Predictor, tmp_path: Path) -> None:
    for suffix in ("parquet", "csv"):
        write_part(shop_rows(3)[:0], tmp_path / f"rows.{suffix}")
        result = predictor.predict(tmp_path / f"rows.{suffix}")
        assert result.schema.names == ["id", "predicted_target"]
        assert result.num_rows == 0


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1abc")
    (tmp_path / "rows.xlsx").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "absent.csv")
    for name in ("cut.parquet", "rows.xlsx", "empty"):
        with pytest.raises(DataError, match=str(tmp_path / name)):
            predictor.predict(tmp_path / name)
    with pytest.raises(PredictorInputError, match=r"link\.csv' does not exist"):
        predictor.predict(tmp_path / "link.csv")
    with pytest.raises(DataError, match="/dev/null"):
        predictor.predict("/dev/null")


def test_unknown_columns_are_ignored_or_refused_with_the_nearest_absent_name(
    predictor: Predictor, tmp_path: Path
) -> None:
    frame = shop_rows(3, seed=9)
    without_id = frame.drop(columns="id")
    more = without_id.assign(prices=1.0, idd="x")
    records, (first, second, _) = frame.to_dict("records"), without_id.to_dict("records")
    more_records = [first, {**second, "prices": 1.0, "idd": "x"}]
    write_part(more, tmp_path / "rows.csv")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record, default=str) + "\n" for record in more_records))
    for rows, place in (
        (more, "data frame"),
        (to_table(more), "table"),
        (more_records, r"records\[1\]"),
        (tmp_path / "rows.csv", r"rows\.csv"),
        (tmp_path / "rows.jsonl", r"rows\.jsonl"),
    ):
        predictor.predict(rows)
        for predict in (predictor.predict, predictor.predict_proba):
            with pytest.raises(PredictorInputError, match=rf"(?s){place}.*'prices', 'idd'\.\nFix: did you mean 'id'\?"):
                predict(rows, strict=True)
    for rows in (frame, to_table(frame), records, frame[FEATURES]):
        assert len(predictor.predict(rows, strict=True)) == 3


def test_a_regression_predicts_numbers_and_has_no_probabilities() -> None:
    frame = shop_rows(80)
    settings = {"task": "regression", "num_classes": None, "label_name": "price", "tab_field_list": ["visits"]}
    predictor, session = make_predictor(frame=frame.dropna(subset="price"), **settings)
    session.scores = lambda rows: np.arange(rows, dtype=np.float32)[:, None]
    assert predictor.predict(frame[:3])["predicted_price"].tolist() == [0.0, 1.0, 2.0]
    assert predictor.predict(to_table(frame[:2])).to_pylist() == [{"predicted_price": 0.0}, {"predicted_price": 1.0}]
    assert predictor.predict(frame[:1].to_dict("records")) == [{"predicted_price": 0.0}]
    np.testing.assert_array_equal(predictor.predict_records(frame[:3]), [[0], [1], [2]])
    for rows in (frame, []):
        with pytest.raises(PredictorInputError, match=r"(?s)predicts numbers \(target price\).*use predict"):
            predictor.predict_proba(rows)


SCORE_RECORDS = """
import sys

class Uninstalled:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "pandas"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Uninstalled)
from fusionzoo.serving.predictor import Predictor
rows = [{"message": "late", "price": 1.0, "visits": None, "country": "de"}]
print(Predictor.load(sys.argv[1]).predict(rows)[0].keys())
"""


def test_records_are_scored_without_torch_and_without_pandas(job: JobFolder) -> None:
    done = subprocess.run([sys.executable, "-c", SCORE_RECORDS, str(job.model)], capture_output=True, text=True)
    assert done.stdout.strip() == "dict_keys(['predicted_target'])", done.stderr


def test_the_prediction_file_of_the_job_is_reproduced(job: JobFolder, trained: Predictor) -> None:
    written = pq.read_table(job.output / "val_predictions.parquet")
    raw = job.root / "input/data/val"
    scores, decisions = trained.predict_proba(raw), trained.predict(raw)
    assert scores["id"].equals(written["id"])
    np.testing.assert_allclose(scores["yes"].to_numpy(), written["prob_yes"].to_numpy(), atol=1e-6)
    assert decisions["predicted_target"].to_pylist() == written["predicted_target"].to_pylist()
