"""AWS's inference toolkits serve the archive of fusionzoo package, extracted as SageMaker does."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli_helpers import invoke
from prediction_helpers import read_expected, read_test_rows
from serve_helpers import CSV, JSON, JSONL, PARQUET, encode
from shop import JobFolder

PYTHON = Path(__file__).parents[1] / ".venv-toolkits/bin/python"
DRIVER = Path(__file__).parent / "toolkit_driver.py"
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="make install creates .venv-toolkits, which these tests need"
)
FORMATS = (CSV, JSON, JSONL, PARQUET)
FAULTS: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("another format", b"x", {"Content-Type": "image/png"}, 415, "image/png"),
    ("no format", b"x", {}, 415, "Content-Type"),
    ("no JSON", b'{"instances": [', {"Content-Type": JSON}, 400, "JSON"),
    ("no rows", b"[]", {"Content-Type": JSON}, 400, "no rows"),
    ("a damaged file", b"PAR1", {"Content-Type": PARQUET}, 400, ""),
    ("another column", b"message,country,visits\na,de,2\n", {"Content-Type": CSV}, 422, "price"),
    ("a wrong value", b"message,country,price,visits\na,de,x,2\n", {"Content-Type": CSV}, 422, "request row 1 'x'"),
    ("no output", b"message,country,price,visits\na,de,1,2\n", {"Content-Type": CSV, "Accept": "image/png"}, 406, ""),
    ("not UTF-8", b"message,country,price,visits\n\xff,de,1,2\n", {"Content-Type": CSV}, 500, "utf-8"),  # the toolkit
]


def send(kind: str, model: Path, requests: list[tuple[bytes, dict[str, str]]]) -> subprocess.CompletedProcess[str]:
    given = json.dumps([{"body": body.hex(), "headers": headers} for body, headers in requests])
    variables = {**os.environ, "PYTHONPATH": str(model / "code"), "SAGEMAKER_BASE_DIR": str(model.parent)}
    command = [PYTHON, DRIVER, kind, model]
    return subprocess.run(command, input=given, capture_output=True, text=True, env=variables, check=False)


@pytest.fixture(scope="module")
def extracted(trained_job: JobFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosting")
    (folder / "model").mkdir()
    archive = folder / "model.tar.gz"
    assert invoke("package", "--model", str(trained_job.model), "--output", str(archive)).exit_code == 0
    subprocess.run(["tar", "xzf", archive, "-C", folder / "model"], check=True)
    return folder / "model"


@pytest.fixture(scope="module", params=["sagemaker-inference", "sagemaker-pytorch-inference"])
def responses(request: pytest.FixtureRequest, extracted: Path, trained_job: JobFolder) -> list[dict[str, Any]]:
    """The responses to rows in each format, then to each fault."""
    rows = read_test_rows(trained_job)
    valid = [(encode(rows, kind), {"Content-Type": kind, "Accept": JSONL}) for kind in FORMATS]
    faults = [(body, headers) for _, body, headers, _, _ in FAULTS]
    done = send(request.param, extracted, [*valid, *faults])
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_each_format_is_answered_with_the_predictions_of_the_job(
    responses: list[dict[str, Any]], trained_job: JobFolder
) -> None:
    expected = read_expected(trained_job)
    for response in responses[: len(FORMATS)]:
        assert response["status"] == 200, response
        assert response["content_type"] == JSONL
        actual = pd.read_json(io.StringIO(response["content"]), lines=True, dtype={"id": str})
        assert actual["id"].tolist() == expected["id"].tolist()
        np.testing.assert_allclose(actual["prob_1"], expected["prob_1"], rtol=0, atol=1e-6)


def test_each_fault_of_a_client_has_the_status_of_the_server_and_is_never_a_score(
    responses: list[dict[str, Any]],
) -> None:
    for (name, _, _, status, part), response in zip(FAULTS, responses[len(FORMATS) :], strict=True):
        assert response["status"] == status, (name, response)
        assert part in response["content"], name
        assert "predicted_" not in response["content"].partition("\n")[0], name


def test_a_damaged_model_ends_the_toolkit_with_the_name_of_the_file(extracted: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(extracted, tmp_path / "model"))
    (model / "tokenizer.json").write_text("{}")
    done = send("sagemaker-inference", model, [])
    assert done.returncode != 0
    assert "tokenizer.json has 2 bytes" in done.stderr
