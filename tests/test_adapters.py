"""Adapters (LoRA, DoRA, IA3) of a text encoder: what trains, how they merge, and errors before any data is read."""

from __future__ import annotations

import importlib.util
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from encoder_folders import SIZES, save_encoder
from frozen_helpers import PreparedJob, prepare_job
from fusionzoo import errors
from fusionzoo.nn.adapters import AdapterSettings, add_adapters, find_targets, merge_adapters
from fusionzoo.nn.hugging_face import create_encoder, make_config
from fusionzoo.nn.schema import InputSpec, TextSpec
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from fusionzoo.settings import JobSettings, ModelSettings
from fusionzoo.training import optimizers
from fusionzoo.training.frozen.features import is_frozen
from fusionzoo.training.guards.model_memory import count_training_bytes
from registry_helpers import ENCODER_HOOK, HEAD, SETTINGS_HOOK, load_error
from shop import JobFolder

METHODS = ("lora", "dora", "ia3")
COLUMNS = {"model_class": "bert", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": 34},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {"embedding_size": 8},
    "albert": {"embedding_size": 8},
    "mpnet": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    "modernbert": {"cls_token_id": 1, "sep_token_id": 2},
    "gpt2": {"bos_token_id": 1, "eos_token_id": 2},
}


def make_settings(method: str = "lora", **changes: Any) -> AdapterSettings:
    values = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "targets": None, **changes}
    return AdapterSettings(method, **values)  # type: ignore[arg-type]


def make_tiny_config(family: str) -> PretrainedConfig:
    return make_config({"model_type": family, **SIZES, "vocab_size": 40, "pad_token_id": 0, **FAMILIES[family]})


def make_encoder(family: str = "bert") -> PreTrainedModel:
    torch.manual_seed(0)
    return create_encoder(make_tiny_config(family), with_pooler=False)


