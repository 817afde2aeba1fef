"""A frozen text encoder runs once per row, and what comes out is the same as if it ran in each epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fusionzoo.architecture import Architecture, BuiltModel, choose_architecture
from fusionzoo.artifacts import model_folder
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.nn.inference import predict_proba
from fusionzoo.nn.recipes import TextClassifier
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.settings import TextSettings
from fusionzoo.training import fit, precision, prepare_data
from fusionzoo.training.checkpointing import best_checkpoints
from fusionzoo.training.checkpointing.random_state import seed_everything
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.frozen import features, probe
from fusionzoo.training.training_run import TrainingRun
from shop import TINY_BERT, JobFolder, shop_rows

FROZEN: dict[str, Any] = {
    "text_encoder": "bert",
    "encoder_config": TINY_BERT,
    "freeze_text_encoder": True,
    "num_channels": None,
    "precision": "32",
    "max_sen_len": 8,  # several chunks per row
    "max_total_chunks": 3,
}
MODELS = ("multimodal_bert", "bert", "multimodal_gate_fusion", "multimodal_moe", "multimodal_cross_attn")
TOKENS_TOO = "multimodal_cross_attn"


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclass
class Work:
    """What a job has before it trains."""

    paths: Paths
    architecture: Architecture
    data: prepare_data.TrainingData
    built: BuiltModel

    @property
    def run(self) -> TrainingRun:
        return TrainingRun(self.paths, self.architecture, self.built, self.data)

    @property
    def encoder(self) -> nn.Module:
        assert self.built.text_encoder is not None
        return self.built.text_encoder

    def encode_once(self, chosen: precision.Precision = "32-true") -> dict[str, features.SplitFeatures]:
        return fit.encode_frozen_text(self.run, chosen)

    def fit(self) -> int:
        """Train; returns how many rows the encoder was run on."""
        with counted(self.encoder) as rows:
            fit.fit(self.run)
        return sum(rows)


@contextmanager
def counted(encoder: nn.Module) -> Iterator[list[int]]:
    """Numbers of rows that the encoder's class was run on."""
    rows: list[int] = []
    kind, forward = type(encoder), type(encoder).forward

    def counting(self: nn.Module, batch: Batch) -> TextFeatures:
        rows.append(batch.rows)
        return forward(self, batch)  # type: ignore[no-any-return]

    kind.forward = counting  # type: ignore[method-assign]
    try:
        yield rows
    finally:
        kind.forward = forward  # type: ignore[method-assign]


def work(folder: JobFolder) -> Work:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(folder.root), **os.environ})
    architecture = choose_architecture(read_hyperparameters(paths))
    data = prepare_data.prepare_data(paths, architecture)
    seed_everything(architecture.job.seed)
    return Work(paths, architecture, data, architecture.build(data.spec, pretrained=True))


def entries(cache: Path) -> set[str]:
    """Those entries of the cache that hold features."""
    return {path.parent.name for path in cache.glob("*/pooled.bin")}


def scores(folder: JobFolder, split: str) -> np.ndarray:
    frame = pd.read_parquet(folder.output / f"{split}_predictions.parquet")
    return frame[[name for name in frame if name.startswith("prob_")]].to_numpy(np.float64)


def run_both_ways(folder: JobFolder, **settings: Any) -> list[tuple[np.ndarray, dict[str, Tensor]]]:
    """Val scores and checkpoint of a training whose encoder runs once, and of one whose encoder runs in each epoch."""
    found = []
    for once in (True, False):
        folder.fill(**{**FROZEN, "encode_once": once, "max_epochs": 3, **settings})
        trained = work(folder)
        trained.fit()
        weights = torch.load(trained.paths.checkpoints / "best.ckpt", weights_only=True)["state_dict"]
        best_checkpoints.load_best(trained.paths.checkpoints, trained.built.model)
        found.append((predict_proba(trained.built.model, trained.data.splits["val"], 16), weights))
    return found


@pytest.mark.parametrize("model_class", MODELS)
def test_scores_are_those_of_a_job_that_runs_the_encoder_in_each_epoch(
    model_class: str, job: JobFolder, caplog: pytest.LogCaptureFixture, empty_cache: Path
) -> None:
    caplog.set_level("INFO")
    (once, weights), (each, others) = run_both_ways(job, model_class=model_class)
    assert caplog.text.count("the frozen text encoder runs once") == 2  # for train and val, in one training
    assert len(entries(empty_cache)) == 2
    assert np.abs(once - each).max() <= 1e-6
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        if "text_encoder" in name:
            assert torch.equal(value, others[name])
        else:
            assert torch.allclose(value, others[name], atol=1e-5)


