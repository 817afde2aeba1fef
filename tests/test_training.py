"""Training: groups and rates, precision, batches, validation figures, checkpoints."""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusionzoo.evaluation.metrics import classification_metrics
from fusionzoo.settings import METRICS
from fusionzoo.training import optimizers, precision
from fusionzoo.training.checkpointing import checkpoint_io
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.monitoring.validation_metrics import ValidationMetrics
from training_helpers import EncoderWithHead, make_job_settings, make_random_split


def rates(groups: list[dict[str, Any]], net: EncoderWithHead) -> dict[str, tuple[float, float]]:
    named = {id(p): name for name, p in net.named_parameters()}
    return {named[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_a_pretrained_encoder_learns_at_lr_and_what_is_new_at_ten_times_that() -> None:
    net = EncoderWithHead()
    found = rates(optimizers.parameter_groups(net, net.encoder, make_job_settings(lr=2e-5, weight_decay=0.1), []), net)
    assert found["encoder.2.weight"] == (2e-5, 0.1)
    assert found["head.weight"] == pytest.approx((2e-4, 0.1))
    scaled = optimizers.parameter_groups(
        net, net.encoder, make_job_settings(lr=1e-3, encoder_lr_scale=0.1, head_lr_scale=1), []
    )
    assert rates(scaled, net)["encoder.2.weight"][0] == pytest.approx(1e-4)
    assert rates(scaled, net)["head.weight"][0] == pytest.approx(1e-3)


def test_without_a_pretrained_part_everything_learns_at_lr() -> None:
    net = EncoderWithHead()
    assert {
        lr for lr, _ in rates(optimizers.parameter_groups(net, None, make_job_settings(lr=0.01), []), net).values()
    } == {0.01}
    assert {g["lr"] for g in optimizers.parameter_groups(net, None, make_job_settings(), [])} == {optimizers.FRESH_LR}
    net.encoder.requires_grad_(False)
    frozen = optimizers.parameter_groups(net, net.encoder, make_job_settings(), [])
    assert {g["lr"] for g in frozen} == {optimizers.FRESH_LR}


def test_biases_norms_and_embeddings_do_not_decay_and_each_parameter_stands_in_one_group() -> None:
    net = EncoderWithHead()
    groups = optimizers.parameter_groups(net, net.encoder, make_job_settings(weight_decay=0.1), [])
    found = rates(groups, net)
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters())) == len(found)
    assert {name for name, (_, decay) in found.items() if decay} == {"encoder.2.weight", "head.weight"}


def test_a_plugins_own_groups_are_kept_and_core_groups_the_rest() -> None:
    net = EncoderWithHead()
    own = [{"params": [net.head.weight], "lr_scale": 0.5, "weight_decay": 0.0}]
    found = rates(optimizers.parameter_groups(net, None, make_job_settings(lr=1e-2, weight_decay=0.1), own), net)
    assert found["head.weight"] == (5e-3, 0.0)
    assert found["head.bias"] == (1e-2, 0.0)


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")])
def test_optimizer_chooses_the_optimizer(name: str, kind: str) -> None:
    net = EncoderWithHead()
    settings = make_job_settings(optimizer=name, momentum=0.7, adam_epsilon=1e-5)
    made = optimizers.build_optimizer(optimizers.parameter_groups(net, None, settings, []), settings)
    assert type(made).__name__ == kind
    assert made.defaults.get("momentum", 0.7) == 0.7
    assert made.defaults.get("eps", 1e-5) == 1e-5


