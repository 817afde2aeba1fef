"""Stored features are used only if they are those of the frozen encoder in a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frozen_helpers import FROZEN, MODEL_WITH_TOKENS, PreparedJob, cached_features, pair_batches, prepare_job
from fusionzoo.architecture import BuiltModel
from fusionzoo.nn.recipes import TextClassifier
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.settings import TextSettings
from fusionzoo.training import precision
from fusionzoo.training.frozen import encoder_run, probe
from fusionzoo.training.frozen.feature_batches import replace_encoder
from shop import JobFolder


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FUSIONZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("model_class", ["multimodal_bert", MODEL_WITH_TOKENS])
@pytest.mark.parametrize("chosen", ["32-true", "bf16-mixed"])
def test_batches_keep_their_order_and_carry_the_features_of_their_rows(
    model_class: str, chosen: precision.Precision, job: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_run, "BLOCK_TOKENS", 200)  # many blocks
    job.fill(**FROZEN, model_class=model_class)
    prepared = prepare_job(job)
    stored = prepared.encode_once(chosen)
    assert len(encoder_run.split_into_blocks(prepared.data.splits["train"])) > 5
    assert set(stored) == {"train", "val"}
    assert isinstance(stored["train"].pooled.base, np.memmap)
    tolerance = 1e-6 if chosen == "32-true" else 0.05
    prepared.encoder.eval()
    from_mixed, from_float = 0.0, 0.0
    for with_features, without in pair_batches(prepared, stored):
        assert torch.equal(with_features.row, without.row)
        assert torch.equal(with_features.categories, without.categories)
        with torch.no_grad(), precision.autocast(chosen, torch.device("cpu")):
            expected = prepared.encoder(without)
            with replace_encoder(prepared.encoder):
                actual = prepared.encoder(with_features)
        from_float += float((actual.pooled - prepared.encoder(without).pooled).abs().mean())
        from_mixed += float((actual.pooled - expected.pooled).abs().mean())
        assert actual.pooled.dtype == expected.pooled.dtype
        assert torch.allclose(actual.pooled, expected.pooled, atol=tolerance)
        if model_class == MODEL_WITH_TOKENS:
            real = without.token_mask
            assert torch.equal(actual.mask, real)
            assert torch.equal(actual.chunk_row, without.chunk_row)
            assert actual.tokens.dtype == expected.tokens.dtype
            assert torch.allclose(actual.tokens[real], expected.tokens[real], atol=tolerance)
            assert not actual.tokens[~real].any()
        else:
            assert actual.tokens is None, "the model does not read features of tokens"
    assert chosen == "32-true" or from_mixed < 0.5 * from_float, "the features have the precision of the job"


class Bag(nn.Module):
    """A frozen encoder that sums random word vectors; `change` decides whether its features can be stored."""

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


class TokenIdReader(TextClassifier):
    """Reads the token ids of the batch, too."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(batch) + batch.tokens.sum()


class TextRewriter(TextClassifier):
    """Calls its encoder with another text."""

    def forward(self, batch: Batch) -> Tensor:
        return super().forward(replace(batch, tokens=batch.tokens.clamp_max(3)) if self.training else batch)


def prepare_with_encoder(
    folder: JobFolder, encoder: nn.Module, model_class: type[TextClassifier] = TextClassifier
) -> PreparedJob:
    """Prepare a job with another encoder in its model."""
    prepared = prepare_job(folder.fill(**FROZEN, model_class="multimodal_bert"))
    return replace(prepared, built=BuiltModel(model_class(prepared.data.spec, TextSettings(), encoder), encoder))


