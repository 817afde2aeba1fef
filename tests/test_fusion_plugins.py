"""The first-party fusions: gate, mixture of experts, and cross-attention."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from fusionzoo.artifacts import model_folder
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.demo.data_set import generate_demo_data, write_hyperparameters
from fusionzoo.errors import SettingError
from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.packed_tokens import PackedTokens, PaddedTokens
from fusionzoo.nn.schema import Batch, TextFeatures
from plugin_helpers import CHUNK_LENGTHS, SPEC, build_model, make_batch
from shop import JobFolder


def joined_vectors(model: Any, batch: Batch) -> torch.Tensor:
    """Return the vectors of text and table side by side, [rows, 2 * hidden_common_dim]."""
    text, table, _ = model.towers(batch)
    return torch.cat([text, table], dim=-1)


# --- gate_fusion


def test_a_gate_that_is_open_for_one_modality_blocks_the_other_one() -> None:
    model, batch = build_model("multimodal_gate_fusion"), make_batch(CHUNK_LENGTHS)
    other_table = replace(batch, categories=(batch.categories + 1) % 5, numbers=batch.numbers + 1)
    other_text = replace(batch, tokens=(batch.tokens + 1) % 40)
    seen: list[torch.Tensor] = []
    model.classify.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.gate[0].weight.zero_()
        model.gate[0].bias.fill_(1e4)
        assert model(batch).metrics == {"gate_text": 1.0, "gate_table": 0.0}
        assert model(other_table).metrics == model(batch).metrics
        assert torch.equal(seen[0], seen[1])
        model.gate[0].bias.fill_(-1e4)
        assert model(batch).metrics == {"gate_text": 0.0, "gate_table": 1.0}
        model(other_table)
        model(other_text)
        assert not torch.equal(seen[-3], seen[-2])
        assert torch.equal(seen[-3], seen[-1])


def test_the_gate_is_one_number_per_row_and_dimension() -> None:
    model, batch = build_model("multimodal_gate_fusion"), make_batch(CHUNK_LENGTHS)
    gate = model.gate(joined_vectors(model, batch))
    assert gate.shape == (4, 8)
    assert gate.std(dim=0).min() > 0
    assert gate.std(dim=1).min() > 0
    assert model(batch).metrics["gate_text"].item() == pytest.approx(gate.mean().item())


# --- moe


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_each_row_is_routed_to_its_top_k_experts_only(top_k: int) -> None:
    model, batch = build_model("multimodal_moe", num_experts=3, top_k=top_k), make_batch(CHUNK_LENGTHS)
    weights, _, probabilities = model.router(joined_vectors(model, batch))
    assert (weights > 0).sum(dim=1).tolist() == [top_k] * 4
    assert all(
        set(w.nonzero().flatten().tolist()) == set(p.topk(top_k).indices.tolist())
        for w, p in zip(weights, probabilities, strict=True)
    )
    total = probabilities.amax(dim=1) if top_k == 1 else torch.ones(4)
    assert torch.allclose(weights.sum(dim=1), total)
    load = model(batch).metrics
    assert list(load) == [f"expert_load_{name}" for name in ("text", "table", "joint_0", "joint_1", "joint_2")]
    assert sum(load.values()).item() == pytest.approx(top_k)


def randomize_experts(model: Any) -> Any:
    """Replace the zero initial weights of the last layer of each expert, and of the shared one, by random ones."""
    for expert in (model.shared, *model.experts):
        nn.init.normal_(expert[-1].weight)
    return model


def test_logits_are_the_shared_logits_plus_the_weighted_logits_of_the_experts() -> None:
    model, batch = build_model("multimodal_moe", num_experts=2), make_batch(CHUNK_LENGTHS)
    with torch.no_grad():
        text, table, alone = model.towers(batch)
        assert torch.equal(model(batch).logits, alone)
        randomize_experts(model)
        joint = torch.cat([text, table], dim=-1)
        weights, _, _ = model.router(joint)
        inputs = [text, table, joint, joint]
        parts = [w[:, None] * expert(x) for w, expert, x in zip(weights.T, model.experts, inputs, strict=True)]
        assert torch.allclose(model(batch).logits, alone + model.shared(joint) + sum(parts), atol=1e-6)


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_router_gets_gradients_from_the_loss_without_the_penalty(top_k: int) -> None:
    model = randomize_experts(build_model("multimodal_moe", top_k=top_k, load_balance=0.0)).train()
    model(make_batch(CHUNK_LENGTHS)).logits.sum().backward()
    assert model.router.clean.weight.grad.abs().sum() > 0
    assert model.router.noise.weight.grad.abs().sum() > 0


def test_the_router_adds_noise_only_in_training_and_only_with_the_setting() -> None:
    joint = torch.randn(6, 16)
    for noisy in (True, False):
        router = build_model("multimodal_moe", router_noise=noisy).router
        assert torch.equal(router(joint)[0], router(joint)[0])
        router.train()
        assert torch.equal(router(joint)[0], router(joint)[0]) != noisy
        assert torch.equal(router(joint)[1], router.eval()(joint)[1]), "probabilities are without noise"


def test_the_balance_penalty_is_minimal_if_all_experts_are_used_equally() -> None:
    model, batch = build_model("multimodal_moe", num_experts=2, top_k=4, load_balance=0.5), make_batch(CHUNK_LENGTHS)
    assert model(batch).penalties["load_balance"].item() == pytest.approx(0.5)
    model.router.top_k = 1
    with torch.no_grad():
        model.router.clean.weight.zero_()
        model.router.clean.bias.copy_(torch.tensor([50.0, 0.0, 0.0, 0.0]))
    assert model(batch).penalties["load_balance"].item() == pytest.approx(0.5 * 4)


def test_more_experts_per_row_than_experts_is_an_error(job: JobFolder) -> None:
    job.fill(model_class="multimodal_moe", text_encoder="cnn", num_experts=2, top_k=5)
    assert job.run() == 1
    assert "top_k is 5, but there are 4 experts" in job.failure


# --- cross_attn


def attend_plainly(attention: Any, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return target [1, n, width] after attention to source [1, m, width], without chunks."""
    query, key, value = (attention.split(x) for x in attention.project(target, source))
    attended = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=-1) @ value
    added: torch.Tensor = attention.add(target, attended.transpose(1, 2).flatten(2))
    return added


