"""Rows of a small shop, and the folder of a small job, for the tests."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ragged import Ragged

TINY_BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}


def shop_rows(rows: int, seed: int = 0, classes: tuple[Any, ...] = (0, 1)) -> pd.DataFrame:
    """Return rows. Their label depends on a word of the text, a number and a category; each has missing values."""
    rng = np.random.default_rng(seed)
    tone = rng.integers(0, len(classes), rows)
    words = np.array(["fine quick friendly", "late broken awful", "wrong size", "lost parcel", "rude", "odd", "cheap"])
    text = [f"order {rng.integers(100)} was {words[t]} and the box {rng.choice(['red', 'blue'])}" for t in tone]
    number = tone + rng.normal(0, 0.3, rows)
    frame = pd.DataFrame(
        {
            "id": [f"{seed}{i:05d}" for i in range(rows)],
            "message": pd.Series(text, dtype=object),
            "price": number,
            "visits": rng.integers(0, 9, rows).astype(float),
            "country": pd.Series(
                np.array(["de", "fr", "it", "us"])[(tone + rng.integers(0, 2, rows)) % 4], dtype=object
            ),
            "target": pd.Series([classes[t] for t in tone], dtype=object if isinstance(classes[0], str) else None),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "price"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "country"] = None
    frame.loc[rng.random(rows) < 0.05, "message"] = None
    frame.loc[: len(classes) - 1, "target"] = list(classes)  # each class at least once
    return frame


def lists(ragged: Ragged) -> list[list[int]]:
    """Return the arrays as plain lists."""
    return [part.tolist() for part in ragged]


def made_split(row_starts: np.ndarray, chunk_starts: np.ndarray, seed: int = 0, **changes: Any) -> EncodedSplit:
    """Return an encoded split of two classes with these chunks. Every field that is not in `changes` is random."""
    rng = np.random.default_rng(seed)
    rows = len(row_starts) - 1
    arrays = {
        "tokens": rng.integers(1, 50, chunk_starts[-1]).astype(np.int32),
        "categories": rng.integers(0, 9, (rows, 3)).astype(np.int32),
        "numbers": rng.normal(size=(rows, 2)).astype(np.float32),
        "numbers_missing": np.zeros((rows, 2), bool),
        "labels": rng.integers(0, 2, rows),
        "ids": pa.array(range(rows)),
    }
    counts = {"pad_id": 0, "dropped_tokens": 0, "empty_texts": 0}
    return EncodedSplit(**{"row_starts": row_starts, "chunk_starts": chunk_starts, **arrays, **counts, **changes})


@dataclass
class JobFolder:
    """A folder with the layout of SageMaker: a test fills it, runs the job and reads the outputs."""

    root: Path

    def channel(self, name: str, frame: pd.DataFrame, file: str = "part-00000.parquet") -> Path:
        """Write one part file of a channel."""
        path = self.root / "input/data" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        match path.suffix:
            case ".parquet":
                frame.to_parquet(path, index=False)
            case ".jsonl":
                frame.to_json(path, orient="records", lines=True)
            case suffix:
                frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
        return path

    def fill(self, classes: tuple[Any, ...] = (0, 1), rows: int = 160, **settings: Any) -> JobFolder:
        """Write three channels, and the settings of a small job that trains in one or two seconds."""
        for seed, (name, share) in enumerate({"train": 1.0, "val": 0.3, "test": 0.3}.items()):
            self.channel(name, shop_rows(int(rows * share), seed, classes))
        return self.settings(**{"num_classes": len(classes), **settings})

    def settings(self, **changes: Any) -> JobFolder:
        """Write hyperparameters.json of a new job in the encoding of version 2 of the SDK; None removes a key."""
        shutil.rmtree(self.root / "checkpoints", ignore_errors=True)
        values = {
            "model_class": "multimodal_cnn",
            "id_name": "id",
            "text_name": "message",
            "label_name": "target",
            "cat_field_list": ["country"],
            "tab_field_list": ["price", "visits"],
            "num_classes": 2,
            "tokenizer": "word",
            "embedding_dim": 8,
            "hidden_common_dim": 16,
            "num_channels": [8],
            "max_epochs": 2,
            "batch_size": 16,
            "max_sen_len": 32,
            "onnx": "off",  # half the time of such a job; tests that read model.onnx require it
            **changes,
        }
        path = self.root / "input/config/hyperparameters.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({key: json.dumps(value) for key, value in values.items() if value is not None}))
        return self

    def run(self) -> int:
        """Run the job in this process and return its exit status."""
        from fusionzoo.sagemaker import run_job
        from fusionzoo.training.launch import run_training

        return run_job(
            run_training, {"SAGEMAKER_BASE_DIR": str(self.root), "FUSIONZOO_CACHE": os.environ["FUSIONZOO_CACHE"]}
        )

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def output(self) -> Path:
        return self.root / "output/data"

    @property
    def failure(self) -> str:
        """The reason that SageMaker would show: the first 1,024 characters of the failure file."""
        return (self.root / "output/failure").read_text()[:1024]
