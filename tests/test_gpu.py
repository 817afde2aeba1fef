"""What needs a GPU: bf16 on it, its memory, its agreement with onnxruntime on the CPU, and two processes with NCCL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusionzoo.serving.predictor import Predictor
from fusionzoo.training.precision import has_bf16
from process_helpers import (
    DETERMINISTIC,
    TRAIN_PY,
    copy_job,
    get_probabilities,
    read_log,
    read_metrics,
    read_predictions,
    run,
)
from shop import TINY_BERT, JobFolder, shop_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
BERT: dict[str, Any] = {"model_class": "multimodal_bert", "encoder_config": TINY_BERT, "num_channels": None}


def test_a_job_trains_on_the_gpu_and_onnxruntime_scores_the_same_on_the_cpu(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).fill(**BERT, max_epochs=1, devices=1, precision="bf16")
    assert job.run() == 0
    metrics = read_metrics(job)
    assert metrics["training"]["precision"] == ("bf16-mixed" if has_bf16() else "32-true")
    assert metrics["run"]["peak_gpu_memory_bytes"] > 0
    val = shop_rows(48, seed=1)
    expected = get_probabilities(Predictor.load(job.model).predict(val))
    assert np.abs(get_probabilities(read_predictions(job, "val")) - expected).max() < 1e-4


def test_a_job_on_the_gpu_starts_from_its_checkpoint(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).fill(**BERT, max_epochs=1, devices=1)
    assert job.run() == 0
    steps = read_metrics(job)["training"]["steps"]
    longer = copy_job(job, tmp_path / "longer", max_epochs=2)
    (job.root / "checkpoints").rename(longer.root / "checkpoints")
    assert longer.run() == 0
    assert read_metrics(longer)["training"]["steps"] == 2 * steps
    assert read_metrics(longer)["run"]["rows"] == 160  # of the second epoch only


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has fewer than two GPUs")
def test_two_gpus_train_the_model_of_one(tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(**DETERMINISTIC, devices=1)
    two = copy_job(one, tmp_path / "two", devices=2)
    assert run(one, program=[str(TRAIN_PY)]) == 0, read_log(one)
    assert run(two, program=[str(TRAIN_PY)]) == 0, read_log(two)
    assert read_metrics(two)["run"]["processes"] == 2
    for split in ("val", "test"):
        of_one, of_two = (get_probabilities(read_predictions(job, split)) for job in (one, two))
        assert np.abs(of_one - of_two).max() < 1e-3  # kernels on a GPU add in any order