def learning_rates(steps: int, **changes: Any) -> list[float]:
    settings = make_job_settings(lr=1.0, optimizer="sgd", **changes)
    optimizer = optimizers.build_optimizer([{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}], settings)
    schedule = optimizers.build_scheduler(optimizer, settings, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return seen


def test_the_rate_warms_up_linearly_and_decays_linearly_to_zero() -> None:
    seen = learning_rates(100, warmup_steps=10)
    assert np.argmax(seen) == 10
    assert seen[10] == 1.0
    assert np.allclose(np.diff(seen[:10]), seen[1] - seen[0])
    assert np.allclose(np.diff(seen[10:]), -1 / 90)
    assert seen[-1] == pytest.approx(1 / 90)
    assert learning_rates(100, warmup_fraction=0.1) == seen


def test_a_constant_schedule_stays_after_the_warm_up() -> None:
    assert set(learning_rates(20, schedule="constant", warmup_steps=4)[4:]) == {1.0}
    assert learning_rates(5, schedule="constant", warmup_steps=0) == [1.0] * 5


@pytest.mark.parametrize(
    ("changes", "flags", "chosen"),
    [
        ({}, {"avx512_bf16"}, "bf16-mixed"),
        ({}, {"amx_bf16"}, "bf16-mixed"),
        ({}, set(), "32-true"),
        ({"precision": "32"}, {"avx512_bf16"}, "32-true"),
        ({"fp16": False}, {"avx512_bf16"}, "32-true"),
        ({"precision": "bf16"}, set(), "32-true"),
        ({"fp16": True}, {"avx512_bf16"}, "bf16-mixed"),
        ({"precision": "fp16"}, set(), "32-true"),
    ],
)
def test_precision_is_what_was_asked_for_or_the_next_best_with_a_warning(
    changes: dict[str, Any], flags: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert precision.choose_precision(make_job_settings(**changes), frozenset(flags)) == chosen
    missed = changes in ({"precision": "bf16"}, {"fp16": True}, {"precision": "fp16"})
    assert bool(caplog.records) == missed


@pytest.mark.parametrize(
    ("capability", "changes", "chosen", "why"),
    [
        ((9, 0), {}, "bf16-mixed", "NVIDIA X supports bf16"),
        ((8, 0), {"precision": "bf16"}, "bf16-mixed", "it was requested"),
        ((7, 5), {}, "32-true", "NVIDIA X does not support bf16"),
        ((7, 5), {"precision": "bf16"}, "32-true", "NVIDIA X does not support bf16"),
        ((7, 5), {"fp16": True}, "16-mixed", "it was requested"),
        ((9, 0), {"fp16": False}, "32-true", "it was requested"),
    ],
)
def test_a_gpu_has_bf16_from_ampere_on_whatever_torch_emulates(
    capability: tuple[int, int], changes: dict[str, Any], chosen: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "NVIDIA X")
    choice = precision.resolve_precision(make_job_settings(**changes), frozenset())
    assert (choice.precision, choice.reason) == (chosen, why)
    assert choice.is_fallback == (changes == {"precision": "bf16"} and capability < (8, 0))


@pytest.mark.parametrize(
    ("changes", "flags", "told"),
    [
        ({}, set(), ("32-true", "auto", "this CPU does not support bf16")),
        ({}, {"amx_bf16"}, ("bf16-mixed", "auto", "this CPU supports bf16")),
        ({"precision": "32"}, {"amx_bf16"}, ("32-true", "32", "it was requested")),
        ({"precision": "bf16"}, set(), ("32-true", "bf16", "this CPU does not support bf16")),
        ({"fp16": True}, {"amx_bf16"}, ("bf16-mixed", "fp16", "this CPU supports bf16, but not fp16")),
        ({"fp16": True}, set(), ("32-true", "fp16", "this CPU supports neither fp16 nor bf16")),
    ],
)
def test_what_was_asked_for_and_why_it_is_this_precision_is_kept_and_logged(
    changes: dict[str, Any], flags: set[str], told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = precision.resolve_precision(make_job_settings(**changes), frozenset(flags)).as_metrics()
    assert found == dict(zip(("precision", "precision_requested", "precision_reason"), told, strict=True))
    with caplog.at_level("INFO", "fusionzoo"):
        precision.choose_precision(make_job_settings(**changes), frozenset(flags))
    assert told[2] in caplog.text
    assert told[0] in caplog.text


def test_validation_figures_are_those_of_the_final_evaluation_however_rows_are_batched() -> None:
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(57, 3), torch.randint(0, 3, (57,)), torch.tensor([1.0, 2.0, 5.0])
    scores = ValidationMetrics()
    for start in range(0, 57, 10):
        scores.update(logits[start : start + 10], labels[start : start + 10], weights)
    found = scores.compute()
    wanted = classification_metrics(labels.numpy(), logits.softmax(-1).numpy())
    assert {name: found[f"val/{name}"] for name in METRICS} == pytest.approx(wanted)
    assert found["val_loss"] == pytest.approx(nn.functional.cross_entropy(logits, labels, weight=weights).item())


def test_a_figure_that_the_rows_do_not_define_is_left_out_and_never_made_up() -> None:
    scores = ValidationMetrics()
    scores.update(torch.randn(4, 2), torch.zeros(4, dtype=torch.long), torch.ones(2))
    assert "val/auroc" not in scores.compute()
    assert "val/accuracy" in scores.compute()


def test_an_epoch_has_every_row_once_and_another_order_than_the_next() -> None:
    loader = SplitsDataModule(
        make_random_split(103), make_random_split(11), make_job_settings(batch_size=8)
    ).train_dataloader()
    orders = []
    for epoch in (0, 1, 0):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        orders.append([b.row.tolist() for b in loader])
    assert sorted(functools.reduce(operator.iadd, orders[0], [])) == list(range(103))
    assert orders[0] == orders[2] != orders[1]
    assert len(loader) == len(orders[0])


def test_some_training_categories_are_shown_as_unknown_and_validation_ones_never() -> None:
    data, settings = make_random_split(400), make_job_settings(batch_size=50, unknown_category_rate=0.2)
    module = SplitsDataModule(data, data, settings)
    shown = torch.cat([b.categories[b.row.argsort()] for b in module.train_dataloader()])
    rows = torch.cat([b.row.sort().values for b in module.train_dataloader()])
    true = torch.from_numpy(data.categories)[rows]
    hidden = shown != true
    assert 0.1 < hidden.float().mean() < 0.3
    assert (shown[hidden] == 1).all()
    assert not (hidden & (true == 0)).any()
    for batch in module.val_dataloader():
        assert torch.equal(batch.categories, torch.from_numpy(data.categories)[batch.row])


def test_checkpoints_of_an_earlier_run_are_cleared_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("best.ckpt", "last.ckpt", "mine.txt"):
        (tmp_path / name).write_text("x")
    assert checkpoint_io.delete_checkpoints(tmp_path) == ["best.ckpt", "last.ckpt"]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
