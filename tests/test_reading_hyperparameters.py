"""hyperparameters.json is read from three places."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionzoo.errors import HyperparametersError
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.sagemaker.paths import Paths


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_the_main_file_overrides_the_channel_and_the_code_is_used_only_without_both(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.code_hyperparameters, '{"lr": 3}')
    assert read_hyperparameters(paths) == {"lr": 3}
    write(paths.channel_hyperparameters, '{"lr": 2, "seed": 5}')
    assert read_hyperparameters(paths) == {"lr": 2, "seed": 5}
    write(paths.hyperparameters, '{"lr": "1", "sagemaker_program": "x", "_tuning_objective_metric": "y"}')
    assert read_hyperparameters(paths) == {"lr": "1", "seed": 5}


def test_a_missing_file_is_reported_with_the_three_places(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    with pytest.raises(HyperparametersError) as error:
        read_hyperparameters(paths)
    for path in (paths.hyperparameters, paths.channel_hyperparameters, paths.code_hyperparameters):
        assert str(path) in str(error.value)


def test_a_main_file_with_only_sagemakers_keys_counts_as_empty(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, '{"sagemaker_program": "train.py", "_tuning_objective_metric": "x"}')
    with pytest.raises(HyperparametersError):
        read_hyperparameters(paths)
    write(paths.code_hyperparameters, '{"lr": 3}')
    assert read_hyperparameters(paths) == {"lr": 3}


def test_a_byte_order_mark_is_skipped_and_another_encoding_is_an_error(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, '\ufeff{"id_name": "é"}')
    assert read_hyperparameters(paths) == {"id_name": "é"}
    paths.hyperparameters.write_bytes('{"lr": 1}'.encode("utf-16"))
    with pytest.raises(HyperparametersError, match="UTF-8"):
        read_hyperparameters(paths)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    paths.hyperparameters.mkdir(parents=True)
    with pytest.raises(HyperparametersError, match=r"hyperparameters\.json: the file cannot be read"):
        read_hyperparameters(paths)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"a": 1,\n "b": }', "line 2 column 7"),
        ('{"fine": 1, "lr": [1e999]}', "lr = [Infinity]"),
        (f'{{"a": {"1" * 5000}}}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a": 1,}', "line 1 column"),
        ("[1]", "not a JSON object"),
        ('{"a": 1, "a": 2}', "more than once"),
        ('{"a": NaN}', "NaN"),
        ("", "not valid JSON"),
    ],
)
def test_a_file_that_is_not_a_flat_json_object_is_an_error(tmp_path: Path, content: str, says: str) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    write(paths.hyperparameters, content)
    with pytest.raises(HyperparametersError) as error:
        read_hyperparameters(paths)
    assert says in str(error.value)
    assert str(paths.hyperparameters) in str(error.value)
