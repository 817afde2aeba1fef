"""Results of benchmarks/quality.py for the tests of its pages, and its modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
LATE, GATE, CROSS = "multimodal_bert", "multimodal_gate_fusion", "multimodal_cross_attn"
LINEAR, LINEAR_TEXT = "tfidf with table", "tfidf of text"
BASELINES = (LINEAR, LINEAR_TEXT)
MACHINE = {
    "device": "cpu",
    "machine": "a CPU",
    "threads": 1,
    "versions": {"torch": "2.13.0", "xgboost": None},
    "commit": "abc1234",
}


def load_benchmark(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """Import a module of benchmarks/."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(name)


def result(model: str, data: str = "demo", seed: int = 0, metric: float | None = 0.9, **others: Any) -> dict[str, Any]:
    """Return a line of the results file: of a model over `bert` on 2,000 rows, if `others` does not say otherwise."""
    return {
        "model_class": model,
        "text_encoder": "bert",
        "takes_text_encoder": model not in (LATE, "bert", "cnn"),
        "variant": "",
        "settings": {},
        "data": data,
        "rows": 2_000,
        "seed": seed,
        "reads": ["table", "text"],
        "metrics": {"auroc": metric, "average_precision": 0.8, "f1_score": 0.7, "log_loss": 0.5},
        "best_auroc": 0.95,
        "parameters": 22_900_000,
        "trainable": 22_900_000,
        "precision": "bf16-mixed",
        "epochs": 3,
        "steps": 189,
        "rows_per_second": 50.0,
        "rows_per_cpu_second": 20.0,
        "cpu_seconds": 100.0,
        "peak_mib": 1_500.0,
        **MACHINE,
        **others,
    }


def baseline(name: str, data: str = "demo", seed: int = 0, metric: float = 0.8, **others: Any) -> dict[str, Any]:
    """Return a line of the results file of a baseline."""
    record = result(name, data, seed, metric, text_encoder=None, takes_text_encoder=False, cpu_seconds=5.0, **others)
    for absent in ("parameters", "trainable", "precision", "epochs", "steps", "rows_per_second", "rows_per_cpu_second"):
        del record[absent]
    return record


def add_seeds(name: str, metrics: list[float], data: str = "demo", **others: Any) -> list[dict[str, Any]]:
    """Return one result per seed with these metrics."""
    make = baseline if name in BASELINES else result
    return [make(name, data, seed, metric, **others) for seed, metric in enumerate(metrics)]


def find_row(text: str, heading: str, *first: str) -> list[str]:
    """Return the cells of the only row below a heading that starts with these cells."""
    section = text.split(f"# {heading}\n")[1].split("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    (found,) = [cells for cells in rows if cells[: len(first)] == list(first)]
    return found
