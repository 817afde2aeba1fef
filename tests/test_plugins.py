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
    CHUNK_LENGTHS,
    ENCODER_SETTINGS,
    SPEC,
    build_encoder,
    make_batch,
    make_encoder_settings,
    make_text_job_settings,
)


def test_pretrained_weights_are_loaded_and_dropout_is_active_in_training(minilm: str) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class().resolve(make_text_job_settings(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(30522, 0, 12, 4, minilm))
    encoder: Any = plugin.build_text_encoder(spec, settings)
    assert plugin.load_pretrained(encoder, settings)
    encoder.train()
    assert all(m.training for m in encoder.modules() if isinstance(m, nn.Dropout))
    batch = make_batch([[7, 3], [5]])
    original = AutoModel.from_pretrained(minilm).eval()
    hidden = original(input_ids=batch.tokens, attention_mask=batch.token_mask.long()).last_hidden_state
    expected = torch.stack([torch.cat([hidden[0, :7], hidden[1, :3]]).mean(0), hidden[2, :5].mean(0)])
    assert torch.allclose(encoder.eval()(batch).pooled, expected, atol=1e-5)


@pytest.mark.parametrize("reinit", [0, 1, 6])
def test_reinit_layers_keeps_the_initial_weights_of_that_many_last_layers(minilm: str, reinit: int) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class(reinit_layers=reinit, reinit_pooler=True, pooling="pooler").resolve(
        make_text_job_settings(tokenizer=minilm)
    )
    spec = replace(SPEC, text=TextSpec(30522, 0, 12, 4, minilm))
    encoder: Any = plugin.build_text_encoder(spec, settings)
    initial = {k: v.clone() for k, v in encoder.backbone.state_dict().items()}
    plugin.load_pretrained(encoder, settings)
    reinitialized = {
        int(name.split(".")[2])
        for name, value in encoder.backbone.state_dict().items()
        if name.startswith("encoder.layer.") and name.endswith("query.weight") and torch.equal(value, initial[name])
    }
    assert reinitialized == set(range(6 - reinit, 6))
    assert torch.equal(encoder.backbone.state_dict()["pooler.dense.weight"], initial["pooler.dense.weight"])
    embeddings = "embeddings.word_embeddings.weight"
    assert not torch.equal(encoder.backbone.state_dict()[embeddings], initial[embeddings])


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
    original = AutoModel.from_config(AutoConfig.for_model(**TINY_ALBERT))
    original.save_pretrained(tmp_path)
    encoder = build_encoder("bert", encoder_name=str(tmp_path), encoder_config=None)
    settings = make_encoder_settings("bert", encoder_name=str(tmp_path), encoder_config=None)
    assert encoder.load_pretrained(settings)
    word = "embeddings.word_embeddings.weight"
    assert torch.equal(encoder.backbone.state_dict()[word], original.state_dict()[word])
    with pytest.raises(SettingError, match="share") as error:
        encoder.load_pretrained(settings.model_copy(update={"reinit_layers": 1}))
    assert error.value.setting == "reinit_layers"


def test_a_frozen_encoder_has_no_gradients_and_no_dropout() -> None:
    encoder = build_encoder("bert", freeze_text_encoder=True).train()
    batch = make_batch(CHUNK_LENGTHS)
    assert torch.equal(encoder(batch).pooled, encoder(batch).pooled)
    assert not encoder(batch).pooled.requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_gradient_checkpointing_does_not_change_gradients() -> None:
    gradients = []
    for on in (False, True):
        encoder = build_encoder("bert", use_gradient_checkpointing=on).train()
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        assert encoder.backbone.is_gradient_checkpointing is on
        encoder(make_batch(CHUNK_LENGTHS)).pooled.sum().backward()
        gradients.append(encoder.backbone.embeddings.word_embeddings.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "first", "pooler"])
def test_each_pooling_ignores_padding(pooling: str) -> None:
    encoder = build_encoder("bert", pooling=pooling)
    with torch.no_grad():
        assert torch.allclose(
            encoder(make_batch(CHUNK_LENGTHS)).pooled, encoder(make_batch(CHUNK_LENGTHS, width=30)).pooled, atol=1e-5
        )


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
def test_an_impossible_bert_setting_is_an_error_before_data_is_read(
    changes: dict[str, Any], job_changes: dict[str, Any], key: str
) -> None:
    settings = (
        Registry.discover(TEXT_ENCODERS_GROUP).load("bert").settings_class(**{**ENCODER_SETTINGS["bert"], **changes})
    )
    with pytest.raises(SettingError) as error:
        settings.resolve(make_text_job_settings(**job_changes))
    assert error.value.setting == key


def test_a_tokenizer_with_more_tokens_than_the_encoder_has_is_an_error(minilm: str) -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    settings = plugin.settings_class().resolve(make_text_job_settings(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(40_000, 0, 12, 4, "another"))
    with pytest.raises(SettingError, match="40000 tokens"):
        plugin.build_text_encoder(spec, settings)


def test_stacked_convolutions_have_the_widths_of_num_channels() -> None:
    encoder = build_encoder("cnn")
    assert encoder.dim == 2 * 4
    assert [(c.in_channels, c.out_channels) for c in encoder.towers[0]] == [(6, 5), (5, 4)]
    assert np.prod(encoder(make_batch(CHUNK_LENGTHS)).tokens.shape) == 8 * 12 * 8


# --- the size of a plugin


MODULES = sorted((Path(__file__).parents[1] / "plugins").glob("*/fusionzoo_*.py"))
CODE_THAT_BELONGS_IN_CORE = {
    "a loss": r"cross_entropy|\w*Loss\b|F\.\w*loss",
    "an optimizer": r"torch\.optim|AdamW?\b|\bSGD\b|lr_scheduler",
    "a metric": r"torchmetrics|sklearn\.metrics|auroc|accuracy",
    "a file path": r"pathlib|\bos\b|\bopen\(|/opt/ml",
    "the trainer": r"lightning",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_plugin_is_a_short_module_that_contains_only_its_architecture(module: Path) -> None:
    source = module.read_text()
    assert len(source.splitlines()) < 200
    assert [what for what, words in CODE_THAT_BELONGS_IN_CORE.items() if re.search(words, source)] == []


def test_there_are_seven_first_party_plugins() -> None:
    names = ["bert", "cnn", "cross_attn", "gate_fusion", "lstm", "moe", "tfidf"]
    assert [path.parent.name for path in MODULES] == names