def test_in_bfloat16_scores_are_the_same_within_its_precision(job: JobFolder) -> None:
    for model_class in ("multimodal_bert", TOKENS_TOO):
        (once, _), (each, _) = run_both_ways(job, model_class=model_class, precision="bf16")
        assert np.abs(once - each).max() <= 0.02


def test_the_artifacts_hold_the_encoder_and_score_as_the_trained_model(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert")
    assert job.run() == 0
    model, _ = model_folder.load_model(job.model)
    found = work(job)
    assert model.state_dict().keys() == found.built.model.state_dict().keys()
    assert "forward" not in vars(model.get_submodule("towers.text_encoder"))
    assert np.abs(predict_proba(model, found.data.splits["val"], 7) - scores(job, "val")).max() < 1e-6


def test_the_encoder_runs_once_per_row_and_in_a_second_job_only_on_a_few(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=4)
    few = 3 * probe.MOST_ROWS  # on which it is tried
    rows = 160 + 48
    assert rows <= work(job).fit() <= rows + few
    assert 0 < work(job).fit() <= few
    job.settings(**FROZEN, model_class="multimodal_gate_fusion", tab_field_list=["price"], max_epochs=1, lr=0.5)
    assert work(job).fit() <= few, "another model on another table, over the same encoder and texts"
    job.settings(**FROZEN, model_class="multimodal_bert", encode_once=False, max_epochs=4)
    assert work(job).fit() == 4 * rows


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
def test_features_of_another_encoder_or_text_are_made_anew(
    change: dict[str, Any], job: JobFolder, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: frozenset({"avx512_bf16"}))
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=1)
    work(job).fit()
    assert len(entries(empty_cache)) == 2
    job.settings(**{**FROZEN, **change}, model_class="multimodal_bert", max_epochs=1)
    work(job).fit()
    assert len(entries(empty_cache)) == 4


def test_features_of_other_rows_are_made_anew_and_those_of_the_same_rows_are_not(
    job: JobFolder, empty_cache: Path
) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", max_epochs=1)
    work(job).fit()
    job.channel("val", shop_rows(48, 1)[::-1])
    work(job).fit()
    assert len(entries(empty_cache)) == 3


def test_features_of_tokens_are_made_for_a_model_that_reads_them_after_one_that_does_not(job: JobFolder) -> None:
    for model_class in ("multimodal_bert", TOKENS_TOO, "multimodal_bert"):
        job.fill(**FROZEN, model_class=model_class)
        kept = work(job).encode_once()
        assert all((kept[name].tokens is not None) == (model_class == TOKENS_TOO) for name in ("train", "val"))


def test_an_encoder_that_learns_is_left_alone(job: JobFolder, empty_cache: Path) -> None:
    job.fill(**{**FROZEN, "freeze_text_encoder": False}, model_class="multimodal_bert", max_epochs=2)
    found = work(job)
    assert found.encode_once() == {}
    assert found.fit() == 2 * (160 + 48)
    assert not entries(empty_cache)
    tuned = work(job)
    next(tuned.encoder.parameters()).requires_grad_(False)
    assert not features.is_frozen(tuned.encoder), "a part of it learns"
    assert tuned.encode_once() == {}


