"""Two baselines on real reviews: XGBoost on the table and the text, and logistic regression on TF-IDF of the text.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/baselines.py [rows of train, default 2000]

Prints one line for each: AUROC and log-loss of val, and the seconds of the process. `train_xgboost.py` has its fixed
parameters; the linear model is scikit-learn's `TfidfVectorizer` (words and pairs of words) and `LogisticRegression`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from reviews import COLUMNS
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline

TRAIN_XGBOOST_PY = Path(__file__).parents[1] / "train_xgboost.py"
LABEL, TEXTS = "recommended", ["title", "review_text"]


def run_xgboost(splits: dict[str, pd.DataFrame]) -> tuple[float, float]:
    """Return AUROC and log-loss of val."""
    settings = {**COLUMNS, "model_class": "multimodal_cnn", "tokenizer": "word"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, rows in splits.items():
            (root / "input/data" / name).mkdir(parents=True)
            rows.to_parquet(root / "input/data" / name / "part-0.parquet", index=False)
        (root / "input/config").mkdir(parents=True)
        (root / "input/config/hyperparameters.json").write_text(json.dumps(settings))
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": folder, "FUSIONZOO_CACHE": f"{folder}/cache"}
        subprocess.run([sys.executable, str(TRAIN_XGBOOST_PY)], env=environment, check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads((root / "output/data/metrics.json").read_text())["splits"]["val"]["metrics"]
    return metrics["auroc"], metrics["log_loss"]


def run_logistic_regression(splits: dict[str, pd.DataFrame]) -> tuple[float, float]:
    """Return AUROC and log-loss of val."""
    texts = {name: rows[TEXTS].fillna("").agg(" ".join, axis=1) for name, rows in splits.items()}
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(vectorizer, LogisticRegression(max_iter=1000)).fit(texts["train"], splits["train"][LABEL])
    probability = model.predict_proba(texts["val"])[:, 1]
    return roc_auc_score(splits["val"][LABEL], probability), log_loss(splits["val"][LABEL], probability)


def main(count: int) -> None:
    data = Path(os.environ["FUSIONZOO_DATA"]) / "womens_clothing"
    splits = {name: pd.read_parquet(data / name) for name in ("train", "val")}
    splits["train"] = splits["train"].sample(count, random_state=0)
    for name, run in (("XGBoost", run_xgboost), ("logistic regression", run_logistic_regression)):
        started = time.monotonic()
        auroc, loss = run(splits)
        seconds = time.monotonic() - started
        print(
            f"{name}: {count:,} rows of train, val auroc={auroc:.4f} log_loss={loss:.4f}; {seconds:.0f} s", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
