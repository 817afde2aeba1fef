"""The first-party text encoders, and the size of every plugin. `test_every_plugin.py` tests what all plugins share."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from fusionzoo.errors import SettingError
from fusionzoo.nn.schema import TextSpec
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from plugin_helpers import (
    ENCODER_SETTINGS,
    MIXED,
    SPEC,
    build_encoder,
    make_batch,
    make_encoder_settings,
    make_text_job_settings,
)


def test_pretrained_weights_are_loaded_and_dropout_is_on_in_them(minilm: str) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class().resolve(make_text_job_settings(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(30522, 0, 12, 4, minilm))
    encoder: Any = plugin.build_text_encoder(spec, settings)
    assert plugin.load_pretrained(encoder, settings)
    encoder.train()
    assert all(m.training for m in encoder.modules() if isinstance(m, nn.Dropout))
    whole = make_batch([[7, 3], [5]])
    theirs = AutoModel.from_pretrained(minilm).eval()
    hidden = theirs(input_ids=whole.tokens, attention_mask=whole.token_mask.long()).last_hidden_state
    by_hand = torch.stack([torch.cat([hidden[0, :7], hidden[1, :3]]).mean(0), hidden[2, :5].mean(0)])
    assert torch.allclose(encoder.eval()(whole).pooled, by_hand, atol=1e-5)


@pytest.mark.parametrize("reinit", [0, 1, 6])
def test_reinit_layers_leaves_that_many_of_the_last_layers_as_they_were_drawn(minilm: str, reinit: int) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class(reinit_layers=reinit, reinit_pooler=True, pooling="pooler").resolve(
        make_text_job_settings(tokenizer=minilm)
    )
    spec = replace(SPEC, text=TextSpec(30522, 0, 12, 4, minilm))
    encoder: Any = plugin.build_text_encoder(spec, settings)
    drawn = {k: v.clone() for k, v in encoder.backbone.state_dict().items()}
    plugin.load_pretrained(encoder, settings)
    kept = {
        int(name.split(".")[2])
        for name, value in encoder.backbone.state_dict().items()
        if name.startswith("encoder.layer.") and name.endswith("query.weight") and torch.equal(value, drawn[name])
    }
    assert kept == set(range(6 - reinit, 6))
    assert torch.equal(encoder.backbone.state_dict()["pooler.dense.weight"], drawn["pooler.dense.weight"])
    embeddings = "embeddings.word_embeddings.weight"
    assert not torch.equal(encoder.backbone.state_dict()[embeddings], drawn[embeddings])


TINY_ALBERT = {
    "model_type": "albert",
    "vocab_size": 40,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def test_an_encoder_with_shared_layers_loads_and_cannot_reinitialize_layers(tmp_path: Path) -> None:
    theirs = AutoModel.from_config(AutoConfig.for_model(**TINY_ALBERT))
    theirs.save_pretrained(tmp_path)
    encoder = build_encoder("bert", encoder_name=str(tmp_path), encoder_config=None)
    settings = make_encoder_settings("bert", encoder_name=str(tmp_path), encoder_config=None)
    assert encoder.load_pretrained(settings)
    word = "embeddings.word_embeddings.weight"
    assert torch.equal(encoder.backbone.state_dict()[word], theirs.state_dict()[word])
    with pytest.raises(SettingError, match="share") as refused:
        encoder.load_pretrained(settings.model_copy(update={"reinit_layers": 1}))
    assert refused.value.setting == "reinit_layers"


def test_a_frozen_encoder_keeps_its_weights_and_scores_without_dropout() -> None:
    encoder = build_encoder("bert", freeze_text_encoder=True).train()
    whole = make_batch(MIXED)
    assert torch.equal(encoder(whole).pooled, encoder(whole).pooled)
    assert not encoder(whole).pooled.requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for on in (False, True):
        encoder = build_encoder("bert", use_gradient_checkpointing=on).train()
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        assert encoder.backbone.is_gradient_checkpointing is on
        encoder(make_batch(MIXED)).pooled.sum().backward()
        gradients.append(encoder.backbone.embeddings.word_embeddings.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "first", "pooler"])
def test_each_pooling_ignores_padding(pooling: str) -> None:
    encoder = build_encoder("bert", pooling=pooling)
    with torch.no_grad():
        assert torch.allclose(encoder(make_batch(MIXED)).pooled, encoder(make_batch(MIXED, width=30)).pooled, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "job_changes", "key"),
    [
        ({"encoder_config": None}, {}, "tokenizer"),
        ({"reinit_layers": 3}, {}, "reinit_layers"),
        ({}, {"max_sen_len": 65}, "max_sen_len"),
        ({"encoder_config": {"hidden_size": 4}}, {}, "encoder_config"),
        ({"encoder_config": None, "encoder_name": "/nowhere/at/all"}, {}, "encoder_name"),
    ],
)
def test_a_bert_setting_that_cannot_work_is_refused_before_data_is_read(
    changes: dict[str, Any], job_changes: dict[str, Any], key: str
) -> None:
    settings = (
        Registry.discover(TEXT_ENCODERS_GROUP).load("bert").settings_class(**{**ENCODER_SETTINGS["bert"], **changes})
    )
    with pytest.raises(SettingError) as refused:
        settings.resolve(make_text_job_settings(**job_changes))
    assert refused.value.setting == key


def test_a_tokenizer_with_more_tokens_than_the_encoder_knows_is_refused(minilm: str) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class().resolve(make_text_job_settings(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(40_000, 0, 12, 4, "another"))
    with pytest.raises(SettingError, match="40000 tokens"):
        plugin.build_text_encoder(spec, settings)


def test_stacked_convolutions_have_the_widths_that_num_channels_says() -> None:
    encoder = build_encoder("cnn")
    assert encoder.dim == 2 * 4
    assert [(c.in_channels, c.out_channels) for c in encoder.towers[0]] == [(6, 5), (5, 4)]
    assert np.prod(encoder(make_batch(MIXED)).tokens.shape) == 8 * 12 * 8


# --- lstm


def test_the_lstm_reads_each_chunk_as_if_there_were_no_padding() -> None:
    encoder, whole = build_encoder("lstm", num_lstm_layers=2), make_batch(MIXED, width=15)
    with torch.no_grad():
        tokens = encoder(whole).tokens
        for chunk, length in enumerate(whole.token_mask.sum(dim=1).tolist()):
            words = encoder.words(
                whole.tokens[chunk : chunk + 1, :length], whole.token_mask[chunk : chunk + 1, :length]
            )
            alone, _ = encoder.lstm(words)
            assert torch.allclose(tokens[chunk, :length], alone[0], atol=1e-6)
    assert tokens.shape == (8, 15, encoder.dim)


@pytest.mark.parametrize("pooling", ["max", "mean", "attention"])
def test_each_lstm_pooling_makes_another_vector_that_padding_does_not_change(pooling: str) -> None:
    encoder, whole = build_encoder("lstm", lstm_pooling=pooling), make_batch(MIXED)
    with torch.no_grad():
        pooled = encoder(whole).pooled
        assert torch.allclose(pooled, encoder(make_batch(MIXED, width=20)).pooled, atol=1e-6)
        others = [
            build_encoder("lstm", lstm_pooling=p)(whole).pooled for p in ("max", "mean", "attention") if p != pooling
        ]
    assert all(not torch.allclose(pooled, other) for other in others)


# --- what an architecture tells of itself


MODULES = sorted((Path(__file__).parents[1] / "plugins").glob("*/fusionzoo_*.py"))
NOT_A_PLUGINS_BUSINESS = {
    "a loss": r"cross_entropy|\w*Loss\b|F\.\w*loss",
    "an optimizer": r"torch\.optim|AdamW?\b|\bSGD\b|lr_scheduler",
    "a metric": r"torchmetrics|sklearn|auroc|accuracy",
    "a file path": r"pathlib|\bos\b|\bopen\(|/opt/ml",
    "the trainer": r"lightning",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_plugin_is_a_short_module_about_its_architecture_alone(module: Path) -> None:
    source = module.read_text()
    assert len(source.splitlines()) < 200
    assert [what for what, words in NOT_A_PLUGINS_BUSINESS.items() if re.search(words, source)] == []


def test_there_are_six_plugins_of_ours() -> None:
    assert [path.parent.name for path in MODULES] == ["bert", "cnn", "cross_attn", "gate_fusion", "lstm", "moe"]
