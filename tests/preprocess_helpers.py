"""Runs of the preprocessing in this process, and what they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fusionzoo.preprocessing.preprocess_script import run_preprocess_job
from shop import shop_rows

CHANNELS = ("train", "val", "test")
REPORTS = {"schema.json", "statistics.json", "suggested_hyperparameters.json"}
ARGUMENTS = {"label-name": "target", "id-name": "id", "val-fraction": "0.2", "test-fraction": "0.2"}


def run(root: Path, **arguments: str) -> int:
    """Preprocess what is in the input folder below `root`; the arguments add to `ARGUMENTS`."""
    given = {**ARGUMENTS, **{name.replace("_", "-"): text for name, text in arguments.items()}}
    return run_preprocess_job(lambda: given, {"SAGEMAKER_BASE_DIR": str(root)})


def write_input(root: Path, name: str, content: bytes) -> None:
    """Write a file into the input folder."""
    path = root / "processing/input" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_table(root: Path, columns: dict[str, Any] | pa.Table, name: str = "rows.parquet") -> None:
    """Write a Parquet file into the input folder."""
    path = root / "processing/input" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)


def read_channels(root: Path) -> dict[str, pa.Table]:
    """Return the rows of each channel."""
    folders = {name: root / "processing" / name for name in CHANNELS}
    return {name: pq.read_table(folder) for name, folder in folders.items() if any(folder.glob("*.parquet"))}


def read_all(root: Path) -> pd.DataFrame:
    """Return the rows of all channels, in the order of their ids."""
    return pa.concat_tables(read_channels(root).values()).to_pandas().sort_values("id", ignore_index=True)


def read_message(root: Path) -> str:
    """Return the first 1,024 characters of the message file, which are what SageMaker shows."""
    return (root / "output/message").read_text("utf-8")[:1024]


def list_outputs(root: Path) -> set[str]:
    """Return the files in the output folders, except those of an earlier run."""
    folders = [root / "processing" / name for name in (*CHANNELS, "report")]
    files = [path.relative_to(root) for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path) for path in files if "_earlier_run" not in path.parts}


def write_shop(root: Path, rows: int = 60) -> pd.DataFrame:
    """Write rows of the shop as CSV, and return them."""
    frame = shop_rows(rows)
    write_input(root, "rows.csv", frame.to_csv(index=False).encode())
    return frame
