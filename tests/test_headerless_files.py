"""Files without a header, `csv_header` a list or false: rows to score may lack the labels, wherever they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.media_types import parse_input_type
from fusionzoo.server.request_rows import RequestReader
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.serving.predictor import Predictor
from plot_rendering import plots_rendered
from prediction_helpers import assert_same_predictions, predict, read_frame
from predictor_helpers import make_predictor
from serve_helpers import CSV, Server, read_error
from shop import JobFolder, shop_rows

HEADER = ["visits", "target", "id", "country", "message", "price", "source"]
UNLABELED = [name for name in HEADER if name != "target"]
NAMES = {"named": HEADER, "numbered": list("0123456")}  # of the columns in HEADER


def write(path: Path, columns: list[str], seed: int = 2, rows: int = 40) -> pd.DataFrame:
    frame = shop_rows(rows, seed).assign(source=range(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    frame[columns].to_csv(path, index=False, header=False)
    return frame


@dataclass
class HeaderlessJob(JobFolder):
    """A job with files without a header. Its test rows have no labels."""

    names: dict[str, str]


def run_job(root: Path, kind: str, header: list[str] | bool) -> HeaderlessJob:
    names = dict(zip(HEADER, NAMES[kind], strict=True))
    job = HeaderlessJob(root, names)
    for seed, (split, columns) in enumerate({"train": HEADER, "val": HEADER, "test": UNLABELED}.items()):
        write(root / f"input/data/{split}/part-0.csv", columns, seed)
    job.settings(
        max_epochs=1,
        onnx="required",
        csv_header=header,
        id_name=names["id"],
        label_name=names["target"],
        text_name=names["message"],
        cat_field_list=[names["country"]],
        tab_field_list=[names["price"], names["visits"]],
    )
    with plots_rendered():
        assert job.run() == 0
    return job


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, blank_plots: None) -> HeaderlessJob:
    return run_job(tmp_path_factory.mktemp("named"), "named", HEADER)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory, blank_plots: None) -> HeaderlessJob:
    return run_job(tmp_path_factory.mktemp("numbered"), "numbered", False)


@pytest.fixture(params=["named", "numbered"])
def job(request: pytest.FixtureRequest) -> HeaderlessJob:
    found: HeaderlessJob = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("name", ["rows.csv", "rows"])
@pytest.mark.parametrize("columns", [HEADER, UNLABELED], ids=["labeled", "unlabeled"])
def test_predict_reads_rows_with_and_without_labels(
    job: HeaderlessJob, columns: list[str], name: str, tmp_path: Path
) -> None:
    frame = write(tmp_path / "rows" / name, columns)
    result = predict(job, tmp_path / "rows", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    out, expected = read_frame(tmp_path / "out.csv"), read_frame(job.output / "test_predictions.csv")
    label = job.names["target"]
    assert out[job.names["id"]].astype(str).tolist() == frame["id"].tolist()
    assert (label in out) == ("target" in columns)
    assert_same_predictions(out.drop(columns=label, errors="ignore"), expected.drop(columns=label))


def test_named_and_numbered_columns_give_the_same_predictions(named: HeaderlessJob, numbered: HeaderlessJob) -> None:
    expected, found = (read_frame(job.output / "test_predictions.csv") for job in (named, numbered))
    names = {"2": "id", "1": "target", "predicted_1": "predicted_target"}
    assert_same_predictions(found.rename(columns=names), expected)


def test_the_model_knows_the_columns_of_its_training_files(numbered: HeaderlessJob) -> None:
    settings = json.loads((numbered.model / "preprocessor.json").read_text())["settings"]
    assert settings["csv_header"] == list("0123456")


def test_rows_with_a_column_too_few_are_still_an_error(named: HeaderlessJob, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", UNLABELED[1:])
    result = predict(named, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "40 rows with another number of columns" in result.output


@pytest.mark.parametrize(("columns", "is_enough"), [(HEADER[:-2], False), ([*HEADER, "source"], True)])
def test_numbered_files_of_other_widths_need_the_columns_of_the_model(
    numbered: HeaderlessJob, columns: list[str], is_enough: bool, tmp_path: Path
) -> None:
    write(tmp_path / "rows.csv", columns)
    result = predict(numbered, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert (result.exit_code == 0) == is_enough, result.output
    assert is_enough or "column '5' of the model does not exist" in result.output


def test_the_python_api_reads_them_too(job: HeaderlessJob, tmp_path: Path) -> None:
    write(tmp_path / "all.csv", HEADER)
    write(tmp_path / "some.csv", UNLABELED)
    predictor = Predictor.load(job.model)
    assert predictor.predict_proba(tmp_path / "all.csv").equals(predictor.predict_proba(tmp_path / "some.csv"))


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_train_and_val_need_labels(lacking: str, tmp_path: Path) -> None:
    write(tmp_path / f"{lacking}/part.csv", UNLABELED)
    with pytest.raises(DataError, match="40 rows with another number of columns"):
        list(open_channel(lacking, tmp_path / lacking, HEADER, ReadOptions(header=tuple(HEADER))))


@pytest.mark.parametrize("names", [("a", "b", "one", "two"), ("0", "1", "2", "3")])
def test_all_labels_are_absent_or_none(names: tuple[str, ...]) -> None:
    options = ReadOptions(header=names, optional_names=names[2:])
    assert options.choose_names(4) == names
    assert options.choose_names(3) == (names if names[0] == "a" else names[:3])
    assert options.choose_names(2) == names[:2]


def test_a_row_may_hold_the_numbers_of_the_columns(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/part.csv").write_text("1,0\n0,0\n")
    rows = list(open_channel("rows", tmp_path / "rows", ["0", "1"], ReadOptions(header=("0", "1"))))
    assert [block.columns["0"].to_pylist() for block in rows] == [["1", "0"]]


def test_a_header_in_an_unlabeled_file_is_an_error(named: HeaderlessJob, tmp_path: Path) -> None:
    frame = write(tmp_path / "rows.csv", UNLABELED)
    frame[UNLABELED].to_csv(tmp_path / "rows.csv", index=False)
    result = predict(named, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "the first line is a header" in result.output


@pytest.mark.parametrize(
    ("delimiter", "body", "used"),
    [
        (";", "message,country,price,visits\na,de,1,2\n", ","),
        (";", "id,message,Country,price,visits\n7,a,de,1,2\n", ","),
        (",", "message\tcountry\tprice\tvisits\na\tde\t1\t2\n", "\\t"),
        ("|", '"message";"country";"price";"visits"\na;de;1;2\n', ";"),
    ],
)
def test_a_header_with_another_delimiter_is_named_as_such(delimiter: str, body: str, used: str) -> None:
    error = read_error(Server(make_predictor(csv_delimiter=delimiter)[0]).post(body), 400)
    assert error["code"] == "FZ-H028"
    assert (
        f"split at '{used}', but rows are split at '{delimiter}', the csv_delimiter of the training" in error["message"]
    )


def test_a_header_with_another_delimiter_is_no_row_of_a_single_column() -> None:
    settings = DataSettings(csv_delimiter=";", text_name="message", label_name="target", id_name="id")
    reader, csv = RequestReader(settings, ServerLimits()), parse_input_type(CSV, None)
    with pytest.raises(RequestError, match="column names 'id', 'message' if it is split at ','"):
        reader.read(b"id,message\n7,late\n", csv)
    assert len(reader.read(b"message, late\nid\n", csv)) == 2, "texts that have a name among other words"
    assert read_error(Server().post("a;b\n"), 400)["code"] == "FZ-H016"