def test_fields_attend_to_all_tokens_of_their_row_and_tokens_to_all_its_fields() -> None:
    model, batch = build_model("multimodal_cross_attn", num_heads=2), make_batch(CHUNK_LENGTHS, width=16)
    with torch.no_grad():
        text, fields = model.towers.text_encoder(batch), model.field(model.towers.table.fields(batch))
        layout, layer = PackedTokens(text.mask), model.layers[0]
        tokens = model.token(layout.pack(text.tokens))
        new_tokens, new_fields = layer(tokens, fields, layout, batch.chunk_row)
        row_of_token = batch.chunk_row.repeat_interleave(batch.token_mask.sum(dim=1))
        for row in range(4):
            own, own_fields = tokens[row_of_token == row].unsqueeze(0), fields[row : row + 1]
            joined = attend_plainly(layer.to_tokens, own_fields, own)[0]
            assert torch.allclose(new_fields[row], joined + layer.table(joined), atol=1e-5)
            joined = attend_plainly(layer.to_fields, own, own_fields)[0]
            assert torch.allclose(new_tokens[row_of_token == row], joined + layer.text(joined), atol=1e-5)


def test_cross_attention_computes_no_padding_and_has_the_gradients_of_padded_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = build_model("multimodal_cross_attn", num_layers=2), make_batch(CHUNK_LENGTHS, width=16)
    torch.manual_seed(1)
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)  # the last layer of the interaction starts at zero
    seen: list[int] = []
    model.layers[1].text.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0][..., 0].numel()))
    gradients = []
    for layout in (PackedTokens, PaddedTokens):
        monkeypatch.setattr(sys.modules[type(model).__module__], "choose_layout", layout)
        model.zero_grad()
        get_logits(model(batch)).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    packed, padded = gradients
    assert seen == [int(batch.token_mask.sum()), batch.token_mask.numel()]
    assert packed["layers.1.to_fields.query.weight"].abs().max() > 1e-3
    assert packed.keys() == padded.keys()
    scale = max(float(gradient.abs().max()) for gradient in padded.values())
    assert all(torch.allclose(packed[name], padded[name], rtol=1e-4, atol=1e-5 * scale) for name in packed)


def test_tokens_beyond_max_text_tokens_do_not_affect_the_logits() -> None:
    model, batch = build_model("multimodal_cross_attn", encoder="lstm", max_text_tokens=14), make_batch(CHUNK_LENGTHS)
    changed = {13: batch.tokens.clone(), 14: batch.tokens.clone()}
    for position, tokens in changed.items():  # row 0 has chunks of 12 and 3 tokens
        tokens[1, position - 12] = (tokens[1, position - 12] + 1) % 40
    encode = model.towers.text_encoder.words  # word vectors, without the states of the LSTM that connect tokens

    class WordVectorEncoder(nn.Module):
        def forward(self, batch: Batch) -> TextFeatures:
            width = model.token.in_features
            vectors = encode(batch.tokens, batch.token_mask).repeat(1, 1, 2)[..., :width]
            return TextFeatures(vectors, batch.token_mask, batch.chunk_row, torch.zeros(batch.rows, width))

    model.towers.text_encoder = WordVectorEncoder()
    nn.init.normal_(model.classify[-1].weight)  # zero at the start
    with torch.no_grad():
        before = model(batch)
        assert torch.equal(model(replace(batch, tokens=changed[14])), before)
        assert not torch.equal(model(replace(batch, tokens=changed[13]))[0], before[0])


