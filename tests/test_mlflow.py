"""A model folder as a model of MLflow: logged, verified when it is loaded, and served by MLflow's own server."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.pyfunc import PyFuncModel, scoring_server

from fusionzoo import errors
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.integrations.mlflow import PyFuncPredictor, log_model, make_signature, save_model
from fusionzoo.serving.predictor import Predictor
from predictor_helpers import make_predictor
from shop import JobFolder, shop_rows

ROWS = shop_rows(9, seed=5).drop(columns="target")
SCORES = ["prob_0", "prob_1"]


@pytest.fixture(scope="module")
def saved(trained_job: JobFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, saved as a model of MLflow."""
    path = tmp_path_factory.mktemp("mlflow") / "saved"
    save_model(trained_job.model, path)
    return path


@pytest.fixture(scope="module")
def loaded(saved: Path) -> PyFuncModel:
    return mlflow.pyfunc.load_model(str(saved))


@pytest.fixture(scope="module")
def expected(trained_job: JobFolder) -> pd.DataFrame:
    """The predictions of the same rows without MLflow."""
    predictor = Predictor.load(trained_job.model)
    return predictor.predict_proba(ROWS).set_axis(SCORES, axis=1).join(predictor.predict(ROWS))


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log to a folder of the test."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "tracking").as_uri())
    yield
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def post(loaded: PyFuncModel, saved: Path) -> Iterator[Callable[..., tuple[int, Any]]]:
    """Send requests to MLflow's server; `typed` to one of a model with types in its signature."""
    typed = mlflow.pyfunc.load_model(str(saved))
    typed.metadata.signature = infer_signature(ROWS)
    servers = {False: _Server(loaded), True: _Server(typed)}

    def send(body: str, content_type: str, typed: bool = False) -> tuple[int, Any]:
        return servers[typed].post(body, content_type)

    yield send
    for server in servers.values():
        server.stop()