def test_features_are_not_used_where_training_hides_texts(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_bert", modality_dropout=0.5)
    assert work(job).encode_once() == {}
    job.fill(**FROZEN, model_class="multimodal_bert")
    assert set(work(job).encode_once()) == {"train", "val"}


def batches(found: Work, kept: dict[str, features.SplitFeatures]) -> list[tuple[Batch, Batch]]:
    """The training and validation batches with features, each beside the one without."""
    splits = found.data.splits["train"], found.data.splits["val"], found.architecture.job
    modules = SplitsDataModule(*splits, features=kept), SplitsDataModule(*splits)
    loaders = [[*module.train_dataloader(), *module.val_dataloader()] for module in modules]
    return list(zip(*loaders, strict=True))


@pytest.mark.parametrize("model_class", ["multimodal_bert", TOKENS_TOO])
@pytest.mark.parametrize("chosen", ["32-true", "bf16-mixed"])
def test_batches_come_in_the_same_order_with_the_features_of_their_rows(
    model_class: str, chosen: precision.Precision, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK_TOKENS", 200)  # many blocks
    job.fill(**FROZEN, model_class=model_class)
    found = work(job)
    kept = found.encode_once(chosen)
    assert len(features._neighbours(found.data.splits["train"])) > 5
    assert set(kept) == {"train", "val"}
    assert isinstance(kept["train"].pooled.base, np.memmap)
    tolerance = 1e-6 if chosen == "32-true" else 0.05
    found.encoder.eval()
    from_mixed, from_float = 0.0, 0.0
    for with_features, without in batches(found, kept):
        assert torch.equal(with_features.row, without.row)
        assert torch.equal(with_features.categories, without.categories)
        with torch.no_grad(), precision.autocast(chosen, torch.device("cpu")):
            expected = found.encoder(without)
            with features.replaced_encoder(found.encoder):
                given = found.encoder(with_features)
        from_float += float((given.pooled - found.encoder(without).pooled).abs().mean())
        from_mixed += float((given.pooled - expected.pooled).abs().mean())
        assert given.pooled.dtype == expected.pooled.dtype
        assert torch.allclose(given.pooled, expected.pooled, atol=tolerance)
        if model_class == TOKENS_TOO:
            real = without.token_mask
            assert torch.equal(given.mask, real)
            assert torch.equal(given.chunk_row, without.chunk_row)
            assert given.tokens.dtype == expected.tokens.dtype
            assert torch.allclose(given.tokens[real], expected.tokens[real], atol=tolerance)
            assert not given.tokens[~real].any()
        else:
            assert with_features.tokens is None, "a model that reads no tokens is given none"
            assert given.tokens is None
    assert chosen == "32-true" or from_mixed < 0.5 * from_float, "the job's own precision made them"


class Bag(nn.Module):
    """A frozen encoder: the mean of random word vectors; what is done to them decides whether it can be kept."""

    dim = 6

    def __init__(self, change: Callable[[Batch, Tensor], Tensor] | nn.Module | None = None, half: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(500, self.dim)
        self.change, self.half = change, half
        self.requires_grad_(False)

    def forward(self, batch: Batch) -> TextFeatures:
        tokens = self.words(batch.tokens) * batch.token_mask.unsqueeze(-1)
        pooled = torch.zeros(batch.rows, self.dim).index_add(0, batch.chunk_row, tokens.sum(dim=1))
        if isinstance(self.change, nn.Module):
            pooled = self.change(pooled)
        elif self.change is not None:
            pooled = self.change(batch, pooled)
        tokens = tokens.bfloat16() if self.half else tokens
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)


class Reader(TextClassifier):
    """Reads also the tokens of the batch."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + batch.tokens.sum()


class Rewriter(TextClassifier):
    """Shows its encoder another text."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(replace(batch, tokens=batch.tokens.clamp_max(3)) if self.training else batch)


def bag(folder: JobFolder, encoder: nn.Module, kind: type[TextClassifier] = TextClassifier) -> Work:
    """The job's work with another encoder in it."""
    found = work(folder.fill(**FROZEN, model_class="bert"))
    return replace(found, built=BuiltModel(kind(found.data.spec, TextSettings(), encoder), encoder))


@pytest.mark.parametrize(
    ("encoder", "kind", "reason"),
    [
        (Bag(nn.Dropout(0.3)), TextClassifier, probe.ENCODER_IS_UNSTEADY),
        (Bag(nn.BatchNorm1d(6)), TextClassifier, probe.ENCODER_IS_UNSTEADY),
        (Bag(lambda batch, pooled: pooled - pooled.mean(dim=0)), TextClassifier, probe.ENCODER_IS_UNSTEADY),
        (Bag(lambda batch, pooled: pooled + batch.numbers.sum()), TextClassifier, "'numbers'"),
        (Bag(), Rewriter, probe.MODEL_CHANGES_THE_BATCH),
    ],
    ids=["dropout", "batch_norm", "rows_mixed", "reads_the_table", "text_rewritten"],
)
def test_where_features_cannot_stand_in_a_warning_says_why_and_the_encoder_runs_in_each_epoch(
    encoder: nn.Module,
    kind: type[TextClassifier],
    reason: str,
    job: JobFolder,
    caplog: pytest.LogCaptureFixture,
    empty_cache: Path,
) -> None:
    found = bag(job, encoder.requires_grad_(False), kind)
    before = {name: value.clone() for name, value in found.built.model.state_dict().items()}
    assert found.encode_once() == {}
    assert "runs in each epoch" in caplog.text
    assert reason in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in found.built.model.state_dict().items())
    assert not entries(empty_cache)


def test_a_model_that_reads_the_batchs_tokens_itself_is_given_them(job: JobFolder) -> None:
    found = bag(job, Bag(), Reader)
    kept = found.encode_once()
    assert kept["train"].tokens is None
    for with_features, without in batches(found, kept):
        assert torch.equal(with_features.tokens, without.tokens)
        with features.replaced_encoder(found.encoder):
            given = found.built.model.eval()(with_features)
        assert torch.allclose(given, found.built.model(without), atol=1e-6)


def test_features_in_bfloat16_are_kept_to_the_bit(job: JobFolder) -> None:
    class TokenReader(TextClassifier):
        def forward(self, batch: Batch) -> Tensor:
            made = self.text_encoder(batch)
            return self.classify(made.pooled + made.tokens.float().sum())

    found = bag(job, Bag(half=True), TokenReader)
    kept = found.encode_once()
    assert kept["train"].tokens is not None
    assert kept["train"].tokens.itemsize == 2
    for with_features, without in batches(found, kept):
        with features.replaced_encoder(found.encoder):
            given = found.encoder(with_features).tokens
        assert given.dtype == torch.bfloat16
        assert torch.equal(given, found.encoder(without).tokens)


def test_random_numbers_and_the_models_mode_are_left_as_they_were(job: JobFolder) -> None:
    job.fill(**FROZEN, model_class="multimodal_moe")
    found = work(job)
    found.built.model.train()
    modes = [part.training for part in found.built.model.modules()]
    state = torch.get_rng_state()
    assert found.encode_once()
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in found.built.model.modules()] == modes
    assert "forward" not in vars(found.encoder)


