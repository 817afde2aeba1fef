"""Whole jobs with adapters: the model folder, a killed job, averaged checkpoints, `init_from`, several processes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel

from encoder_folders import save_encoder
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.serving.predictor import Predictor
from fusionzoo.training.checkpointing.checkpoint_io import load_weights as load_checkpoint
from fusionzoo.training.module import TrainingModule
from process_helpers import (
    DETERMINISTIC,
    assert_same_results,
    copy_job,
    get_probabilities,
    load_weights,
    read_log,
    read_metrics,
    read_predictions,
    run_forked,
    run_in_child,
)
from resume_helpers import copy_input, read_results, resume, run_until_killed
from shop import JobFolder, shop_rows

RANK, ALPHA = 4, 8.0
JOB = {
    "model_class": "multimodal_bert",
    "num_channels": None,
    "embedding_dim": None,
    "tokenizer": None,
    "peft": "lora",
    "peft_rank": RANK,
    "peft_alpha": ALPHA,
    "lr": 0.02,
    "max_epochs": 4,
    "early_stop_metric": "val/auroc",  # several checkpoints have 1.0, and so has their average
    "average_checkpoints": 3,
    "checkpoint_every_n_steps": 2,
}
ENCODER = "towers.text_encoder.backbone."


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    words = ["order", "box", "fine", "quick", "late", "broken", "awful", "friendly"]
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return save_encoder(tmp_path_factory.mktemp("encoder"), words=words, **no_dropout)


@pytest.fixture(scope="module")
def trained(encoder: str, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("trained")).fill(rows=80, encoder_name=encoder, onnx="required", **JOB)
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    return job


def strip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the pretrained encoder by its own names."""
    found = {name.partition("backbone.")[2]: value for name, value in weights.items() if "backbone." in name}
    assert found
    return found


def merge(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the floating-point weights of a checkpoint with the products of LoRA, W + alpha / rank * B A."""
    merged = {}
    for name, value in state.items():
        if ".lora_" in name or not value.is_floating_point():
            continue
        factors = [state.get(name.replace("base_layer.weight", f"lora_{f}.default.weight")) for f in "BA"]
        if name.endswith("base_layer.weight") and factors[0] is not None and factors[1] is not None:
            value = value + ALPHA / RANK * factors[0] @ factors[1]
        merged[name.replace("base_layer.", "")] = value
    return merged


def test_the_model_of_a_job_with_adapters_has_plain_weights_and_loads_without_peft(
    trained: JobFolder, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    model, _ = load_model(trained.model)
    weights, pretrained = strip(load_weights(trained)), AutoModel.from_pretrained(encoder).state_dict()
    assert strip(model.state_dict()).keys() == weights.keys() <= pretrained.keys()
    changed = {name for name, value in weights.items() if not torch.equal(value, pretrained[name])}
    linear = {name for name, value in pretrained.items() if value.ndim == 2 and "embeddings" not in name}
    assert changed == linear - {"pooler.dense.weight"}
    rows = shop_rows(int(0.3 * 80), 2).drop(columns="target")
    scores = Predictor.load(trained.model).predict_proba(rows)
    assert np.allclose(scores, get_probabilities(read_predictions(trained, "test")), atol=1e-5)


def test_the_average_of_checkpoints_is_that_of_their_merged_weights(trained: JobFolder) -> None:
    files = read_metrics(trained)["training"]["averaging"]["averaged"]
    assert len(files) > 1
    states = [load_checkpoint(trained.root / "checkpoints" / file) for file in files]
    merged = [merge(state) for state in states]
    expected = {name: torch.stack([state[name] for state in merged]).mean(dim=0) for name in merged[0]}
    weights = {name: value for name, value in load_weights(trained).items() if value.is_floating_point()}
    assert weights.keys() == expected.keys()
    assert all(torch.allclose(value, expected[name], atol=1e-6) for name, value in weights.items())
    means = {name: torch.stack([state[name].float() for state in states]).mean(dim=0) for name in states[0]}
    of_factors = merge(means)
    assert not all(torch.allclose(value, of_factors[name], atol=1e-4) for name, value in weights.items())


def test_the_log_states_what_is_trained(trained: JobFolder) -> None:
    log = read_log(trained)
    per_layer = 4 * (16 + 16) + 2 * (16 + 32)  # the inputs and outputs of a layer's linear layers
    adapters = 2 * RANK * per_layer
    assert f"peft lora: {adapters:,} trainable parameters in adapters of 12 linear layers" in log
    head = sum(
        v.numel() for name, v in load_weights(trained).items() if "backbone." not in name and "edges" not in name
    )
    trainable = int(log.partition(" parameters, ")[2].partition(" trainable")[0].replace(",", ""))
    assert adapters < trainable <= adapters + head


def test_a_killed_job_with_adapters_resumes_bit_identically(trained: JobFolder, tmp_path: Path) -> None:
    job = copy_input(trained, tmp_path)
    assert run_until_killed(job, TrainingModule, "training_step", 7) < 0
    assert "Resuming from" in resume(job)
    assert read_results(job) == read_results(trained)


@pytest.mark.parametrize("changes", [{"peft": None}, {"peft": "ia3"}])
def test_a_training_starts_from_a_model_that_was_trained_with_adapters(
    changes: dict[str, Any], trained: JobFolder, tmp_path: Path
) -> None:
    settings = {"max_epochs": 1, "onnx": "off", "average_checkpoints": 0, "init_from": str(trained.model)}
    job = copy_job(trained, tmp_path / "ml", **settings, **changes)
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    report = read_metrics(job)["training"]["init_from"]
    assert (report["new"], report["partly_reused"], report["not_used"]) == ({}, {}, [])
    first, second = (strip(load_weights(each)) for each in (trained, job))
    is_equal = [torch.equal(first[name], second[name]) for name in first if name.startswith("embeddings")]
    assert all(is_equal) == (changes["peft"] == "ia3")


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_the_same_adapters_as_one(strategy: str, encoder: str, tmp_path: Path) -> None:
    settings = {**JOB, **DETERMINISTIC, "encoder_dropout": None, "encoder_name": encoder, "strategy": strategy}
    one = JobFolder(tmp_path / "one").fill(rows=64, **{**settings, "lr": 0.001, "max_epochs": 1, "onnx": "off"})
    two = copy_job(one, tmp_path / "two")
    for job, processes in ((one, 1), (two, 2)):
        assert run_forked(job, processes) == 0, read_log(job)
    assert_same_results(two, one)