def test_cross_attention_to_a_table_of_one_field_is_an_error_before_the_data_is_read(job: JobFolder) -> None:
    job.settings(model_class="multimodal_cross_attn", text_encoder="cnn", tab_field_list=None)
    assert job.run() == 1
    assert "attention over a single key always has the weight 1" in job.failure
    with pytest.raises(SettingError, match="single key"):
        build_model("multimodal_cross_attn", spec=replace(SPEC, numbers=()))


def test_a_number_of_heads_that_does_not_divide_the_width_is_an_error(job: JobFolder) -> None:
    job.settings(model_class="multimodal_cross_attn", text_encoder="cnn", num_heads=5)
    assert job.run() == 1
    assert "attention_dim is 128, which num_heads 5 does not divide" in job.failure


# --- all fusions


@pytest.mark.parametrize(
    "model_class", ["multimodal_gate_fusion", "multimodal_moe", "multimodal_cross_attn", "multimodal_cnn"]
)
@pytest.mark.parametrize("modality", ["text", "table"])
def test_a_fusion_without_columns_of_one_modality_is_an_error_before_the_data_is_read(
    job: JobFolder, model_class: str, modality: str
) -> None:
    absent = {"text_name": None} if modality == "text" else {"cat_field_list": None, "tab_field_list": None}
    encoder = {} if model_class == "multimodal_cnn" else {"text_encoder": "cnn"}
    job.settings(model_class=model_class, **encoder, **absent)
    assert job.run() == 1
    assert f"needs {modality}, and no setting names such a column" in job.failure


@pytest.mark.parametrize(
    ("name", "value"), [("numeric_embedding", "periodic"), ("field_dim", 5), ("hidden_common_dim", 12)]
)
@pytest.mark.parametrize(
    "model_class", ["multimodal_gate_fusion", "multimodal_moe", "multimodal_cross_attn", "multimodal_lstm"]
)
def test_the_settings_of_a_fusion_change_its_layers(model_class: str, name: str, value: Any) -> None:
    encoder = "lstm" if model_class == "multimodal_lstm" else "cnn"
    shapes = [
        {key: tuple(v.shape) for key, v in build_model(model_class, encoder, **changes).state_dict().items()}
        for changes in ({}, {name: value})
    ]
    assert shapes[0] != shapes[1]


# --- logged metrics


def test_every_expert_is_used_on_the_demo_data_and_its_load_is_logged(tmp_path: Path) -> None:
    generate_demo_data(tmp_path, 1400)
    others = {
        "text_encoder": "cnn",
        "num_channels": [16],
        "hidden_common_dim": 32,
        "embedding_dim": 16,
        "max_epochs": 4,
    }
    write_hyperparameters(tmp_path, "multimodal_moe", others)
    assert JobFolder(tmp_path).run() == 0
    model, preprocessor = model_folder.load_model(tmp_path / "model")
    val = preprocessor.encode(open_channel("val", tmp_path / "input/data/val", preprocessor.settings.columns), "val")
    with torch.no_grad():
        load = model(Batch.from_arrays(val.batch(np.arange(len(val))))).metrics
    assert len(load) == 6
    assert min(load.values()) > 0.02, load
    logged = EventAccumulator(str(tmp_path / "output/data/tensorboard")).Reload()
    for name in load:
        shares = [event.value for event in logged.Scalars(f"train/{name}")]
        assert len(shares) == 4, "a mean for each epoch"
        assert min(shares) > 0.05, (name, shares)
    assert len(logged.Scalars("train/penalty_load_balance")) == 4


def test_the_mean_gate_of_each_modality_is_logged_for_each_epoch(job: JobFolder, capsys: Any) -> None:
    assert job.fill(model_class="multimodal_gate_fusion", text_encoder="cnn").run() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "gate_text" in line]
    assert [re.sub(r".*INFO |\d\.\d+", "", line) for line in lines] == [
        f"Epoch {epoch} of 2: gate_text , gate_table " for epoch in (1, 2)
    ]
    logged = EventAccumulator(str(job.output / "tensorboard")).Reload()
    text, table = (logged.Scalars(f"train/gate_{name}")[0].value for name in ("text", "table"))
    assert 0 < text < 1
    assert text + table == pytest.approx(1.0)
