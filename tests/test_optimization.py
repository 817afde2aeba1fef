"""The optimizer, its parameter groups and schedules, and optimizer steps over several batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.errors import SettingError
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.nn.transformer_layers import count_layers_above
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers
from fusionzoo.training.datamodule import SplitsDataModule
from training_helpers import LinearModel, fit_linear_model, make_job_settings, make_random_split


def run_ten_steps(optimizer: str, fused: bool) -> Tensor:
    """Return a weight after ten steps."""
    torch.manual_seed(0)
    net = nn.Linear(7, 5)
    settings = make_job_settings(optimizer=optimizer, fused_optimizer=fused, lr=0.1)
    built = optimizers.build_optimizer(optimizers.parameter_groups(net, None, settings, []), settings)
    assert [bool(group.get("fused")) for group in built.param_groups] == [fused] * len(built.param_groups)
    for i in range(10):
        built.zero_grad()
        net(torch.full((3, 7), 0.1 * i)).square().sum().backward()
        built.step()
    return net.weight.detach()


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_fused_kernel_computes_the_same_weights(optimizer: str) -> None:
    if not optimizers.supports_fused(optimizer, [nn.Parameter(torch.zeros(1))]):
        pytest.skip("this torch has no fused kernels on the CPU")
    assert torch.allclose(
        run_ten_steps(optimizer, fused=True), run_ten_steps(optimizer, fused=False), rtol=1e-5, atol=1e-7
    )


def test_a_fused_kernel_is_used_if_torch_has_it() -> None:
    parameters = [nn.Parameter(torch.zeros(1))]
    assert [
        optimizers.supports_fused("adamw", parameters, v) for v in ("2.1.0", "2.3.1+cpu", "2.4.0", "2.13.0+cpu")
    ] == [
        False,
        False,
        True,
        True,
    ]
    assert not optimizers.supports_fused("adamw", [*parameters, nn.Parameter(torch.zeros(1, device="meta"))])
    for optimizer in ("adamw", "adam", "sgd"):
        for is_requested in (True, False):
            settings = make_job_settings(optimizer=optimizer, fused_optimizer=is_requested)
            built = optimizers.build_optimizer([{"params": parameters, "lr": 0.1, "weight_decay": 0.0}], settings)
            fused = [bool(group.get("fused")) for group in built.param_groups]
            assert fused == [is_requested and optimizers.supports_fused(optimizer, parameters)]


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="torch before 2.3 scales a loss on GPUs only")
def test_a_fused_optimizer_works_with_a_loss_scale_and_clips_unscaled_gradients() -> None:
    weights = []
    for scale in (None, 2.0**16):
        net = nn.Linear(3, 1, bias=False)
        nn.init.ones_(net.weight)
        settings = make_job_settings(optimizer="sgd", momentum=0)
        optimizer = optimizers.build_optimizer(optimizers.parameter_groups(net, None, settings, []), settings)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
        scaler.scale(100 * net(torch.ones(1, 3)).sum()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        scaler.step(optimizer)
        weights.append(net.weight.detach())
    assert torch.allclose(weights[0], weights[1])
    assert not torch.allclose(weights[0], torch.ones(1, 3))


def test_a_fused_optimizer_trains_under_autocast_with_clipping() -> None:
    data = make_random_split(60)
    model, _ = fit_linear_model(
        make_job_settings(batch_size=8, lr=0.1), data, [1.0, 1.0], epochs=1, precision="bf16-mixed"
    )
    assert bool(model.classify.weight.isfinite().all())


def test_a_cosine_schedule_decays_along_half_a_cosine_after_the_warm_up() -> None:
    settings = make_job_settings(schedule="cosine", warmup_steps=4)
    optimizer = optimizers.build_optimizer([{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}], settings)
    schedule = optimizers.build_scheduler(optimizer, settings, 24)
    factor = schedule.lr_lambdas[0]
    assert [factor(step) for step in (4, 9, 14, 19, 24)] == pytest.approx([1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)
    assert [factor(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 16},
    "roberta": {},
    "electra": {"embedding_size": 8},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]},
    "mpnet": {},
    "xlm": {"emb_dim": 16, "n_layers": 3, "n_heads": 2},
    "modernbert": {},
}


def build_encoder(kind: str, **changes: Any) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    values = {**sizes, "vocab_size": 60, "pad_token_id": 0, **ENCODERS.get(kind, {}), **changes}
    return AutoModel.from_config(AutoConfig.for_model(kind, **values))


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind in CONFIG_MAPPING])  # of this transformers
def test_the_layers_of_any_hugging_face_encoder_are_found(kind: str) -> None:
    backbone = build_encoder(kind)
    above = count_layers_above(nn.ModuleDict({"backbone": backbone}))
    assert above is not None
    assert above.keys() == {f"backbone.{name}" for name, _ in backbone.named_parameters()}
    embedded = [
        n
        for n in above
        if "word_embeddings" in n or n.endswith(("tok_embeddings.weight", "backbone.embeddings.weight"))
    ]
    assert embedded
    assert {above[name] for name in embedded} == {3}
    assert set(above.values()) == {0, 1, 2, 3} if "pooler" not in str(above) else set(above.values()) >= {0, 1, 2, 3}
    shared = [name for name in above if "rel_embeddings" in name or "encoder.relative_attention_bias" in name]
    assert bool(shared) == (kind in ("deberta-v2", "mpnet"))
    assert {above[name] for name in shared} <= {3}
    for place, layers in ((".0.", 2), (".1.", 1), (".2.", 0)):
        names = [name for name in above if place in name and "embeddings" not in name]
        assert names
        assert {above[name] for name in names} == {layers}


class ModelWithEncoder(nn.Module):
    def __init__(self, kind: str = "bert", **changes: Any) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"backbone": build_encoder(kind, **changes)})
        self.head = nn.Linear(16, 2)


def rates_by_name(model: nn.Module, groups: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the learning rate of each parameter, which must be in exactly one group."""
    named = {id(p): name for name, p in model.named_parameters()}
    found = [(named[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert len(found) == len(named)
    return dict(found)


def test_layer_decay_lowers_the_rate_layer_by_layer_and_leaves_the_head_alone() -> None:
    model = ModelWithEncoder()
    settings = make_job_settings(lr=1e-4, layer_decay=0.5, encoder_lr_scale=0.1, head_lr_scale=3)
    plugin_groups = [{"params": [model.encoder["backbone"].pooler.dense.weight], "lr_scale": 7.0}]
    rates = rates_by_name(model, optimizers.parameter_groups(model, model.encoder, settings, plugin_groups))
    layer = "encoder.backbone.encoder.layer.{}.attention.self.query.{}"
    for kind in ("weight", "bias"):
        assert [rates[layer.format(i, kind)] for i in (2, 1, 0)] == pytest.approx([1e-5, 5e-6, 2.5e-6])
    assert rates["encoder.backbone.embeddings.word_embeddings.weight"] == pytest.approx(1.25e-6)
    assert rates["encoder.backbone.pooler.dense.weight"] == pytest.approx(7e-4)
    assert rates["encoder.backbone.pooler.dense.bias"] == pytest.approx(1e-5)
    assert rates["head.weight"] == pytest.approx(3e-4)
    plain = make_job_settings(lr=1e-4, head_lr_scale=3)
    found = set(rates_by_name(model, optimizers.parameter_groups(model, model.encoder, plain, [])).values())
    assert sorted(found) == pytest.approx([1e-4, 3e-4])


def test_layer_decay_without_a_trainable_pretrained_stack_is_an_error() -> None:
    shared = ModelWithEncoder("albert", embedding_size=8)
    frozen = ModelWithEncoder()
    frozen.encoder.requires_grad_(False)
    for model, words in ((shared, "no stack of layers"), (frozen, "does not fine-tune a pretrained text encoder")):
        with pytest.raises(SettingError, match=words):
            optimizers.parameter_groups(model, model.encoder, make_job_settings(layer_decay=0.9), [])


# --- gradient accumulation


def train_by_hand(settings: JobSettings, data: EncodedSplit, weights: Sequence[float], epochs: int = 2) -> LinearModel:
    """Train like `fit_linear_model`, but with one batch of all rows per optimizer step."""
    torch.manual_seed(3)
    model, accumulated = LinearModel(), settings.accumulate_grad_batches
    splits = SplitsDataModule(data, data, settings)
    optimizer = optimizers.build_optimizer(optimizers.parameter_groups(model, None, settings, []), settings)
    schedule = optimizers.build_scheduler(
        optimizer, settings, optimizers.steps_per_epoch(splits.steps, settings) * epochs
    )
    loader = splits.train_dataloader()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        rows = [batch.row.numpy() for batch in loader]
        for begin in range(0, len(rows), accumulated):
            batch = Batch.from_arrays(data.batch(np.concatenate(rows[begin : begin + accumulated])))
            output = model(batch)
            loss = F.cross_entropy(output.logits, batch.labels, weight=torch.tensor(weights))
            if len(set(weights)) == 1:
                loss = loss + output.penalties["size"]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
    return model


@pytest.mark.parametrize("batching", [{"batch_size": 8}, {"max_batch_tokens": 160, "batch_size": 1}])
@pytest.mark.parametrize("every", [1, 3])
def test_accumulated_batches_train_like_one_batch_of_their_rows(batching: dict[str, Any], every: int) -> None:
    data = make_random_split(60)
    settings = make_job_settings(
        lr=0.5, optimizer="sgd", unknown_category_rate=0, accumulate_grad_batches=every, **batching
    )
    sizes = {batch.rows for batch in SplitsDataModule(data, data, settings).train_dataloader()}
    model, trainer = fit_linear_model(settings, data, [1.0, 1.0])
    expected = train_by_hand(settings, data, [1.0, 1.0])
    assert torch.allclose(model.classify.weight, expected.classify.weight, atol=1e-6)
    batches = len(SplitsDataModule(data, data, settings).train_dataloader())
    assert trainer.global_step == 2 * -(-batches // every)
    assert len(sizes) > 1, "the batches must differ in size"
    assert every == 1 or batches % every, "the last step of an epoch must have fewer batches"


def test_accumulated_batches_are_weighted_by_the_classes_of_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        LinearModel,
        "forward",
        lambda self, batch: ModelOutput(self.classify(batch.numbers), {"size": 0 * self.classify.bias.sum()}),
    )
    data, weights = make_random_split(60), [1.0, 25.0]
    settings = make_job_settings(
        lr=0.5, optimizer="sgd", batch_size=7, accumulate_grad_batches=4, unknown_category_rate=0
    )
    model, _ = fit_linear_model(settings, data, weights)
    assert torch.allclose(model.classify.weight, train_by_hand(settings, data, weights).classify.weight, atol=1e-6)
    plain, _ = fit_linear_model(settings, data, [1.0, 1.0])
    assert not torch.allclose(model.classify.weight, plain.classify.weight, atol=1e-2)


def test_a_batch_with_weight_zero_gives_no_nan() -> None:
    data = make_random_split(60)
    model, _ = fit_linear_model(
        make_job_settings(lr=0.5, batch_size=1, accumulate_grad_batches=2), data, [0.0, 1.0], epochs=1
    )
    assert bool(model.classify.weight.isfinite().all())
    alone, _ = fit_linear_model(make_job_settings(lr=0.5, batch_size=1), data, [0.0, 1.0], epochs=1)
    assert bool(alone.classify.weight.isfinite().all())