def test_a_job_whose_cache_cannot_be_written_holds_pooled_features_in_memory(
    job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "file"))
    job.fill(**FROZEN, model_class="multimodal_bert")
    found = work(job)
    caplog.clear()
    kept = found.encode_once()
    assert "held in memory" in caplog.text
    assert "FUSIONZOO_CACHE" in caplog.text
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "cache"))
    other = work(job).encode_once()
    assert all(np.array_equal(kept[name].pooled, other[name].pooled) for name in ("train", "val"))
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "file"))
    job.settings(**FROZEN, model_class=TOKENS_TOO)
    caplog.clear()
    assert work(job).encode_once() == {}
    assert "it runs in each epoch" in caplog.text


def test_features_for_which_the_disk_has_no_room_are_not_begun(
    job: JobFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, empty_cache: Path
) -> None:
    job.fill(**FROZEN, model_class=TOKENS_TOO)
    found = work(job)
    tokens, rows = len(found.data.splits["train"].tokens), len(found.data.splits["train"])
    needed = (tokens + rows) * TINY_BERT["hidden_size"] * 4
    monkeypatch.setattr(features, "free_space", lambda _: needed - 1)
    with counted(found.encoder) as ran:
        assert found.encode_once() == {}
    assert sum(ran) <= 3 * probe.MOST_ROWS
    assert "No space left on device" in caplog.text
    assert not entries(empty_cache)
    monkeypatch.setattr(features, "free_space", lambda _: needed)
    assert found.encode_once()
    sizes = {path.stat().st_size for path in empty_cache.glob("*/tokens.bin")}
    assert tokens * TINY_BERT["hidden_size"] * 4 in sizes


def test_kept_features_that_are_not_the_encoders_are_not_used(
    job: JobFolder, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Bag()
    found = bag(job, encoder)
    assert found.encode_once()
    encoder.change = lambda batch, pooled: pooled + 1  # as if by another module, whose source is not in the key
    assert found.encode_once() == {}
    assert "not what it computes now" in caplog.text
    assert str(empty_cache) in caplog.text
