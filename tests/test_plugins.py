"""The plugins bert and cnn: encoders, text-only models and late fusions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusionzoo.errors import SettingFault
from fusionzoo.nn.schema import Batch, CategoryField, InputSpec, NumberField, TextSpec
from fusionzoo.registry import MODELS, TEXT_ENCODERS, Registry
from fusionzoo.settings import JobSettings, ModelSettings
from shop import TINY_BERT

SPEC = InputSpec(
    text=TextSpec(40, 0, 12, 4, "word", embedding_dim=6),
    categories=(CategoryField("a", 5),),
    numbers=(NumberField("n", 0.0, 1.0, (-1.0, 0.0, 1.0)), NumberField("m", 0.0, 1.0, (-2.0, 2.0))),
    num_classes=3,
)
ENCODER_SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {"encoder_config": TINY_BERT},
    "cnn": {"kernel_size": [2, 3], "num_channels": [5, 4]},
}
PLUGINS = [("bert", "bert"), ("multimodal_bert", "bert"), ("cnn", "cnn"), ("multimodal_cnn", "cnn")]


def job(**changes: Any) -> JobSettings:
    values = {"model_class": "x", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2}
    return JobSettings(**{**values, "max_sen_len": 12, "tokenizer": "word", **changes})


def encoder_settings(name: str, **changes: Any) -> ModelSettings:
    made = Registry.discover(TEXT_ENCODERS).load(name).settings_class(**{**ENCODER_SETTINGS[name], **changes})
    return made.resolve(job())


def build(model_class: str, encoder: str, spec: InputSpec = SPEC, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    text_encoder = (
        Registry.discover(TEXT_ENCODERS).load(encoder).build_text_encoder(spec, encoder_settings(encoder, **changes))
    )
    plugin = Registry.discover(MODELS).load(model_class)
    return plugin.build_model(spec, plugin.settings_class(hidden_common_dim=8), text_encoder).eval()


def batch(chunk_lengths: list[list[int]], width: int = 0, seed: int = 0) -> Batch:
    """Rows with chunks of these lengths, padded to the longest or to `width`."""
    g = torch.Generator().manual_seed(seed)
    lengths = [n for row in chunk_lengths for n in row]
    width = max([width, *lengths])
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    tokens = torch.zeros(len(lengths), width, dtype=torch.long)
    tokens[mask] = torch.randint(1, 40, (int(mask.sum()),), generator=g)
    rows = len(chunk_lengths)
    return Batch(
        tokens=tokens,
        token_mask=mask,
        chunk_row=torch.repeat_interleave(torch.arange(rows), torch.tensor([len(row) for row in chunk_lengths])),
        categories=torch.randint(0, 5, (rows, 1), generator=g),
        numbers=torch.randn(rows, 2, generator=g),
        numbers_missing=torch.rand(rows, 2, generator=g) < 0.3,
        labels=None,
        row=torch.arange(rows),
    )


def only(whole: Batch, rows: list[int]) -> Batch:
    """These rows of a batch, in this order, with padding cut to what they need."""
    chunks = [i for row in rows for i in torch.nonzero(whole.chunk_row == row).flatten().tolist()]
    counts = [int((whole.chunk_row == row).sum()) for row in rows]
    length = int(whole.token_mask[chunks].sum(dim=1).max())
    part = whole.map(lambda t: t[rows] if len(t) == whole.rows else t)
    return replace(
        part,
        tokens=whole.tokens[chunks][:, :length],
        token_mask=whole.token_mask[chunks][:, :length],
        chunk_row=torch.repeat_interleave(torch.arange(len(rows)), torch.tensor(counts)),
        categories=whole.categories[rows],
        numbers=whole.numbers[rows],
        numbers_missing=whole.numbers_missing[rows],
        row=whole.row[rows],
    )


MIXED = [[12, 3], [1], [12, 12, 12, 5], [7]]


@pytest.mark.parametrize(("model_class", "encoder"), PLUGINS)
def test_a_row_scores_the_same_alone_in_a_batch_permuted_and_padded(model_class: str, encoder: str) -> None:
    model, whole = build(model_class, encoder), batch(MIXED)
    with torch.no_grad():
        together = model(whole)
        alone = torch.cat([model(only(whole, [row])) for row in range(4)])
        permuted = model(only(whole, [2, 0, 3, 1]))[[1, 3, 0, 2]]
        padded = model(batch(MIXED, width=20))
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together, permuted, atol=1e-5)
    assert torch.allclose(together, padded, atol=1e-5)


@pytest.mark.parametrize(("model_class", "encoder"), PLUGINS)
def test_changing_any_one_input_changes_the_output(model_class: str, encoder: str) -> None:
    model, drawn = build(model_class, encoder), batch(MIXED)
    whole = replace(drawn, numbers_missing=torch.zeros_like(drawn.numbers_missing))
    fields = ["tokens"] if "multimodal" not in model_class else ["tokens", "categories", "numbers", "numbers_missing"]
    with torch.no_grad():
        before = model(whole)
        for name in fields:
            value = getattr(whole, name)
            for column in range(1 if name == "tokens" else value.shape[1]):
                other = value.clone()
                other[0, column] = True if value.dtype == torch.bool else (value[0, column] + 1) % 5
                after = model(replace(whole, **{name: other}))
                assert not torch.allclose(before[0], after[0], atol=1e-7), f"{name} {column} has no effect"
                assert torch.allclose(before[1:], after[1:], atol=1e-6), f"{name} {column} of row 0 moves other rows"


@pytest.mark.parametrize(("model_class", "encoder"), PLUGINS)
@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_every_model_class_has_one_logit_per_class_and_every_parameter_a_gradient(
    model_class: str, encoder: str, num_classes: int
) -> None:
    model = build(model_class, encoder, replace(SPEC, num_classes=num_classes)).train()
    logits = model(batch(MIXED))
    assert logits.shape == (4, num_classes)
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1, 0])).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize(("model_class", "encoder"), PLUGINS)
def test_dropout_is_on_while_training_and_off_while_scoring(model_class: str, encoder: str) -> None:
    model, whole = build(model_class, encoder), batch(MIXED)
    text_encoder: Any = model.text_encoder
    with torch.no_grad():
        assert torch.equal(model(whole), model(whole))
        model.train()
        assert not torch.equal(text_encoder(whole).pooled, text_encoder(whole).pooled)


@pytest.mark.parametrize(("model_class", "encoder"), PLUGINS)
def test_the_seed_decides_the_weights(model_class: str, encoder: str) -> None:
    first, second = build(model_class, encoder).state_dict(), build(model_class, encoder).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_pretrained_weights_are_loaded_and_dropout_is_on_in_them(minilm: str) -> None:
    from transformers import AutoModel

    plugin = Registry.discover(TEXT_ENCODERS).load("bert")
    settings = plugin.settings_class().resolve(job(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(30522, 0, 12, 4, minilm))
    encoder: Any = plugin.build_text_encoder(spec, settings)
    assert plugin.load_pretrained(encoder, settings)
    encoder.train()
    assert all(m.training for m in encoder.modules() if isinstance(m, nn.Dropout))
    whole = batch([[7, 3], [5]])
    theirs = AutoModel.from_pretrained(minilm).eval()
    hidden = theirs(input_ids=whole.tokens, attention_mask=whole.token_mask.long()).last_hidden_state
    by_hand = torch.stack([torch.cat([hidden[0, :7], hidden[1, :3]]).mean(0), hidden[2, :5].mean(0)])
    assert torch.allclose(encoder.eval()(whole).pooled, by_hand, atol=1e-5)


@pytest.mark.parametrize("reinit", [0, 1, 6])
def test_reinit_layers_leaves_that_many_of_the_last_layers_as_they_were_drawn(minilm: str, reinit: int) -> None:
    plugin = Registry.discover(TEXT_ENCODERS).load("bert")
    settings = plugin.settings_class(reinit_layers=reinit, reinit_pooler=True, pooling="pooler").resolve(
        job(tokenizer=minilm)
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


def test_a_frozen_encoder_keeps_its_weights_and_scores_without_dropout() -> None:
    model = build("multimodal_bert", "bert", freeze_text_encoder=True).train()
    encoder: Any = model.text_encoder
    whole = batch(MIXED)
    assert torch.equal(encoder(whole).pooled, encoder(whole).pooled)
    model(whole).sum().backward()
    assert all(p.grad is None for p in encoder.parameters())
    assert any(p.grad is not None for p in model.parameters())


def test_gradient_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for on in (False, True):
        torch.manual_seed(0)
        model = build("bert", "bert", use_gradient_checkpointing=on).train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        encoder: Any = model.text_encoder
        assert encoder.backbone.is_gradient_checkpointing is on
        model(batch(MIXED)).sum().backward()
        gradients.append(encoder.backbone.embeddings.word_embeddings.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "first", "pooler"])
def test_each_pooling_ignores_padding(pooling: str) -> None:
    model = build("bert", "bert", pooling=pooling)
    with torch.no_grad():
        assert torch.allclose(model(batch(MIXED)), model(batch(MIXED, width=30)), atol=1e-5)


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
    settings = Registry.discover(TEXT_ENCODERS).load("bert").settings_class(**{**ENCODER_SETTINGS["bert"], **changes})
    with pytest.raises(SettingFault) as refused:
        settings.resolve(job(**job_changes))
    assert refused.value.key == key


def test_a_tokenizer_with_more_tokens_than_the_encoder_knows_is_refused(minilm: str) -> None:
    plugin = Registry.discover(TEXT_ENCODERS).load("bert")
    settings = plugin.settings_class().resolve(job(tokenizer=minilm))
    spec = replace(SPEC, text=TextSpec(40_000, 0, 12, 4, "another"))
    with pytest.raises(SettingFault, match="40000 tokens"):
        plugin.build_text_encoder(spec, settings)


@pytest.mark.parametrize("encoder", ["bert", "cnn"])
def test_every_setting_of_an_encoder_is_described(encoder: str) -> None:
    fields = Registry.discover(TEXT_ENCODERS).load(encoder).settings_class.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_stacked_convolutions_have_the_widths_that_num_channels_says() -> None:
    model = build("cnn", "cnn")
    encoder: Any = model.text_encoder
    assert encoder.dim == 2 * 4
    assert [(c.in_channels, c.out_channels) for c in encoder.towers[0]] == [(6, 5), (5, 4)]
    assert np.prod(encoder(batch(MIXED)).tokens.shape) == 8 * 12 * 8
