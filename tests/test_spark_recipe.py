"""The recipe for Spark in docs/predict.md, run as a script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prediction_helpers import read_expected, read_test_rows
from shop import JobFolder

PAGE = Path(__file__).parents[1] / "docs/predict.md"


def test_the_recipe_scores_a_folder_as_the_job_did(trained_job: JobFolder, tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed, which Spark needs")
    rows = read_test_rows(trained_job)
    (tmp_path / "new").mkdir()
    for number in range(2):
        rows.iloc[number::2].to_parquet(tmp_path / f"new/part-{number}.parquet", index=False)
    (recipe,) = re.findall(r"^```python\n(from pyspark.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert "my-job/model" in recipe
    (tmp_path / "recipe.py").write_text(recipe.replace("my-job/model", str(trained_job.model)))
    environ = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "recipe.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    scored = pd.read_parquet(tmp_path / "predictions").sort_values("id").reset_index(drop=True)
    expected = read_expected(trained_job)[["id", "prob_0", "prob_1"]].sort_values("id").reset_index(drop=True)
    pd.testing.assert_frame_equal(scored, expected, rtol=0, atol=1e-6)
