"""A small training job over text and a table, with the hyperparameters that the contract names."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SPLIT_ROWS: Mapping[str, int] = {"train": 64, "val": 24, "test": 24}
PART_FILES = 2
CONFIG_PATH = "input/config/hyperparameters.json"
SAMPLE_PATHS = frozenset({*(f"input/data/{split}" for split in SPLIT_ROWS), CONFIG_PATH})
HYPERPARAMETERS: Mapping[str, Any] = {
    "model_class": "multimodal_cnn",  # needs no pretrained weights
    "id_name": "id",
    "text_name": "text_field",
    "label_name": "target",
    "num_classes": 2,
    "is_binary": True,
    "tab_field_list": ["feature1", "feature2"],
    "cat_field_list": ["category1"],
    "max_sen_len": 32,
    "batch_size": 16,
    "max_epochs": 1,
    "hidden_common_dim": 16,
}
_WORDS = ("late broken awful refund never", "fine quick friendly thanks great")
_CATEGORIES = ("de", "fr", "it", "us")


def write_sample_job(root: Path) -> None:
    """Write three channels of CSV files, and hyperparameters.json, below SageMaker's root folder.

    Each value of hyperparameters.json is JSON in a string, as SageMaker writes it. The data is the same in every call.
    """
    generator = random.Random(0)
    for split, rows in SPLIT_ROWS.items():
        folder = root / "input/data" / split
        folder.mkdir(parents=True)
        for part in range(PART_FILES):
            with (folder / f"part-{part:05d}.csv").open("w", encoding="utf-8", newline="") as stream:
                records = list(_draw_rows(generator, f"{split}-{part}", rows // PART_FILES))
                writer = csv.DictWriter(stream, list(records[0]))
                writer.writeheader()
                writer.writerows(records)
    config = root / CONFIG_PATH
    config.parent.mkdir(parents=True)
    texts = {name: json.dumps(value) for name, value in HYPERPARAMETERS.items()}
    config.write_text(json.dumps(texts, indent=2), "utf-8")


def _draw_rows(generator: random.Random, prefix: str, count: int) -> Iterator[dict[str, Any]]:
    for i in range(count):
        target = i % 2  # each class in every part
        words = generator.sample(_WORDS[target].split(), 3)
        yield {
            "id": f"{prefix}-{i}",
            "text_field": f"order {generator.randrange(1000)} was {' '.join(words)}",
            "feature1": round(generator.gauss(target, 1.0), 4),
            "feature2": generator.randrange(10),
            "category1": generator.choice(_CATEGORIES),
            "target": target,
        }
