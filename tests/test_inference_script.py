"""inference.py, called as SageMaker's inference toolkits do."""

from __future__ import annotations

import io
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusionzoo import errors
from fusionzoo.contracts import PYTORCH_INFERENCE_CONTRACT
from fusionzoo.errors.request_errors import RequestError
from prediction_helpers import read_expected, read_test_rows
from serve_helpers import CSV, JSON, JSONL, PARQUET, encode
from shop import JobFolder

SCRIPT = Path(__file__).parents[1] / "inference.py"


@pytest.fixture(scope="module")
def functions() -> dict[str, Callable[..., Any]]:
    return runpy.run_path(str(SCRIPT), run_name="inference")


@pytest.mark.parametrize("name", ["model", "model/my-model"])  # an archive may have the model in a folder
@pytest.mark.parametrize("with_code", [False, True])
def test_the_functions_give_the_predictions_of_the_job(
    functions: dict[str, Callable[..., Any]], trained_job: JobFolder, tmp_path: Path, with_code: bool, name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained_job.model, tmp_path / name)
    if with_code:  # as in a model.tar.gz with the script
        (folder / "code").mkdir()
        shutil.copy(SCRIPT, folder / "code")
    model, expected = functions["model_fn"](str(folder)), read_expected(trained_job)
    for content_type, default in ((CSV, CSV), (JSON, JSON), (JSONL, JSONL), (PARQUET, JSON)):
        body = encode(read_test_rows(trained_job), content_type)
        given = body.decode() if content_type in (CSV, JSON) else bytearray(body)  # as the toolkits pass them
        scored = functions["predict_fn"](functions["input_fn"](given, content_type), model)
        content, media_type = functions["output_fn"](scored, JSONL)
        assert media_type == JSONL
        actual = pd.read_json(io.StringIO(content), lines=True, dtype={"id": str})
        assert actual["id"].tolist() == expected["id"].tolist()
        np.testing.assert_allclose(actual["prob_1"], expected["prob_1"], rtol=0, atol=1e-6)
        for accept, media_type in ((None, default), ("*/*", default), ("text/csv", CSV)):
            assert functions["output_fn"](scored, accept)[1] == media_type


def test_the_script_satisfies_its_contract() -> None:
    report = PYTORCH_INFERENCE_CONTRACT.validate_implementation(str(SCRIPT))
    assert report.is_valid, report.errors


def test_a_request_or_a_model_that_cannot_be_used_is_an_error(
    functions: dict[str, Callable[..., Any]], tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="image/png"):
        functions["input_fn"](b"", "image/png")
    with pytest.raises(errors.ModelFolderError, match=r"manifest\.json"):
        functions["model_fn"](str(tmp_path))
