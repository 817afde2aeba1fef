"""The encoder `cnn` computes real tokens only, and agrees with a plain convolution of each chunk and its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.nn.packed_tokens import PackedTokens
from fusionzoo.nn.pooling import mean_per_row
from fusionzoo.nn.schema import Batch, TextFeatures
from plugin_helpers import CHUNK_LENGTHS, build_encoder, make_batch

SETTINGS = [
    {"kernel_size": [1, 2, 3, 4, 5], "num_channels": [6]},
    {"kernel_size": [3, 4], "num_channels": [5, 4]},
    {"kernel_size": [2], "num_channels": [3, 3, 3]},
    {"kernel_size": [30, 3], "num_channels": [4]},  # wider than a packed convolution copies, and than any chunk
]
Loss = Callable[[TextFeatures], Tensor]


def encode_chunk(encoder: Any, ids: Tensor) -> Tensor:
    """Return the features of one chunk's real tokens, with torch's convolution [length, dim]."""
    features = []
    for tower in encoder.towers:
        values = encoder.words.lookup(ids).T  # [dim, length]
        for convolution in tower:
            (size,) = convolution.kernel_size
            values = convolution(F.pad(values, ((size - 1) // 2, size // 2))[None])[0].relu()
        features.append(values)
    return torch.cat(features).T


def encode_plainly(encoder: Any, batch: Batch) -> TextFeatures:
    """Return the features of a batch, computed chunk by chunk."""
    chunks = [encode_chunk(encoder, ids[mask]) for ids, mask in zip(batch.tokens, batch.token_mask, strict=True)]
    tokens = torch.stack([F.pad(chunk, (0, 0, 0, batch.tokens.shape[1] - len(chunk))) for chunk in chunks])
    pooled = mean_per_row(torch.stack([chunk.amax(0) for chunk in chunks]), batch.chunk_row, batch.rows)
    return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)


def weigh(values: Tensor) -> Tensor:
    """Return a loss with another gradient for every value."""
    return (values * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))).sum()


def compute_gradients(encoder: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    encoder.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
@pytest.mark.parametrize(
    "loss",
    [lambda f: weigh(f.pooled), lambda f: weigh(f.tokens[f.mask]), lambda f: weigh(f.pooled) + weigh(f.tokens[f.mask])],
    ids=["pooled", "tokens", "both"],
)
def test_features_and_gradients_are_those_of_a_plain_convolution(changes: dict[str, Any], loss: Loss) -> None:
    encoder, batch = build_encoder("cnn", **changes).double(), make_batch(CHUNK_LENGTHS, width=15)
    actual, expected = encoder(batch), encode_plainly(encoder, batch)
    assert torch.allclose(actual.tokens[batch.token_mask], expected.tokens[batch.token_mask], atol=1e-12)
    assert torch.allclose(actual.pooled, expected.pooled, atol=1e-6)  # the mean over chunks is float32
    found, wanted = (compute_gradients(encoder, loss(features)) for features in (actual, expected))
    assert found.keys() == wanted.keys() == dict(encoder.named_parameters()).keys()
    for name in wanted:
        assert torch.allclose(found[name], wanted[name], atol=1e-6), name


def test_words_below_zero_in_every_channel_give_zero_and_no_gradient() -> None:
    encoder, batch = build_encoder("cnn", kernel_size=[3], num_channels=[4]), make_batch(CHUNK_LENGTHS, width=15)
    nn.init.constant_(encoder.towers[0][0].bias, -100.0)
    features = encoder(batch)
    assert not features.pooled.any()
    assert not any(g.any() for g in compute_gradients(encoder, features.pooled.sum()).values())


def test_frozen_word_vectors_get_no_gradient_and_the_convolution_gets_the_same() -> None:
    batch = make_batch(CHUNK_LENGTHS)
    trained, frozen = (build_encoder("cnn", is_embeddings_trainable=trainable) for trainable in (True, False))
    wanted, found = (compute_gradients(encoder, weigh(encoder(batch).pooled)) for encoder in (trained, frozen))
    assert wanted.keys() - found.keys() == {"words.lookup.weight"}
    assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_no_padding_is_computed() -> None:
    encoder, batch = build_encoder("cnn"), make_batch(CHUNK_LENGTHS, width=40)
    seen: list[int] = []
    for module in (encoder.words.lookup, encoder.dropout):
        module.register_forward_hook(lambda _, inputs, output: seen.append(output.shape[:-1].numel()))
    encoder(batch)
    assert seen == [int(batch.token_mask.sum())] * 2


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_window_ends_at_the_borders_of_its_chunk(size: int) -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    layout, values = PackedTokens(mask), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    windows = layout.windows(values, size).tolist()
    assert (
        windows
        == {
            1: [[1], [2], [3], [4]],
            4: [[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 0], [0, 4, 0, 0]],
            5: [[0, 0, 1, 2, 3], [0, 1, 2, 3, 0], [1, 2, 3, 0, 0], [0, 0, 4, 0, 0]],
        }[size]
    )
    assert layout.unpack(values).squeeze(2).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert torch.equal(layout.pack(layout.unpack(values)), values)


def test_autocast_to_bfloat16_changes_features_and_gradients_by_rounding_only() -> None:
    encoder, batch = build_encoder("cnn"), make_batch(CHUNK_LENGTHS)
    expected = encoder(batch)
    wanted = compute_gradients(encoder, weigh(expected.pooled))
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(batch)
    assert features.tokens.dtype == torch.bfloat16
    assert torch.allclose(features.pooled, expected.pooled, atol=0.02)
    found = compute_gradients(encoder, weigh(features.pooled))
    assert all(found[name].dtype == wanted[name].dtype for name in wanted)
    assert all(F.cosine_similarity(found[name].flatten(), wanted[name].flatten(), dim=0) > 0.99 for name in wanted)


def test_training_is_bit_identical_when_repeated() -> None:
    encoder, batch = build_encoder("cnn").train(), make_batch([[30, 30, 12]] * 8)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(compute_gradients(encoder, weigh(encoder(replace(batch)).pooled)))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
