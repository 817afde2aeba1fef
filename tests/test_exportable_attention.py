"""Attention of torch's own modules: the function that replaces it in an export gives the same, and exports."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conftest import Installer
from correct_plugins import BOUNDED, TORCHS_TRANSFORMER, Mutant
from fusionzoo.artifacts.exportable_attention import exportable_attention
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder, shop_rows

DIM, HEADS = 8, 2
AXES = {0: "chunks", 1: "length"}


def random_inputs(chunks: int = 3, length: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Token features [chunks, length, dim], and a mask with one padded chunk."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.ones(chunks, length, dtype=torch.bool)
    mask[0, 2:] = False
    return torch.randn(chunks, length, DIM, generator=generator), mask


@pytest.mark.parametrize("need_weights", [False, True, "per head"])
@pytest.mark.parametrize("masks", ["none", "bool", "float", "causal", "per head"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"kdim": 4, "vdim": 6},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"batch_first": False},
    ],
    ids=str,
)
def test_the_attention_is_equal_to_torchs(options: dict[str, Any], masks: str, need_weights: bool | str) -> None:
    torch.manual_seed(1)
    attention = nn.MultiheadAttention(DIM, HEADS, **{"batch_first": True, **options}).eval()
    nn.init.normal_(attention.out_proj.weight)
    query, mask = random_inputs()
    key, value = query[..., : options.get("kdim", DIM)], query[..., : options.get("vdim", DIM)]
    arguments = {"need_weights": bool(need_weights), "average_attn_weights": need_weights is True, **MASKS[masks](mask)}
    if not attention.batch_first:
        query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    assert_equal_attention(attention, (query, key, value), arguments)


def causal(length: int) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(length)


MASKS = {
    "none": lambda mask: {},
    "bool": lambda mask: {"key_padding_mask": ~mask, "attn_mask": causal(mask.shape[1]) < 0},
    "float": lambda mask: {"key_padding_mask": 3.0 * mask, "attn_mask": causal(mask.shape[1])},
    "causal": lambda mask: {"attn_mask": causal(mask.shape[1]), "is_causal": True},
    "per head": lambda mask: {"attn_mask": torch.randn(len(mask) * HEADS, mask.shape[1], mask.shape[1])},
}


def assert_equal_attention(attention: nn.Module, inputs: tuple[Tensor, ...], arguments: Mapping[str, Any]) -> None:
    expected, expected_weights = attention(*inputs, **arguments)
    with exportable_attention(attention):
        output, weights = attention(*inputs, **arguments)
    assert torch.allclose(output, expected, atol=1e-6)
    assert (weights is None) == (expected_weights is None)
    assert weights is None or torch.allclose(weights, expected_weights, atol=1e-6)


@pytest.mark.parametrize("need_weights", [False, True])
def test_the_attention_of_one_text_without_a_batch_is_equal(need_weights: bool) -> None:
    query, mask = random_inputs()
    arguments = {"key_padding_mask": ~mask[0], "need_weights": need_weights}
    assert_equal_attention(nn.MultiheadAttention(DIM, HEADS).eval(), (query[0],) * 3, arguments)


class Decoder(nn.Module):
    """Every text reads itself from left to right, and its neighbors in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(DIM, HEADS, 16, batch_first=True)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        allowed = causal(tokens.shape[1])
        decoded: Tensor = self.layer(
            tokens, tokens, tgt_mask=allowed, tgt_key_padding_mask=(~mask).float(), memory_key_padding_mask=~mask
        )
        return decoded


class Encoder(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        encoded: Tensor = self.attention(tokens, src_key_padding_mask=~mask)
        return encoded


class CausalEncoder(nn.Module):
    """A mask of its own, which torch recognizes as causal, and no padding mask."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(layer(), 1)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        encoded: Tensor = self.encoder(tokens * mask[..., None], mask=causal(tokens.shape[1]))
        return encoded


class Subclass(nn.MultiheadAttention):
    """Attention that takes the tokens once, as plugins write it."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(tokens, tokens, tokens, key_padding_mask=~mask)[0]


# Versions of torch without this argument have only this exporter.
EXPORTER: Mapping[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def uses_fast_path() -> bool | None:
    """Return whether torch's own fast path is on; None for versions of torch without this switch."""
    return bool(torch.backends.mha.get_fastpath_enabled()) if hasattr(torch.backends, "mha") else None


def layer(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(DIM, HEADS, 16, batch_first=True, **options)


@pytest.mark.parametrize(
    "module",
    [
        Encoder(nn.TransformerEncoder(layer(), 2)),
        Encoder(nn.TransformerEncoder(layer(), 2)).requires_grad_(False),  # torch would use its fast path
        Encoder(layer(norm_first=True, activation="gelu")),
        Decoder(),
        CausalEncoder(),
        Subclass(DIM, HEADS, batch_first=True, add_bias_kv=True),
        Subclass(DIM, HEADS, batch_first=True, add_zero_attn=True),
    ],
    ids=["encoder", "frozen_encoder", "layer", "decoder", "causal", "subclass_with_bias", "subclass_with_zero"],
)
def test_torchs_modules_export_with_any_number_of_chunks_and_tokens(module: nn.Module, tmp_path: Path) -> None:
    path, frozen = tmp_path / "model.onnx", [not p.requires_grad for p in module.parameters()]
    attention, fast_path = F.multi_head_attention_forward, uses_fast_path()
    with warnings.catch_warnings(), exportable_attention(module.eval()):
        warnings.simplefilter("ignore")
        axes = dict.fromkeys(("tokens", "mask", "out"), AXES)
        names: dict[str, Any] = {"input_names": ["tokens", "mask"], "output_names": ["out"], "dynamic_axes": axes}
        torch.onnx.export(module, random_inputs(), str(path), opset_version=17, **EXPORTER, **names)
    assert F.multi_head_attention_forward is attention
    assert uses_fast_path() == fast_path
    assert [not p.requires_grad for p in module.parameters()] == frozen
    session = open_onnx_session(path, path.read_bytes())
    for chunks, length in ((1, 4), (7, 9)):
        tokens, mask = random_inputs(chunks, length, seed=2)
        (exported,) = session.run(None, {"tokens": tokens.numpy(), "mask": mask.numpy()})
        with torch.no_grad():
            expected = module(tokens, mask)
        assert np.abs(exported - expected.numpy())[mask.numpy()].max() < 1e-5


# --- a plugin with torch's transformer (test_conformance.py runs the conformance checks on it)


def test_a_job_with_torchs_transformer_exports_it(job: JobFolder, install: Installer) -> None:
    install(
        "acme-mutant", source=Mutant("", frozenset(), TORCHS_TRANSFORMER).source, models=["mutant"], requires=BOUNDED
    )
    job.fill(rows=60, model_class="mutant", text_encoder="cnn", max_epochs=1, onnx="required")
    assert job.run() == 0, job.failure
    assert len(Predictor.load(job.model).predict(shop_rows(9))) == 9
