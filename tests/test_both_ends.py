"""A model that was trained with the contract's versions loads and serves with today's, and the other way around.

Set FUSIONZOO_OTHER_VENV to the folder of a virtual environment with the other versions, for example the one that
`make install VENV=.venv-contract CONSTRAINTS=constraints-contract.txt` creates. Both run the code of this checkout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from shop import JobFolder, shop_rows

ROOT = Path(__file__).parents[1]
OTHER = os.environ.get("FUSIONZOO_OTHER_VENV", "")
SOURCES = [ROOT / "core", *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
PYTHONS = {"this": sys.executable, "other": str(Path(OTHER).resolve() / "bin/python")}
CLASSES = ("happy", "unhappy")
MAX_DIFFERENCE = 1e-5  # of a probability in float32, as everywhere in fusionzoo
SCORE = """
import json, sys
from pathlib import Path
import pandas as pd, torch
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.nn.inference import predict_scores
from fusionzoo.serving.data_frames import DataFrameRows
from fusionzoo.serving.predictor import Predictor
from fusionzoo.serving.row_source import ModelColumns
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
folder, rows = Path(sys.argv[1]), pd.DataFrame(json.loads(sys.stdin.read()))
predictor = Predictor.load(folder)
model, preprocessor = load_model(folder)
blocks = DataFrameRows(rows).read(ModelColumns.of(preprocessor.settings), strict=False)
split = preprocessor.encode(blocks, "rows", labeled=False)
served = predictor.predict_proba(rows)
scores = predict_scores(model, make_link(choose_task(preprocessor)), split, 8)
print(json.dumps([torch.__version__, scores.tolist(), served.to_numpy().tolist()]))
"""

pytestmark = pytest.mark.skipif(
    not OTHER, reason="FUSIONZOO_OTHER_VENV does not name a virtual environment with the other versions"
)


def run(end: str, arguments: list[str], text: str = "") -> str:
    """Run Python with the versions of an end and the code of this checkout, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCES))}
    done = subprocess.run([PYTHONS[end], *arguments], input=text, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def read_predictions(folder: Path) -> np.ndarray:
    """Return the probabilities of the test split that a job wrote [rows, classes]."""
    frame = pd.read_parquet(folder / "test_predictions.parquet")
    return frame[[f"prob_{label}" for label in CLASSES]].to_numpy()


def settings_of(model_class: str, minilm: str) -> dict[str, Any]:
    if model_class == "multimodal_cnn":
        return {"model_class": model_class}
    return {"model_class": model_class, "tokenizer": minilm, "embedding_dim": None, "num_channels": None}


def test_the_two_ends_have_different_versions() -> None:
    print_version = ["-c", "import torch; print(torch.__version__)"]
    assert run("this", print_version) != run("other", print_version)


@pytest.mark.parametrize("model_class", ["multimodal_cnn", "multimodal_bert"])
@pytest.mark.parametrize(("trained_at", "served_at"), [("this", "other"), ("other", "this")])
def test_a_model_serves_the_same_probabilities_at_the_other_end(
    trained_at: str, served_at: str, model_class: str, minilm: str, job: JobFolder
) -> None:
    job.fill(CLASSES, rows=64, max_epochs=1, onnx="required", **settings_of(model_class, minilm))
    run(trained_at, ["-m", "fusionzoo.cli", "train", "--root", str(job.root)])
    expected = read_predictions(job.output)
    rows = shop_rows(len(expected), 2, CLASSES).drop(columns="target")  # the test split
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    printed = run(served_at, ["-c", SCORE, str(job.model)], json.dumps(records))
    version, loaded, served = json.loads(printed.splitlines()[-1])
    assert version != run(trained_at, ["-c", "import torch; print(torch.__version__)"]).strip()
    assert expected.std() > 0
    np.testing.assert_allclose(loaded, expected, atol=MAX_DIFFERENCE)
    np.testing.assert_allclose(served, expected, atol=MAX_DIFFERENCE)