@pytest.mark.parametrize(
    ("encoder", "model_class", "reason"),
    [
        (Bag(nn.Dropout(0.3)), TextClassifier, probe.ENCODER_DEPENDS_ON_MODE),
        (Bag(nn.BatchNorm1d(6)), TextClassifier, probe.ENCODER_DEPENDS_ON_MODE),
        (Bag(lambda batch, pooled: pooled - pooled.mean(dim=0)), TextClassifier, probe.ENCODER_MIXES_ROWS),
        (
            Bag(lambda batch, pooled: pooled + batch.numbers[:, :1]),
            TextClassifier,
            probe.ENCODER_READS_MORE_THAN_TEXT,
        ),
        (
            Bag(lambda batch, pooled: pooled + batch.numbers.sum()),
            TextClassifier,
            f"{probe.ENCODER_MIXES_ROWS}. Also, {probe.ENCODER_READS_MORE_THAN_TEXT}",
        ),
        (Bag(), TextRewriter, probe.MODEL_CHANGES_BATCH),
    ],
    ids=["dropout", "batch_norm", "rows_mixed", "reads_the_table", "sums_the_table", "text_rewritten"],
)
def test_a_warning_says_why_the_encoder_must_run_in_each_epoch(
    encoder: nn.Module,
    model_class: type[TextClassifier],
    reason: str,
    job: JobFolder,
    caplog: pytest.LogCaptureFixture,
    empty_cache: Path,
) -> None:
    prepared = prepare_with_encoder(job, encoder.requires_grad_(False), model_class)
    weights = prepared.built.model.state_dict()
    before = {name: value.clone() for name, value in weights.items()}
    assert prepared.encode_once() == {}
    (warning,) = [record.getMessage() for record in caplog.records if "runs in each epoch" in record.getMessage()]
    assert warning.endswith(f"instead of once, because {reason}"), "this reason, and no other one"
    assert "Fix: " in reason
    assert all(torch.equal(value, before[name]) for name, value in weights.items())
    assert not cached_features(empty_cache)


def test_a_frozen_encoder_that_stays_in_evaluation_mode_runs_once(
    job: JobFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """The fix that the warning about dropout suggests."""

    class FrozenBag(Bag):
        def train(self, mode: bool = True) -> FrozenBag:
            super().train(False)
            return self

    assert prepare_with_encoder(job, FrozenBag(nn.Dropout(0.3))).encode_once()
    assert "runs in each epoch" not in caplog.text


def test_a_model_may_read_the_token_ids_of_the_batch(job: JobFolder) -> None:
    prepared = prepare_with_encoder(job, Bag(), TokenIdReader)
    stored = prepared.encode_once()
    assert stored["train"].tokens is None
    for with_features, without in pair_batches(prepared, stored):
        assert torch.equal(with_features.tokens, without.tokens)
        with replace_encoder(prepared.encoder):
            logits = prepared.built.model.eval()(with_features)
        assert torch.allclose(logits, prepared.built.model(without), atol=1e-6)


def test_features_in_bfloat16_are_stored_bit_identically(job: JobFolder) -> None:
    class TokenReader(TextClassifier):
        def forward(self, batch: Batch) -> Tensor:
            features = self.text_encoder(batch)
            return self.classify(batch, features.pooled + features.tokens.float().sum())

    prepared = prepare_with_encoder(job, Bag(half=True), TokenReader)
    stored = prepared.encode_once()
    assert stored["train"].tokens is not None
    assert stored["train"].tokens.itemsize == 2
    for with_features, without in pair_batches(prepared, stored):
        with replace_encoder(prepared.encoder):
            tokens = prepared.encoder(with_features).tokens
        assert tokens.dtype == torch.bfloat16
        assert torch.equal(tokens, prepared.encoder(without).tokens)


def test_stored_features_that_differ_from_those_of_the_encoder_are_not_used(
    job: JobFolder, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Bag()
    prepared = prepare_with_encoder(job, encoder)
    assert prepared.encode_once()
    encoder.change = lambda batch, pooled: pooled + 1  # as a change in another module would, which is not in the key
    assert prepared.encode_once() == {}
    assert "are not what it computes now" in caplog.text
    assert str(empty_cache) in caplog.text
