"""The encoder `lstm` runs chunks in length groups, and agrees with torch's bidirectional LSTM on each chunk alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from plugin_helpers import CHUNK_LENGTHS, build_encoder, make_batch


def make_reference(encoder: Any) -> nn.LSTM:
    """Return torch's bidirectional LSTM with the weights of the encoder."""
    width = encoder.layers[0][0].input_size
    lstm = nn.LSTM(
        width, encoder.dim // 2, len(encoder.layers), batch_first=True, bidirectional=True, dtype=torch.float64
    )
    weights = {
        f"{name.removesuffix('_l0')}_l{layer}{suffix}": weight
        for layer, pair in enumerate(encoder.layers)
        for direction, suffix in zip(pair, ("", "_reverse"), strict=True)
        for name, weight in direction.named_parameters()
    }
    assert weights.keys() == dict(lstm.named_parameters()).keys()
    lstm.load_state_dict(weights)
    return lstm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layers", [1, 2])
def test_features_are_those_of_a_bidirectional_lstm_over_each_chunk_alone(layers: int, dtype: torch.dtype) -> None:
    encoder, batch = build_encoder("lstm", num_lstm_layers=layers).to(dtype), make_batch(CHUNK_LENGTHS, width=15)
    lstm, tokens = make_reference(encoder), encoder(batch).tokens
    assert tokens.shape == (8, 15, encoder.dim)
    for chunk, (ids, mask) in enumerate(zip(batch.tokens, batch.token_mask, strict=True)):
        alone, _ = lstm(encoder.words.lookup(ids[mask])[None].double())
        assert torch.allclose(tokens[chunk][mask].double(), alone[0], atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_gradients_are_those_of_a_bidirectional_lstm_over_each_chunk_alone() -> None:
    encoder, batch = build_encoder("lstm", num_lstm_layers=2).double(), make_batch(CHUNK_LENGTHS, width=15)
    lstm, mask = make_reference(encoder), batch.token_mask
    factor = torch.randn(*mask.shape, encoder.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (encoder(batch).tokens * factor)[mask].sum().backward()
    of_words = encoder.words.lookup.weight.grad.clone()
    encoder.zero_grad()
    for chunk, ids in enumerate(batch.tokens):
        alone, _ = lstm(encoder.words.lookup(ids[mask[chunk]])[None])
        (alone[0] * factor[chunk][mask[chunk]]).sum().backward()
    wanted = {name: p.grad.clone() for name, p in lstm.named_parameters()}
    assert torch.allclose(of_words, encoder.words.lookup.weight.grad, atol=1e-10)
    encoder.zero_grad()
    (encoder(batch).tokens * factor)[mask].sum().backward()
    for layer, pair in enumerate(encoder.layers):
        for direction, suffix in zip(pair, ("", "_reverse"), strict=True):
            for name, p in direction.named_parameters():
                expected = wanted[f"{name.removesuffix('_l0')}_l{layer}{suffix}"]
                assert torch.allclose(p.grad, expected, atol=1e-10), (layer, suffix, name)


def count_computed_tokens(lengths: list[list[int]]) -> tuple[int, int]:
    """Return the tokens that each direction reads for rows with chunks of these lengths, and the real ones."""
    encoder, batch = build_encoder("lstm"), make_batch(lengths)
    seen: list[int] = []
    encoder.layers[0][1].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][..., 0].numel()))
    encoder(batch)
    return sum(seen), int(batch.token_mask.sum())


def test_less_than_three_percent_of_the_computed_tokens_are_padding() -> None:
    lengths = torch.randint(10, 110, (32,), generator=torch.Generator().manual_seed(0)).sort().values
    strata = [[int(n)] for n in lengths.view(4, 8)[:, :1].expand(4, 8).flatten() + torch.arange(32) % 3]
    computed, real = count_computed_tokens(strata)
    assert real <= computed < real / 0.97


def test_autocast_to_bfloat16_leaves_the_lstm_on_a_cpu_in_float32() -> None:
    encoder, batch = build_encoder("lstm", num_lstm_layers=2), make_batch(CHUNK_LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        features = encoder(batch)
    assert torch.equal(features.tokens, encoder(batch).tokens)
    features.pooled.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in encoder.parameters())


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_lstm_poolings_differ_from_each_other_and_ignore_padding(pooling: str) -> None:
    encoder, batch = build_encoder("lstm", lstm_pooling=pooling), make_batch(CHUNK_LENGTHS)
    with torch.no_grad():
        pooled = encoder(batch).pooled
        assert torch.allclose(pooled, encoder(make_batch(CHUNK_LENGTHS, width=20)).pooled, atol=1e-6)
        others = [
            build_encoder("lstm", lstm_pooling=p)(batch).pooled for p in ("max", "mean", "attention") if p != pooling
        ]
    assert all(not torch.allclose(pooled, other) for other in others)
