"""One run of benchmarks/quality.py, in a process of its own: a training job or a baseline, and its scores on val."""

from __future__ import annotations

import json
import logging
import os
import platform
import resource
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import threadpoolctl
import torch
from data_sets import DATA_SETS, DataSet, Size
from quality_baselines import BASELINE_FITS
from quality_results import BASELINES, Record, RunKey
from reviews import minilm
from stopwatch import PluginWithStopwatch, Stopwatch

from fusionzoo.architecture import choose_architecture
from fusionzoo.evaluation.report import METRICS_FILE, ScoredSplit
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training import job, precision, prepare_data

MAX_SEN_LEN = 128
LIBRARIES = ("torch", "lightning", "transformers", "scikit-learn", "xgboost-cpu")


def run(key: RunKey, data: DataSet) -> Record:
    """Train with the code of a job and score val; all files are temporary."""
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        paths = Paths(Path(folder), Path(folder) / "checkpoints", Path(folder) / "cache")
        data.write(paths, key.seed, Size(key.rows))
        clock = _Clock()
        record = (_run_baseline if key.model_class in BASELINES else _run_job)(key, data, paths)
        return {
            **key.as_json(),
            **record,
            **clock.read(),
            **describe_machine(),
            "best_auroc": data.compute_best_auroc(),
        }


def make_settings(key: RunKey, data: DataSet) -> dict[str, Any]:
    """Return the hyperparameters of a job: columns, text encoder, tokenizer and seed; the rest are defaults."""
    return {
        **data.columns,
        "model_class": key.model_class,
        "tokenizer": minilm() if key.text_encoder == "bert" else "word",
        "max_sen_len": MAX_SEN_LEN,
        "seed": key.seed,
        "onnx": "off",
        **({"text_encoder": key.text_encoder} if key.takes_text_encoder else {}),
        **key.settings,
    }


def _run_job(key: RunKey, data: DataSet, paths: Paths) -> Record:
    watch, architecture = Stopwatch(), choose_architecture(make_settings(key, data))
    plugin = PluginWithStopwatch(architecture.model, watch)
    report = job.train(paths, replace(architecture, model=plugin))
    if report is None:
        raise ValueError("this process is not the first one of its job")
    sections = json.loads((paths.output_data / METRICS_FILE).read_text("utf-8"))
    training, usage = sections["training"], sections["run"]
    return {
        "reads": sorted(architecture.hyperparameters.model.reads),
        "metrics": _select_metrics(data, report.metrics("val")),
        **{name: training[name] for name in ("precision", "epochs", "steps", "best")},
        "averaging": training.get("averaging"),
        "parameters": watch.parameters,
        "trainable": watch.trainable,
        "trained_rows": watch.rows,
        "rows_per_second": watch.rows / watch.seconds if watch.rows else None,
        "rows_per_cpu_second": watch.rows / watch.cpu_seconds if watch.rows else None,
        "padding": usage["padding"],
        "peak_gpu_mib": None if usage["peak_gpu_memory_bytes"] is None else usage["peak_gpu_memory_bytes"] / 2**20,
        "plugins": architecture.versions(),
    }


def _run_baseline(key: RunKey, data: DataSet, paths: Paths) -> Record:
    settings = {**make_settings(key, data), "model_class": "multimodal_cnn"}  # a class that reads text and table
    architecture = choose_architecture(settings)
    prepared = prepare_data.prepare_data(paths, architecture, needs_word_vectors=False)
    scores, chosen = BASELINE_FITS[key.model_class](prepared, key.seed)
    labels = prepared.splits["val"].labels
    if labels is None:
        raise ValueError("val has no labels")
    metrics = prepared.task.evaluate_split("val", ScoredSplit(labels, scores), key.model_class).metrics
    return {"reads": list(BASELINES[key.model_class]), "metrics": _select_metrics(data, metrics), "chosen": chosen}


def _select_metrics(data: DataSet, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: metrics[name] for name in DATA_SETS[data.name].metrics}


class _Clock:
    """Seconds, CPU seconds of this process and its children, and the peak of resident memory."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.monotonic(), _read_cpu_seconds()

    def read(self) -> Record:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux reports KiB
        seconds, cpu_seconds = time.monotonic() - self._began, _read_cpu_seconds() - self._cpu_began
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak}


def _read_cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def describe_machine() -> Record:
    """Return what the seconds depend on: the hardware, the number of threads and the versions."""
    has_gpu = torch.cuda.is_available()
    return {
        "device": "cuda" if has_gpu else "cpu",
        "machine": torch.cuda.get_device_name() if has_gpu else precision.describe_cpu(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{name: _find_version(name) for name in LIBRARIES}},
    }


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write_record(key: RunKey, threads: int | None, record: Path, output: Path) -> None:
    """Make a run in this process, write its record to a file, and all that it prints to another one."""
    with output.open("w", buffering=1) as file, redirect_stdout(file), redirect_stderr(file):
        for descriptor in (1, 2):  # of libraries that print without Python
            os.dup2(file.fileno(), descriptor)
        os.environ["HF_HUB_OFFLINE"] = "1"
        if threads is not None:
            os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
            threadpoolctl.threadpool_limits(threads)
            torch.set_num_threads(threads)
        logging.getLogger("fusionzoo").setLevel(logging.ERROR)
        try:
            record.write_text(json.dumps(run(key, DataSet.load(key.data))), "utf-8")
        except BaseException:
            traceback.print_exc()
            raise