def encode(backbone: nn.Module) -> Tensor:
    tokens = torch.arange(4, 24).reshape(2, 10)
    features: Tensor = backbone(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
    return features


def train_adapters(backbone: nn.Module) -> None:
    """Change the trainable weights as a training would, so that the adapters have an effect."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in backbone.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))


def resolve_bert(job_changes: dict[str, Any] | None = None, **changes: Any) -> ModelSettings:
    job = JobSettings(**{**COLUMNS, "max_sen_len": 12, "tokenizer": changes.get("encoder_name"), **(job_changes or {})})
    return Registry.discover(TEXT_ENCODERS_GROUP).load("bert").settings_class(**changes).resolve(job)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_encoder(tmp_path_factory.mktemp("encoder"), words=["order", "box", "fine"])


# --- what trains, and what merging gives


@pytest.mark.parametrize(
    ("method", "family"),
    [*(("lora", family) for family in FAMILIES), *product(("dora", "ia3"), ("bert", "gpt2"))],
)
@pytest.mark.filterwarnings("error")
def test_merged_adapters_compute_the_same_in_the_tensors_of_the_encoder(method: str, family: str) -> None:
    backbone = make_encoder(family).eval()
    state, first = {name: value.clone() for name, value in backbone.state_dict().items()}, encode(backbone)
    add_adapters(backbone, make_settings(method))
    assert torch.allclose(encode(backbone), first, atol=1e-5)
    train_adapters(backbone)
    trained = encode(backbone).detach()
    merge_adapters(backbone)
    merged = backbone.state_dict()
    assert torch.allclose(encode(backbone), trained, atol=1e-5)
    assert not torch.allclose(trained, first, atol=1e-3)
    assert {name: value.shape for name, value in merged.items()} == {n: value.shape for n, value in state.items()}
    changed = {name.removesuffix(".weight") for name, value in merged.items() if not torch.equal(value, state[name])}
    assert changed >= set(find_targets(backbone, make_settings()))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_adapter_gets_a_gradient_and_nothing_else_does(family: str) -> None:
    backbone = make_encoder(family)
    loaded = {id(weight) for weight in backbone.parameters()}
    add_adapters(backbone, make_settings())
    train_adapters(backbone)
    encode(backbone.train()).square().sum().backward()
    with_gradient = {name for name, weight in backbone.named_parameters() if weight.grad is not None}
    assert with_gradient == {name for name, weight in backbone.named_parameters() if id(weight) not in loaded}


def test_adapters_can_be_added_again_after_they_were_merged() -> None:
    backbone = make_encoder().eval()
    for _ in range(2):
        add_adapters(backbone, make_settings())
        train_adapters(backbone)
        trained = encode(backbone).detach()
        merge_adapters(backbone)
        assert all(weight.requires_grad for weight in backbone.parameters())
        assert torch.allclose(encode(backbone), trained, atol=1e-5)


def test_gradient_checkpointing_gives_adapters_the_same_gradients() -> None:
    gradients = []
    for checkpoints in (False, True):
        backbone = make_encoder().eval()
        add_adapters(backbone, make_settings())
        train_adapters(backbone)
        if checkpoints:
            backbone.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
        for module in backbone.modules():
            module.training = not isinstance(module, nn.Dropout)
        encode(backbone).square().sum().backward()
        gradients.append([weight.grad for weight in backbone.parameters() if weight.requires_grad])
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        (["query"], {"attention.self.query"}),
        (["attention.output.dense", "self.value"], {"attention.output.dense", "attention.self.value"}),
        (["layer.1.intermediate.dense"], {"intermediate.dense"}),
    ],
)
def test_targets_are_linear_layers_by_the_last_parts_of_their_names(targets: list[str], names: set[str]) -> None:
    found = find_targets(make_encoder(), make_settings(targets=targets))
    assert {name.removeprefix("encoder.layer.").partition(".")[2] for name in found} == names
    assert len(found) == (1 if targets[0].startswith("layer.1.") else 2 * len(names))


def test_a_weight_that_two_layers_share_gets_no_adapter() -> None:
    backbone = make_encoder()
    layers = backbone.encoder.layer
    layers[1].attention.self.query.weight = layers[0].attention.self.query.weight
    assert not any(name.endswith("query") for name in find_targets(backbone, make_settings()))


# --- a job with adapters


def prepare(folder: Path, encoder: str, **settings: Any) -> PreparedJob:
    values = {"num_channels": None, "embedding_dim": None, "tokenizer": None, "encoder_name": encoder, **settings}
    job = prepare_job(JobFolder(folder).fill(rows=40, model_class="multimodal_bert", **values))
    job.built = job.architecture.add_adapters(job.built)
    return job


def make_groups(job: PreparedJob) -> list[dict[str, Any]]:
    run = job.run
    return optimizers.parameter_groups(run.built.model, run.pretrained_encoder, run.job, [], run.built.adapters)


def test_adapters_have_the_learning_rate_of_new_layers(tmp_path: Path, encoder: str) -> None:
    job = prepare(tmp_path, encoder, peft="lora", encoder_lr_scale=0.5)
    groups = make_groups(job)
    assert {(group["part"], group["lr"]) for group in groups} == {("adapters", 5e-4), ("head", 1e-3)}
    adapters = [p for group in groups if group["part"] == "adapters" for p in group["params"]]
    assert {id(p) for p in adapters} == {id(p) for p in job.built.adapters}
    assert not is_frozen(job.encoder)  # so its features are not computed once


def test_adapters_next_to_trained_pretrained_weights_learn_like_the_head() -> None:
    encoder, adapter = nn.Linear(2, 3), nn.Parameter(torch.zeros(2, 2))
    encoder.register_parameter("adapter", adapter)
    model, job = (
        nn.ModuleList([encoder, nn.Linear(3, 2)]),
        JobSettings(**COLUMNS, head_lr_scale=10, encoder_lr_scale=0.5),
    )
    groups = optimizers.parameter_groups(model, encoder, job, [], [adapter])
    assert {group["part"]: round(group["lr"], 9) for group in groups} == {
        "encoder": 5e-5,
        "adapters": 5e-4,
        "head": 1e-3,
    }


def test_layer_decay_lowers_the_rates_of_adapters_in_lower_layers(tmp_path: Path, encoder: str) -> None:
    groups = make_groups(prepare(tmp_path, encoder, peft="lora", layer_decay=0.5))
    rates = {group["part"]: group["lr"] for group in groups}
    assert rates == {"adapters_x1": 1e-3, "adapters_x0.5": 5e-4, "head": 1e-3}


def test_scales_of_ia3_do_not_decay_to_zero(tmp_path: Path, encoder: str) -> None:
    groups = make_groups(prepare(tmp_path, encoder, peft="ia3"))
    assert {group["weight_decay"] for group in groups if group["part"] == "adapters"} == {0.0}
    assert {group["weight_decay"] for group in groups if group["part"] == "head"} == {0.0, 0.01}


def test_the_memory_of_training_counts_gradients_of_adapters_only(tmp_path: Path, encoder: str) -> None:
    job = prepare(tmp_path, encoder, peft="lora", peft_rank=1)
    weights = sum(4 * weight.numel() for weight in job.encoder.parameters())
    adapters = sum(4 * weight.numel() for weight in job.built.adapters)
    assert count_training_bytes(job.encoder, "adamw") == weights + 3 * adapters


# --- errors before any data is read


def test_an_unknown_target_is_an_error_that_names_the_linear_layers(encoder: str) -> None:
    with pytest.raises(errors.SettingError, match=r"q_lin.*attention.self.query.*output.dense") as caught:
        resolve_bert(encoder_name=encoder, peft="lora", peft_targets=["query", "q_lin"])
    assert caught.value.setting == "peft_targets"


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("freeze_text_encoder", {"freeze_text_encoder": True}),
        ("reinit_layers", {"reinit_layers": 1}),
        ("reinit_pooler", {"reinit_pooler": True, "pooling": "pooler"}),
        ("peft", {"encoder_name": None, "encoder_config": {"model_type": "bert", **SIZES}}),
    ],
)
def test_settings_that_adapters_exclude_are_errors(setting: str, changes: dict[str, Any], encoder: str) -> None:
    with pytest.raises(errors.SettingError, match=r"Fix: .*remove peft") as caught:
        resolve_bert({"tokenizer": encoder}, **{"encoder_name": encoder, "peft": "lora", **changes})
    assert caught.value.setting == setting


def test_a_job_with_init_from_may_add_adapters_to_an_encoder_without_pretrained_weights() -> None:
    changes = {"encoder_config": {"model_type": "bert", **SIZES}, "peft": "lora"}
    settings: Any = resolve_bert({"tokenizer": "word", "init_from": "model"}, **changes)
    assert settings.adapters.method == "lora"
    assert not settings.pretrained


def test_settings_without_effect_are_warned_of(encoder: str, caplog: pytest.LogCaptureFixture) -> None:
    resolve_bert(encoder_name=encoder, peft_rank=4)
    assert caplog.messages == ["peft_rank: no effect without peft."]
    caplog.clear()
    resolve_bert(encoder_name=encoder, peft="ia3", peft_alpha=1.0)
    assert caplog.messages == ["peft_alpha: no effect with peft: ia3."]


def test_without_peft_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    monkeypatch.setattr("fusionzoo.nn.adapters.find_spec", lambda name: None)
    with pytest.raises(errors.MissingPackagesError, match=r"(?s)peft.*pip install 'fusionzoo\[peft\]'"):
        resolve_bert(encoder_name=encoder, peft="lora")
    resolve_bert(encoder_name=encoder)


def test_a_peft_that_does_not_fit_the_other_libraries_is_an_error(
    monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)  # `import peft` raises ImportError
    assert importlib.util.find_spec("torch") is not None
    monkeypatch.setattr("fusionzoo.nn.adapters.find_spec", lambda name: object())
    with pytest.raises(errors.AdapterLibraryError, match="does not fit the installed versions of torch"):
        resolve_bert(encoder_name=encoder, peft="lora")


def test_a_plugin_that_adds_adapters_must_merge_them(install: Any) -> None:
    hook = "@hookimpl\ndef add_adapters(text_encoder, settings): ...\n"
    install("acme-bad", text_encoders=["bad"], source=HEAD + SETTINGS_HOOK + ENCODER_HOOK + hook)
    message = str(load_error("bad", errors.BrokenPluginError, TEXT_ENCODERS_GROUP))
    assert "it lacks merge_adapters()" in message


def test_building_an_encoder_ignores_peft() -> None:
    settings_class = Registry.discover(TEXT_ENCODERS_GROUP).load("bert").settings_class
    values = {"encoder_config": {"model_type": "bert", **SIZES}}
    spec = InputSpec(TextSpec(40, 0, 12, 3, "word"), (), (), 2)
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    plain, with_peft = (
        plugin.build_text_encoder(spec, settings_class.model_validate({**values, **changes}))
        for changes in ({}, {"peft": "dora", "peft_rank": 2})
    )
    assert plain.state_dict().keys() == with_peft.state_dict().keys()
