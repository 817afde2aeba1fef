"""A frozen text encoder runs once per row, and the result is the same as if it ran in each epoch."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from conftest import Installer
from frozen_helpers import FROZEN, MODEL_WITH_TOKENS, MODELS, cached_features, count_encoded_rows, prepare_job
from fusionzoo.artifacts import model_folder
from fusionzoo.nn.inference import predict_scores
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
from fusionzoo.training import precision
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.frozen import features, probe
from shop import TINY_BERT, JobFolder, shop_rows


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def read_scores(folder: JobFolder, split: str) -> np.ndarray:
    frame = pd.read_parquet(folder.output / f"{split}_predictions.parquet")
    return frame[[name for name in frame if name.startswith("prob_")]].to_numpy(np.float64)


def run_both_ways(folder: JobFolder, **settings: Any) -> list[tuple[np.ndarray, dict[str, Tensor]]]:
    """Return val scores and weights of two trainings: the encoder runs once, and in each epoch."""
    results = []
    for once in (True, False):
        folder.fill(**{**FROZEN, "encode_once": once, "max_epochs": 3, **settings})
        trained = prepare_job(folder)
        trained.fit()
        weights = torch.load(trained.paths.checkpoints / "best.ckpt", weights_only=True)["state_dict"]
        best_checkpoints.load_best(trained.paths.checkpoints, trained.built.model)
        results.append((predict_scores(trained.built.model, Softmax(), trained.data.splits["val"], 16), weights))
    return results


@pytest.mark.parametrize("model_class", MODELS)
def test_scores_equal_those_of_a_job_that_runs_the_encoder_in_each_epoch(
    model_class: str, job: JobFolder, caplog: pytest.LogCaptureFixture, empty_cache: Path
) -> None:
    caplog.set_level("INFO")
    (once, weights), (each, expected_weights) = run_both_ways(job, model_class=model_class)
    assert caplog.text.count("the frozen text encoder runs once") == 2  # for train and val, in one training
    assert len(cached_features(empty_cache)) == 2
    assert np.abs(once - each).max() <= 1e-6
    assert weights.keys() == expected_weights.keys()
    for name, value in weights.items():
        if "text_encoder" in name:
            assert torch.equal(value, expected_weights[name])
        else:
            assert torch.allclose(value, expected_weights[name], atol=1e-5)


def test_in_bfloat16_scores_are_equal_within_its_precision(job: JobFolder) -> None:
    for model_class in ("multimodal_bert", MODEL_WITH_TOKENS):
        (once, _), (each, _) = run_both_ways(job, model_class=model_class, precision="bf16")
        assert np.abs(once - each).max() <= 0.02


def test_the_artifacts_contain_the_encoder_and_score_like_the_trained_model(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert")
    assert job.run() == 0
    model, preprocessor = model_folder.load_model(job.model)
    link = make_link(choose_task(preprocessor))
    prepared = prepare_job(job)
    assert model.state_dict().keys() == prepared.built.model.state_dict().keys()
    assert "forward" not in vars(model.get_submodule("towers.text_encoder"))
    assert np.abs(predict_scores(model, link, prepared.data.splits["val"], 7) - read_scores(job, "val")).max() < 1e-6


def test_the_encoder_runs_once_per_row_and_in_a_second_job_on_a_few_rows_only(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=4)
    few = 3 * probe.MAX_ROWS  # of the probe
    rows = 160 + 48
    assert rows <= prepare_job(job).fit() <= rows + few
    assert 0 < prepare_job(job).fit() <= few
    job.settings(**FROZEN, model_class="multimodal_gate_fusion", tab_field_list=["price"], max_epochs=1, lr=0.5)
    assert prepare_job(job).fit() <= few, "another model on another table, over the same encoder and texts"
    job.settings(**FROZEN, model_class="multimodal_bert", encode_once=False, max_epochs=4)
    assert prepare_job(job).fit() == 4 * rows


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},  # other weights
        {"pooling": "first"},
        {"encoder_config": {**TINY_BERT, "num_attention_heads": 4}},  # the same weights
        {"max_total_chunks": 2},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_features_of_another_encoder_or_text_are_computed_again(
    change: dict[str, Any], job: JobFolder, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_read_cpu_flags", lambda: frozenset({"avx512_bf16"}))
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=1)
    prepare_job(job).fit()
    assert len(cached_features(empty_cache)) == 2
    job.settings(**{**FROZEN, **change}, model_class="multimodal_bert", max_epochs=1)
    prepare_job(job).fit()
    assert len(cached_features(empty_cache)) == 4


HELPED = """
from torch import nn
from acme_scale import SCALE
from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.recipes import Encoder
from fusionzoo.nn.schema import TextFeatures
from fusionzoo.settings import ModelSettings

class Settings(ModelSettings):
    needs = reads = frozenset({"text"})

