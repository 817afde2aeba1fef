"""Attention with dropout on a CPU uses plain operations, which are faster there and have the same results."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from torch import Tensor

from fusionzoo.nn.schema import Batch, InputSpec, TextSpec
from fusionzoo_bert import BertEncoder, BertEncoderSettings
from shop import TINY_BERT
from training_helpers import make_random_split

DISTILBERT = {"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
KINDS: dict[str, dict[str, Any]] = {
    "bert": TINY_BERT,
    "distilbert": DISTILBERT,
    **{kind: {**TINY_BERT, "model_type": kind} for kind in ("roberta", "electra", "mpnet")},
}


def encoder(config: dict[str, Any]) -> BertEncoder:
    torch.manual_seed(0)
    spec = InputSpec(TextSpec(50, 0, 32, None, "word"), (), (), 2)
    return BertEncoder(spec, BertEncoderSettings(encoder_config=config))


def train_once(model: BertEncoder) -> tuple[Tensor, list[Tensor]]:
    """Return the features of a batch in training, and the gradients of the weights."""
    torch.manual_seed(1)
    features = model.train()(Batch.from_arrays(make_random_split(9).batch(torch.arange(9).numpy()))).pooled
    features.square().sum().backward()
    return features.detach(), [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_learns_the_same_with_torchs_attention_and_with_plain_operations(kind: str) -> None:
    config = {**KINDS[kind], "attention_probs_dropout_prob": 0.3, "attention_dropout": 0.3}
    plain, torchs = encoder(config), encoder(config)
    torchs.backbone._forward_pre_hooks.clear()
    (features, gradients), (expected, expected_gradients) = train_once(plain), train_once(torchs)
    assert plain.backbone.config._attn_implementation == "eager"
    assert torch.allclose(features, expected, atol=1e-5)
    assert len(gradients) == len(expected_gradients)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(gradients, expected_gradients, strict=True))


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("4.40"), reason="this transformers has torch's attention not for BERT"
)
def test_scoring_and_training_without_dropout_keep_torchs_attention() -> None:
    model = encoder(TINY_BERT)
    train_once(model)
    assert model.backbone.config._attn_implementation == "eager"
    model.eval()(Batch.from_arrays(make_random_split(3).batch(torch.arange(3).numpy())))
    assert model.backbone.config._attn_implementation == "sdpa"
    model.train().backbone.eval()  # as a frozen one is
    model(Batch.from_arrays(make_random_split(3).batch(torch.arange(3).numpy())))
    assert model.backbone.config._attn_implementation == "sdpa"
    undropped = encoder({**TINY_BERT, "attention_probs_dropout_prob": 0.0})
    train_once(undropped)
    assert undropped.backbone.config._attn_implementation == "sdpa"
