"""The data set of the demo: part files of three channels, and the settings of a job that trains on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.demo.demo_targets import DEMO_TARGETS, compute_best_metrics
from fusionzoo.demo.orders import CATEGORIES, NUMBERS
from fusionzoo.demo.shop import ID, LABEL, SPLIT_SHARES, TEXT, count_split_rows, draw_rows
from fusionzoo.errors import DemoFolderError
from fusionzoo.evaluation.split_evaluation import Metrics

PART_FILES: Mapping[str, int] = {"train": 4, "val": 2, "test": 2}
TARGET_STREAM = 1  # the random numbers of the labels are not those of the rows
METADATA_KEY = b"fusionzoo.demo"  # in the metadata of every part file; only files that have it are ever replaced
COLUMN_SETTINGS: Mapping[str, Any] = {
    "id_name": ID,
    "text_name": TEXT,
    "cat_field_list": list(CATEGORIES),
    "tab_field_list": list(NUMBERS),
}
TRAINING_SETTINGS: Mapping[str, Any] = {"max_sen_len": 128, "max_epochs": 8}


@dataclass(frozen=True)
class DemoData:
    """The number of rows of each split, and its best possible metrics.

    `best_metrics` are those of the true function against the labels that were drawn from it, the bound for every model;
    they are None where a tiny split does not define them.
    """

    rows: Mapping[str, int]
    best_metrics: Mapping[str, Metrics]


def generate_demo_data(root: Path, rows: int, seed: int = 7, task: str = "classification") -> DemoData:
    """Write `rows` rows to the channels train, val and test in `root`, several Parquet parts each, 70/10/20.

    `task` is a key of `DEMO_TARGETS`. The same rows and seed give the same data on every machine. The parts of an
    earlier call are replaced.

    Raises:
        ValueError: `rows` is less than MIN_ROWS.
        fusionzoo.errors.DemoFolderError: a channel holds a file that no earlier call wrote; nothing is changed.
    """
    folders, old_parts = _channel_folders(root), list_demo_parts(root)
    rows_drawn, counts, target = draw_rows(rows, seed), count_split_rows(rows), DEMO_TARGETS[task]
    drawn = target.draw(rows_drawn, np.random.default_rng([seed, TARGET_STREAM]))
    table = rows_drawn.table.drop_columns([LABEL])
    for name, column in drawn.columns.items():
        table = table.append_column(name, pa.array(column))
    for path in old_parts:
        path.unlink()
    best_metrics, first = {}, 0
    for split, folder in folders.items():
        split_rows = slice(first, first + counts[split])
        _write_parts(folder, table.slice(first, counts[split]), PART_FILES[split])
        best_metrics[split] = compute_best_metrics(target, drawn, split_rows)
        first = split_rows.stop
    return DemoData(counts, best_metrics)


def list_demo_parts(root: Path) -> list[Path]:
    """Return the part files that an earlier call of `generate_demo_data` wrote.

    Raises:
        fusionzoo.errors.DemoFolderError: a channel holds a file that no earlier call wrote.
    """
    return [path for folder in _channel_folders(root).values() for path in _list_parts(folder)]


def _channel_folders(root: Path) -> dict[str, Path]:
    return {split: root / PYTORCH_TRAIN_CONTRACT.relative_path(f"{split}_data") for split in SPLIT_SHARES}


def write_hyperparameters(
    root: Path, model_class: str, overrides: Mapping[str, Any], task: str = "classification"
) -> Path:
    """Write the demo job's hyperparameters.json, each value as text, as SageMaker does. Return its path.

    `overrides` adds or replaces settings; a text in it is written unchanged.
    """
    settings = {"model_class": model_class, **COLUMN_SETTINGS, **DEMO_TARGETS[task].settings}
    settings |= {**TRAINING_SETTINGS, **overrides}
    path = root / PYTORCH_TRAIN_CONTRACT.relative_path("config")
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    path.write_text(json.dumps(texts, indent=2) + "\n", encoding="utf-8")
    return path


def _list_parts(folder: Path) -> list[Path]:
    """Return the part files that an earlier call wrote to a channel's folder; [] if the folder does not exist.

    Raises:
        fusionzoo.errors.DemoFolderError: the folder holds anything else.
    """
    if not folder.exists():
        return []
    paths = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    for path in paths:
        if not _is_demo_part(path):
            raise DemoFolderError(folder, path.name)
    return paths


def _is_demo_part(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.suffix != ".parquet":
        return False
    try:
        return METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _write_parts(folder: Path, table: pa.Table, parts: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({METADATA_KEY: b"1"})
    edges = np.linspace(0, len(table), parts + 1).astype(int).tolist()
    for part, (begin, end) in enumerate(pairwise(edges)):
        pq.write_table(table.slice(begin, end - begin), folder / f"part-{part:05d}.parquet")
