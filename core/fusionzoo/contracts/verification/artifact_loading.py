"""Load artifacts in a process of their own: a damaged file may crash the library that reads it.

Reads a JSON list of paths from standard input, and writes a JSON list of results. No file is unpickled.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOADED, FAILED, SKIPPED = "loaded", "failed", "skipped"


def load_artifact(path: Path) -> tuple[str, str]:
    """Return whether a file could be loaded, and with what or why not."""
    loader = _find_loader(path.name)
    if loader is None:
        return SKIPPED, f"there is no loader for {path.suffix or path.name}"
    try:
        return LOADED, loader(path)
    except ImportError as error:
        return SKIPPED, f"{error.name} is not installed"
    except Exception as error:  # noqa: BLE001 - each library has its own exceptions for a damaged file
        return FAILED, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _load_torch(path: Path) -> str:
    import torch

    torch.load(path, map_location="cpu", weights_only=True)
    return "torch.load(weights_only=True)"


def _check_onnx(path: Path) -> str:
    import onnx

    onnx.checker.check_model(str(path))
    return "onnx.checker"


def _load_json(path: Path) -> str:
    json.loads(path.read_text("utf-8"))
    return "json"


def _load_json_lines(path: Path) -> str:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            json.loads(line)
    return "json, line by line"


def _load_text(path: Path) -> str:
    return f"UTF-8 text, {len(path.read_text('utf-8'))} characters"


def _load_csv(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = sum(1 for _ in csv.reader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True))
    return f"csv, {rows} lines"


def _load_parquet(path: Path) -> str:
    import pyarrow.parquet as pq

    return f"pyarrow, {pq.read_table(path).num_rows} rows"


def _load_numpy(path: Path) -> str:
    import numpy as np

    loaded: Any = np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        for name in loaded:
            loaded[name]
    return "numpy"


def _load_image(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        image.verify()
    return "Pillow"


def _load_events(path: Path) -> str:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    count = sum(1 for _ in EventFileLoader(str(path)).Load())
    return f"tensorboard, {count} events"


_LOADERS: dict[str, Callable[[Path], str]] = {
    ".ckpt": _load_torch,
    ".csv": _load_csv,
    ".json": _load_json,
    ".jsonl": _load_json_lines,
    ".npy": _load_numpy,
    ".npz": _load_numpy,
    ".onnx": _check_onnx,
    ".parquet": _load_parquet,
    ".png": _load_image,
    ".pt": _load_torch,
    ".pth": _load_torch,
    ".tsv": _load_csv,
    ".txt": _load_text,
    ".yaml": _load_text,
}


def _find_loader(name: str) -> Callable[[Path], str] | None:
    return _load_events if ".tfevents." in name else _LOADERS.get(Path(name).suffix.lower())


if __name__ == "__main__":
    json.dump([load_artifact(Path(path)) for path in json.load(sys.stdin)], sys.stdout)