class Words(nn.Module):
    def __init__(self, spec, settings):
        super().__init__()
        self.dim = 8
        self.words = nn.Embedding(spec.text.vocab_size, 8).requires_grad_(False)

    def forward(self, batch):
        tokens = self.words(batch.tokens)
        pooled = token_mean(tokens, batch.token_mask, batch.chunk_row, batch.rows)
        return TextFeatures(SCALE * tokens, batch.token_mask, batch.chunk_row, pooled)

encoder = Encoder(Settings, Words)
"""


def test_features_of_a_plugin_with_another_changed_file_are_computed_again(
    job: JobFolder, install: Installer, empty_cache: Path
) -> None:
    """Only its features of tokens change, which is not visible in those of rows."""
    install("acme-words", source=HELPED, text_encoders={"acme_words": "acme_words:encoder"})
    settings = {"model_class": "multimodal_cross_attn", "text_encoder": "acme_words", "num_channels": None}
    for number, scale in enumerate(("1.0", "50.0"), 1):
        for module in ("acme_words", "acme_scale"):
            sys.modules.pop(module, None)
        (install.folder / "acme_scale.py").write_text(f"SCALE = {scale}")
        importlib.invalidate_caches()
        job.fill(**settings, max_epochs=1)
        prepare_job(job).fit()
        assert len(cached_features(empty_cache)) == 2 * number
    sys.modules.pop("acme_scale")


def test_features_of_other_rows_are_computed_again_and_those_of_the_same_rows_are_not(
    job: JobFolder, empty_cache: Path
) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=1)
    prepare_job(job).fit()
    job.channel("val", shop_rows(48, 1)[::-1])
    prepare_job(job).fit()
    assert len(cached_features(empty_cache)) == 3


def test_features_of_tokens_are_computed_for_a_model_that_reads_them(job: JobFolder) -> None:
    for model_class in ("multimodal_bert", MODEL_WITH_TOKENS, "multimodal_bert"):
        job.fill(**FROZEN, model_class=model_class)
        stored = prepare_job(job).encode_once()
        assert all((stored[name].tokens is not None) == (model_class == MODEL_WITH_TOKENS) for name in ("train", "val"))


def test_a_trainable_encoder_runs_in_each_epoch(job: JobFolder, empty_cache: Path) -> None:
    job.fill(**{**FROZEN, "freeze_text_encoder": False}, model_class="multimodal_bert", max_epochs=2)
    prepared = prepare_job(job)
    assert prepared.encode_once() == {}
    assert prepared.fit() == 2 * (160 + 48)
    assert not cached_features(empty_cache)
    tuned = prepare_job(job)
    next(tuned.encoder.parameters()).requires_grad_(False)
    assert not features.is_frozen(tuned.encoder), "a part of it is trainable"
    assert tuned.encode_once() == {}


def test_features_are_not_used_with_modality_dropout(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", modality_dropout=0.5)
    assert prepare_job(job).encode_once() == {}
    job.fill(**FROZEN, model_class="multimodal_bert")
    assert set(prepare_job(job).encode_once()) == {"train", "val"}


def test_random_state_and_the_modes_of_the_model_are_preserved(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_moe")
    prepared = prepare_job(job)
    model = prepared.built.model.train()
    modes = [part.training for part in model.modules()]
    state = torch.get_rng_state()
    assert prepared.encode_once()
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model.modules()] == modes
    assert "forward" not in vars(prepared.encoder)


def test_without_a_writable_cache_pooled_features_stay_in_memory(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "file"))
    job.fill(**FROZEN, model_class="multimodal_bert")
    prepared = prepare_job(job)
    caplog.clear()
    in_memory = prepared.encode_once()
    assert "they stay in memory" in caplog.text
    assert "FUSIONZOO_CACHE" in caplog.text
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "cache"))
    cached = prepare_job(job).encode_once()
    assert all(np.array_equal(in_memory[name].pooled, cached[name].pooled) for name in ("train", "val"))
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "file"))
    job.settings(**FROZEN, model_class=MODEL_WITH_TOKENS)
    caplog.clear()
    assert prepare_job(job).encode_once() == {}
    assert "it runs in each epoch" in caplog.text


def test_features_that_do_not_fit_on_the_disk_are_not_computed(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, empty_cache: Path
) -> None:
    job.fill(**FROZEN, model_class=MODEL_WITH_TOKENS)
    prepared = prepare_job(job)
    tokens, rows = len(prepared.data.splits["train"].tokens), len(prepared.data.splits["train"])
    needed = (tokens + rows) * TINY_BERT["hidden_size"] * 4
    monkeypatch.setattr(features, "free_space", lambda _: needed - 1)
    with count_encoded_rows(prepared.encoder) as encoded:
        assert prepared.encode_once() == {}
    assert sum(encoded) <= 3 * probe.MAX_ROWS
    assert "No space left on device" in caplog.text
    assert not cached_features(empty_cache)
    monkeypatch.setattr(features, "free_space", lambda _: needed)
    assert prepared.encode_once()
    sizes = {path.stat().st_size for path in empty_cache.glob("*/tokens.bin")}
    assert tokens * TINY_BERT["hidden_size"] * 4 in sizes