class _Server:
    """The server that `mlflow models serve` starts, in this process."""

    def __init__(self, model: PyFuncModel) -> None:
        self._server = uvicorn.Server(uvicorn.Config(scoring_server.init(model), port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        self._port = self._server.servers[0].sockets[0].getsockname()[1]

    def post(self, body: str, content_type: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self._port}/invocations"
        request = urllib.request.Request(url, body.encode(), {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def assert_predictions(actual: pd.DataFrame, expected: pd.DataFrame, ids: pd.Series | None = ROWS["id"]) -> None:
    """Assert the ids, and the scores and decisions of rows, in their order and with their index."""
    assert list(actual.columns) == [*([] if ids is None else ["id"]), *expected.columns]
    assert actual.index.equals(expected.index)
    np.testing.assert_allclose(actual[SCORES], expected[SCORES], rtol=0, atol=1e-6)
    assert actual["predicted_target"].tolist() == expected["predicted_target"].tolist()
    if ids is not None:
        assert actual["id"].tolist() == ids.tolist()


def test_a_loaded_model_predicts_as_predictor_does(loaded: PyFuncModel, expected: pd.DataFrame) -> None:
    assert_predictions(loaded.predict(ROWS), expected)
    indexed = ROWS.set_index(pd.Index([f"row {i}" for i in range(len(ROWS))]))
    assert_predictions(loaded.predict(indexed), expected.set_index(indexed.index))
    without_ids = ROWS.drop(columns="id")
    assert_predictions(loaded.predict(without_ids), expected, None)
    assert_predictions(loaded.predict(without_ids.to_dict("records")), expected, None)
    assert len(loaded.predict(ROWS[:0])) == 0


@pytest.mark.parametrize("dtype", ["int64", "Int32", "float32", "str", object])
def test_numbers_and_ids_of_any_type_are_accepted(loaded: PyFuncModel, dtype: Any) -> None:
    rows = ROWS.assign(visits=range(9), id=range(9))
    changed = rows.astype({"visits": dtype, "id": dtype})
    assert_predictions(loaded.predict(changed), loaded.predict(rows).drop(columns="id"), changed["id"])


def test_missing_ids_are_none(loaded: PyFuncModel) -> None:
    rows = ROWS.assign(id=[1.0, np.nan, *range(7)])
    assert loaded.predict(rows)["id"].tolist()[:3] == [1.0, None, 0.0]


def test_the_model_has_a_signature_an_example_requirements_and_what_it_is(
    loaded: PyFuncModel, saved: Path, trained_job: JobFolder
) -> None:
    inputs = {column.name: column.required for column in loaded.metadata.get_input_schema()}
    assert inputs == {"id": False, "message": True, "country": True, "price": True, "visits": True}
    outputs = {column.name: str(column.type) for column in loaded.metadata.get_output_schema()}
    assert {name: outputs[name] for name in (*SCORES, "predicted_target")} == {
        "prob_0": "DataType.float",
        "prob_1": "DataType.float",
        "predicted_target": "DataType.long",
    }
    assert loaded.predict(loaded.input_example)["id"].tolist() == ["1"]
    required = {line.partition("==")[0] for line in (saved / "requirements.txt").read_text().split()}
    assert required >= {"fusionzoo", "onnxruntime", "pandas"}
    assert required & {"mlflow", "mlflow-skinny"}
    assert "torch" not in required
    described = loaded.metadata.metadata["fusionzoo"]
    assert described["checksum"] == verify_folder(trained_job.model).manifest.checksum
    assert {"name": "country", "role": "category"} in described["columns"]


def test_nothing_is_pickled_and_no_path_of_this_machine_is_saved(saved: Path, trained_job: JobFolder) -> None:
    model = {path.name for path in trained_job.model.iterdir()}
    assert {path.name for path in (saved / "data/model").iterdir()} == model
    own = [path for path in saved.iterdir() if path.is_file()]
    assert {path.suffix for path in own} <= {"", ".txt", ".yaml", ".json"}
    for path in own:
        assert str(trained_job.root.parent) not in path.read_text("utf-8")
        assert str(Path(__file__).parents[1]) not in path.read_text("utf-8")
    assert "loader_module: fusionzoo.integrations.mlflow" in (saved / "MLmodel").read_text()


@pytest.mark.usefixtures("tracking")
def test_log_model_logs_the_metrics_of_the_folder_to_the_run(trained_job: JobFolder, expected: pd.DataFrame) -> None:
    with mlflow.start_run() as run:
        info = log_model(trained_job.model, "messages")
    assert info.run_id == run.info.run_id
    logged = mlflow.get_run(run.info.run_id).data.metrics
    manifest = verify_folder(trained_job.model).manifest
    assert logged["val_auroc"] == pytest.approx(manifest.metrics["val"]["auroc"])
    assert len(logged) == sum(value is not None for split in manifest.metrics.values() for value in split.values())
    assert {metric.key for metric in mlflow.get_logged_model(info.model_id).metrics} == logged.keys()
    assert_predictions(mlflow.pyfunc.load_model(info.model_uri).predict(ROWS), expected)


@pytest.mark.usefixtures("tracking")
def test_log_model_without_a_run_starts_one_and_ends_it(trained_job: JobFolder) -> None:
    info = log_model(trained_job.model)
    assert mlflow.active_run() is None
    assert mlflow.get_run(info.run_id).info.status == "FINISHED"


def test_a_damaged_folder_is_neither_loaded_nor_saved(saved: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved, tmp_path / "copy")
    network = copy / "data/model/model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"x")
    with pytest.raises(errors.ModelFolderError, match=r"model\.onnx"):
        mlflow.pyfunc.load_model(str(copy))
    with pytest.raises(errors.ModelFolderError, match=r"model\.onnx"):
        save_model(copy / "data/model", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["dataframe_split", "dataframe_records", "inputs", "instances"])
def test_the_server_answers_each_json_format(
    post: Callable[..., tuple[int, Any]], expected: pd.DataFrame, key: str
) -> None:
    orient: Any = "split" if key == "dataframe_split" else "records"
    status, answer = post(json.dumps({key: json.loads(ROWS.to_json(orient=orient))}), "application/json")
    assert status == 200, answer
    assert_predictions(pd.DataFrame(answer["predictions"]), expected)


def test_the_server_reads_csv_if_the_signature_has_types(
    post: Callable[..., tuple[int, Any]], expected: pd.DataFrame
) -> None:
    status, answer = post(ROWS.to_csv(index=False), "text/csv", typed=True)
    assert status == 200, answer
    assert_predictions(pd.DataFrame(answer["predictions"]), expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS.assign(price=[*ROWS["price"][:3], "x", *ROWS["price"][4:]]), "data frame row 4 'x'"),
        (ROWS.drop(columns="price"), "price"),
    ],
)
def test_the_server_names_row_and_column_of_an_error(
    post: Callable[..., tuple[int, Any]], rows: pd.DataFrame, message: str
) -> None:
    body = json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))})
    status, answer = post(body, "application/json")
    assert status == 400
    assert "'price'" in answer["message"]
    assert message in answer["message"]
    assert "stack_trace" not in answer


@pytest.mark.parametrize(
    ("settings", "classes", "outputs"),
    [
        ({}, ("no", "yes"), {"prob_no": "float", "prob_yes": "float", "predicted_target": "string"}),
        (
            {"task": "regression", "num_classes": None, "label_name": "price", "tab_field_list": ["visits"]},
            (0, 1),
            {"predicted_price": "float"},
        ),
    ],
)
def test_the_signature_has_the_columns_of_the_predictions_of_each_task(
    settings: dict[str, Any], classes: tuple[Any, ...], outputs: dict[str, str]
) -> None:
    frame = shop_rows(80, classes=classes).dropna(subset="price")
    predictor, session = make_predictor(frame=frame, **settings)
    if "task" in settings:
        session.scores = lambda rows: np.ones((rows, 1), np.float32)
    columns = {column.name: column.type.name for column in make_signature(predictor).outputs if column.name != "id"}
    assert columns == outputs
    assert list(PyFuncPredictor(predictor).predict(ROWS).columns) == ["id", *outputs]


def test_a_score_that_is_not_finite_is_an_error_of_the_server() -> None:
    predictor, session = make_predictor()
    session.scores = lambda rows: np.full((rows, 2), np.nan, np.float32)
    with pytest.raises(MlflowException) as error:
        PyFuncPredictor(predictor).predict(ROWS)
    assert error.value.get_http_status_code() == 500


def test_without_mlflow_the_error_names_the_extra() -> None:
    assert "pip install 'fusionzoo[mlflow]'" in str(errors.MissingPackagesError("mlflow", ["mlflow-skinny"]))
