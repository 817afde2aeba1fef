"""Model folders as models of MLflow, flavor `pyfunc`: `pip install 'fusionzoo[mlflow]'`.

The model of MLflow contains a copy of the model folder and the name of this module, which loads it: nothing is pickled,
and every file is verified against manifest.json whenever the model is loaded. Scoring needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.artifacts.manifest import Manifest
from fusionzoo.artifacts.predictions import Predictions, prediction_columns
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.data.data_settings import ROW_ID
from fusionzoo.registry.extras import check_extra
from fusionzoo.serving.data_frames import DataFrameRows, is_data_frame
from fusionzoo.serving.predictor import Predictor
from fusionzoo.serving.row_source import ModelColumns
from fusionzoo.serving.value_counts import UnusualValueLog, ValueCounts

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

__all__ = ["PyFuncPredictor", "list_pip_requirements", "log_model", "make_signature", "save_model"]

EXTRA = "mlflow"
PINNED_PACKAGES = ("fusionzoo", "numpy", "onnxruntime", "pandas", "pyarrow", "tokenizers")
TYPE_NAMES = {  # of Arrow types that MLflow has too; others are "any"
    pa.string(): "string",
    pa.bool_(): "boolean",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
}


class PyFuncPredictor:
    """What `mlflow.pyfunc.load_model` wraps: scores the rows of a data frame. Several threads can use it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self._value_log = predictor, UnusualValueLog()
        self._columns = ModelColumns.of(predictor.preprocessor.settings)

    def predict(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return a record per row, in the order and with the index of the rows.

        The columns are those of a prediction file without labels: the id if the rows have one, the scores, and the
        decision.

        Raises:
            mlflow.exceptions.MlflowException: the rows cannot be scored; the message names row and column.
        """
        with _raise_for_mlflow():
            if not is_data_frame(data):
                raise errors.PredictorInputError.not_records(data)
            return self._predict(data)

    def _predict(self, data: pd.DataFrame) -> pd.DataFrame:
        id_name, task = self._columns.id_name, self.predictor.task
        counts = ValueCounts()
        blocks = self.predictor.predict_blocks(DataFrameRows(data).read(self._columns, strict=False), counts=counts)
        batches: list[pa.RecordBatch] = []
        schema = _make_schema(self.predictor)
        for block in blocks:
            row_numbers = pa.nulls(len(block.scores), schema.field(0).type)
            predictions = Predictions(id_name or ROW_ID, task, row_numbers, None, block.scores)
            batches += predictions.batches(schema)
        self._value_log.write(counts)
        table = pa.Table.from_batches(batches, schema).remove_column(0)
        frame: pd.DataFrame = table.to_pandas().set_index(data.index)
        if id_name in data.columns:
            ids = data[id_name]
            frame.insert(0, str(id_name), ids.astype(object).where(ids.notna(), None) if ids.hasnans else ids)
        return frame


def _load_pyfunc(data_path: str) -> PyFuncPredictor:
    """Return the model in a folder, after every file was verified. MLflow calls this function.

    Raises:
        errors.ModelFolderError: the folder cannot be used.
        errors.PredictionColumnsError: the id column has the name of another column of the predictions.
    """
    predictor = Predictor.load(data_path)
    _make_schema(predictor)
    return PyFuncPredictor(predictor)


def save_model(
    model: str | Path,
    path: str | Path,
    *,
    signature: ModelSignature | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> None:
    """Save a model folder as a model of MLflow in a new folder.

    Args:
        model: the model folder.
        path: the folder to create.
        signature: by default that of `make_signature`.
        pip_requirements: what `mlflow models serve` installs; by default `list_pip_requirements`.

    Raises:
        errors.MissingPackagesError: MLflow is not installed.
        errors.ModelFolderError: the model folder cannot be used.
        mlflow.exceptions.MlflowException: `path` exists.
    """
    check_extra(EXTRA)
    import mlflow

    mlflow.pyfunc.save_model(str(path), **_describe(Path(model), signature, pip_requirements))


def log_model(
    model: str | Path,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    signature: ModelSignature | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> ModelInfo:
    """Log a model folder to MLflow: the model, and its metrics as `<split>_<metric>`.

    Both belong to the active run, or to a new one, which ends.

    Args:
        model: the model folder.
        name: the name of the model in the run.
        registered_model_name: the name in the model registry; None does not register it.
        signature: by default that of `make_signature`.
        pip_requirements: what `mlflow models serve` installs; by default `list_pip_requirements`.

    Raises:
        errors.MissingPackagesError: MLflow is not installed.
        errors.ModelFolderError: the model folder cannot be used.
    """
    check_extra(EXTRA)
    import mlflow

    description = _describe(Path(model), signature, pip_requirements)
    with nullcontext() if mlflow.active_run() else mlflow.start_run():
        info: ModelInfo = mlflow.pyfunc.log_model(name=name, registered_model_name=registered_model_name, **description)
        mlflow.log_metrics(_list_metrics(verify_folder(Path(model)).manifest), model_id=info.model_id)
    return info


def list_pip_requirements() -> list[str]:
    """Return what scores a model folder in another environment: the installed versions of fusionzoo and MLflow."""
    try:
        mlflow = f"mlflow=={version('mlflow')}"
    except PackageNotFoundError:
        mlflow = f"mlflow-skinny=={version('mlflow-skinny')}"
    return [mlflow, *(f"{name}=={version(name)}" for name in PINNED_PACKAGES)]


def _describe(folder: Path, signature: ModelSignature | None, pip_requirements: Sequence[str] | None) -> dict[str, Any]:
    """Return the arguments of `mlflow.pyfunc` for a folder that can be scored."""
    predictor = _load_pyfunc(str(folder)).predictor
    manifest = verify_folder(folder).manifest
    return {
        "loader_module": __name__,
        "data_path": str(folder.resolve()),
        "signature": signature or make_signature(predictor),
        "input_example": _make_example(predictor),
        "pip_requirements": list_pip_requirements() if pip_requirements is None else list(pip_requirements),
        "metadata": {
            "fusionzoo": {
                "version": manifest.fusionzoo,
                "model_class": manifest.model_class,
                "task": manifest.task,
                "columns": [column.model_dump() for column in manifest.columns],
                "checksum": manifest.checksum,
            }
        },
    }


def _make_schema(predictor: Predictor) -> pa.Schema:
    """Return the columns of predictions, after the id.

    Raises:
        errors.PredictionColumnsError: two columns have the same name.
    """
    id_name, task = predictor.preprocessor.settings.id_name or ROW_ID, predictor.task
    names = prediction_columns(id_name, task, has_labels=False)
    types = [pa.string(), *[pa.float32()] * len(task.score_columns), *[task.label_type] * len(task.decision_columns)]
    return pa.schema(list(zip(names, types, strict=True)))


def make_signature(predictor: Predictor) -> ModelSignature:
    """Return the columns of rows and predictions.

    Columns of rows have the type "any", so that MLflow passes every value on and fusionzoo reads it as in training.
    With types, MLflow refuses values such as 64-bit integers in a column of type double.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]
    columns = ModelColumns.of(predictor.preprocessor.settings)
    ids = [] if columns.id_name is None else [ColSpec(anything, columns.id_name, required=False)]
    features = [ColSpec(anything, name) for name in columns.features if name != columns.id_name]
    outputs = [ColSpec(TYPE_NAMES.get(f.type, anything), f.name) for f in list(_make_schema(predictor))[1:]]
    return ModelSignature(Schema([*ids, *features]), Schema([*ids, *outputs]))


def _make_example(predictor: Predictor) -> pd.DataFrame:
    """Return a row without values of the data: a common category and the mean of each number."""
    import pandas as pd

    preprocessor = predictor.preprocessor
    settings = preprocessor.settings
    values: dict[str, Any] = {} if settings.id_name is None else {settings.id_name: "1"}
    values |= dict.fromkeys(settings.text_columns, "a text")
    values |= {column.name: column.values[0] if column.values else None for column in preprocessor.categories}
    return pd.DataFrame([values | {column.name: column.mean for column in preprocessor.numbers}])


def _list_metrics(manifest: Manifest) -> dict[str, float]:
    return {
        f"{split}_{name}": value
        for split, metrics in manifest.metrics.items()
        for name, value in metrics.items()
        if value is not None
    }


@contextmanager
def _raise_for_mlflow() -> Iterator[None]:
    """Raise errors of the block as those of MLflow, which its server answers with status 400 or 500."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE

    try:
        yield
    except (errors.DataError, errors.PredictorInputError) as error:
        raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from error
    except errors.ZooError as error:
        raise MlflowException(str(error), INTERNAL_ERROR) from error
