"""The settings of optimisation: what each changes in a step, in a batch, in the rates, and in the model that ships."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import LabelMap
from fusionzoo.data.text.chunking import Chunker
from fusionzoo.errors import DataError, HyperparametersError, SettingError
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.nn.transformer_layers import count_layers_above
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings
from fusionzoo.training import losses, optimizers
from fusionzoo.training.checkpointing import greedy_soup
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.monitoring.phases import Phases
from fusionzoo.training.monitoring.throughput import Throughput
from parsing_helpers import parse_with_classes
from shop import TINY_BERT, JobFolder
from training_helpers import LinearModel, fit_linear_model, make_job_settings, make_random_split

EMPTY = np.array([101, 102], np.int32)


# --- the optimiser and its rates


def stepped(optimizer: str, fused: bool) -> Tensor:
    """A weight after ten steps."""
    torch.manual_seed(0)
    net = nn.Linear(7, 5)
    settings = make_job_settings(optimizer=optimizer, fused_optimizer=fused, lr=0.1)
    made = optimizers.build_optimizer(optimizers.parameter_groups(net, None, settings, []), settings)
    assert [bool(group.get("fused")) for group in made.param_groups] == [fused] * len(made.param_groups)
    for i in range(10):
        made.zero_grad()
        net(torch.full((3, 7), 0.1 * i)).square().sum().backward()
        made.step()
    return net.weight.detach()


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_the_fused_kernel_gives_the_same_weights(optimizer: str) -> None:
    if not optimizers.supports_fused(optimizer, [nn.Parameter(torch.zeros(1))]):
        pytest.skip("this torch has no fused kernels on the CPU")
    assert torch.allclose(stepped(optimizer, fused=True), stepped(optimizer, fused=False), rtol=1e-5, atol=1e-7)


def test_fused_kernels_are_taken_where_torch_has_them() -> None:
    one = [nn.Parameter(torch.zeros(1))]
    assert [optimizers.supports_fused("adamw", one, v) for v in ("2.1.0", "2.3.1+cpu", "2.4.0", "2.13.0+cpu")] == [
        False,
        False,
        True,
        True,
    ]
    assert not optimizers.supports_fused("adamw", [*one, nn.Parameter(torch.zeros(1, device="meta"))])
    for optimizer in ("adamw", "adam", "sgd"):
        for wanted in (True, False):
            settings = make_job_settings(optimizer=optimizer, fused_optimizer=wanted)
            made = optimizers.build_optimizer([{"params": one, "lr": 0.1, "weight_decay": 0.0}], settings)
            fused = [bool(group.get("fused")) for group in made.param_groups]
            assert fused == [wanted and optimizers.supports_fused(optimizer, one)]


@pytest.mark.skipif(not hasattr(torch.amp, "GradScaler"), reason="torch before 2.3 scales a loss on GPUs only")
def test_a_fused_optimizer_follows_a_loss_scale_and_clips_what_it_has_unscaled() -> None:
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


def test_a_cosine_schedule_falls_along_half_a_cosine_after_the_warm_up() -> None:
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


def encoder(kind: str, **changes: Any) -> nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    values = {**sizes, "vocab_size": 60, "pad_token_id": 0, **ENCODERS.get(kind, {}), **changes}
    return AutoModel.from_config(AutoConfig.for_model(kind, **values))


@pytest.mark.parametrize("kind", [kind for kind in ENCODERS if kind in CONFIG_MAPPING])  # of this transformers
def test_the_layers_of_any_hugging_face_encoder_are_found(kind: str) -> None:
    backbone = encoder(kind)
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
    beside = [name for name in above if "rel_embeddings" in name or "encoder.relative_attention_bias" in name]
    assert bool(beside) == (kind in ("deberta-v2", "mpnet"))
    assert {above[name] for name in beside} <= {3}
    for place, layers in ((".0.", 2), (".1.", 1), (".2.", 0)):
        names = [name for name in above if place in name and "embeddings" not in name]
        assert names
        assert {above[name] for name in names} == {layers}


class WithEncoder(nn.Module):
    def __init__(self, kind: str = "bert", **changes: Any) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"backbone": encoder(kind, **changes)})
        self.head = nn.Linear(16, 2)


def rate_of(model: nn.Module, groups: Sequence[dict[str, Any]]) -> dict[str, float]:
    named = {id(p): name for name, p in model.named_parameters()}
    found = [(named[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert len(found) == len(named)
    return dict(found)


def test_each_layer_learns_slower_than_the_one_above_and_the_head_as_before() -> None:
    model = WithEncoder()
    settings = make_job_settings(lr=1e-4, layer_decay=0.5, encoder_lr_scale=0.1, head_lr_scale=3)
    own = [{"params": [model.encoder["backbone"].pooler.dense.weight], "lr_scale": 7.0}]
    rates = rate_of(model, optimizers.parameter_groups(model, model.encoder, settings, own))
    layer = "encoder.backbone.encoder.layer.{}.attention.self.query.{}"
    for kind in ("weight", "bias"):
        assert [rates[layer.format(i, kind)] for i in (2, 1, 0)] == pytest.approx([1e-5, 5e-6, 2.5e-6])
    assert rates["encoder.backbone.embeddings.word_embeddings.weight"] == pytest.approx(1.25e-6)
    assert rates["encoder.backbone.pooler.dense.weight"] == pytest.approx(7e-4)
    assert rates["encoder.backbone.pooler.dense.bias"] == pytest.approx(1e-5)
    assert rates["head.weight"] == pytest.approx(3e-4)
    plain = make_job_settings(lr=1e-4, head_lr_scale=3)
    found = set(rate_of(model, optimizers.parameter_groups(model, model.encoder, plain, [])).values())
    assert sorted(found) == pytest.approx([1e-4, 3e-4])


def test_layer_decay_is_refused_where_no_layer_of_a_pretrained_encoder_learns() -> None:
    shared = WithEncoder("albert", embedding_size=8)
    frozen = WithEncoder()
    frozen.encoder.requires_grad_(False)
    for model, words in ((shared, "no stack of layers"), (frozen, "does not fine-tune a pretrained text encoder")):
        with pytest.raises(SettingError, match=words):
            optimizers.parameter_groups(model, model.encoder, make_job_settings(layer_decay=0.9), [])


# --- batches that make one step


def by_hand(settings: JobSettings, data: EncodedSplit, weights: Sequence[float], epochs: int = 2) -> LinearModel:
    """The same training, each step from one batch of all rows that it joins."""
    torch.manual_seed(3)
    model, every = LinearModel(), settings.accumulate_grad_batches
    splits = SplitsDataModule(data, data, settings)
    optimizer = optimizers.build_optimizer(optimizers.parameter_groups(model, None, settings, []), settings)
    schedule = optimizers.build_scheduler(
        optimizer, settings, optimizers.steps_per_epoch(splits.steps, settings) * epochs
    )
    loader = splits.train_dataloader()
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        rows = [batch.row.numpy() for batch in loader]
        for begin in range(0, len(rows), every):
            batch = Batch.from_arrays(data.batch(np.concatenate(rows[begin : begin + every])))
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


@pytest.mark.parametrize("use", [{"batch_size": 8}, {"max_batch_tokens": 70, "batch_size": 1}])
@pytest.mark.parametrize("every", [1, 3])
def test_accumulated_batches_learn_as_one_batch_of_their_rows(use: dict[str, Any], every: int) -> None:
    data = make_random_split(60)
    settings = make_job_settings(lr=0.5, optimizer="sgd", unknown_category_rate=0, accumulate_grad_batches=every, **use)
    sizes = {batch.rows for batch in SplitsDataModule(data, data, settings).train_dataloader()}
    model, trainer = fit_linear_model(settings, data, [1.0, 1.0])
    expected = by_hand(settings, data, [1.0, 1.0])
    assert torch.allclose(model.classify.weight, expected.classify.weight, atol=1e-6)
    batches = len(SplitsDataModule(data, data, settings).train_dataloader())
    assert trainer.global_step == 2 * -(-batches // every)
    assert len(sizes) > 1, "the batches must differ in size"
    assert every == 1 or batches % every, "the last step of an epoch must have fewer batches"


def test_accumulated_batches_are_weighed_by_their_rows_classes(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert torch.allclose(model.classify.weight, by_hand(settings, data, weights).classify.weight, atol=1e-6)
    plain, _ = fit_linear_model(settings, data, [1.0, 1.0])
    assert not torch.allclose(model.classify.weight, plain.classify.weight, atol=1e-2)


def test_a_batch_of_which_no_row_counts_changes_nothing_and_is_no_nan() -> None:
    data = make_random_split(60)
    model, _ = fit_linear_model(
        make_job_settings(lr=0.5, batch_size=1, accumulate_grad_batches=2), data, [0.0, 1.0], epochs=1
    )
    assert bool(model.classify.weight.isfinite().all())
    alone, _ = fit_linear_model(make_job_settings(lr=0.5, batch_size=1), data, [0.0, 1.0], epochs=1)
    assert bool(alone.classify.weight.isfinite().all())


# --- the loss


def some_rows(classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    return (
        torch.randn(40, classes, generator=g),
        torch.randint(0, classes, (40,), generator=g),
        torch.tensor([1.0, 4, 0.5]),
    )


def mean_loss(settings: JobSettings, logits: Tensor, labels: Tensor, weights: Tensor) -> float:
    return float(losses.compute_row_losses(logits, labels, settings, weights).sum() / weights[labels].sum())


def test_label_smoothing_is_that_of_torch_over_weighted_classes() -> None:
    logits, labels, weights = some_rows()
    for smoothing in (0.0, 0.2):
        found = mean_loss(make_job_settings(label_smoothing=smoothing), logits, labels, weights)
        assert found == pytest.approx(F.cross_entropy(logits, labels, weights, label_smoothing=smoothing).item())


def test_focal_loss_counts_rows_less_the_surer_they_are_and_at_gamma_0_is_cross_entropy() -> None:
    logits, labels, weights = some_rows()
    p = logits.softmax(-1)[torch.arange(40), labels].double()
    for gamma in (0.0, 0.5, 2.0, 5.0):
        wanted = (weights[labels] * (1 - p) ** gamma * -p.log()).sum() / weights[labels].sum()
        found = mean_loss(make_job_settings(loss="focal", focal_gamma=gamma), logits, labels, weights)
        assert found == pytest.approx(wanted.item(), rel=1e-5)
    assert mean_loss(make_job_settings(loss="focal", focal_gamma=0), logits, labels, weights) == pytest.approx(
        mean_loss(make_job_settings(), logits, labels, weights)
    )


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal_loss_has_a_finite_gradient_on_rows_that_are_quite_sure(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [0.0, 0.0]], requires_grad=True)
    losses.compute_row_losses(
        logits, torch.tensor([0, 0, 1]), make_job_settings(loss="focal", focal_gamma=gamma), torch.ones(2)
    ).sum().backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert not logits.grad[0].any()
    assert logits.grad[1, 1] == pytest.approx(1.0)


def test_val_loss_is_cross_entropy_whatever_the_training_loss_is() -> None:
    data, found = make_random_split(60), []
    for changes in ({}, {"loss": "focal"}, {"label_smoothing": 0.4}):
        settings = make_job_settings(lr=1e-9, batch_size=20, **changes)
        throughput = Throughput(Phases())
        _, trainer = fit_linear_model(settings, data, [1.0, 3.0], epochs=1, throughput=throughput)
        found.append((float(trainer.callback_metrics["val_loss"]), throughput.read().mean_loss or 0.0))
    assert [val for val, _ in found] == pytest.approx([found[0][0]] * 3)
    assert len({round(train, 4) for _, train in found}) == 3


def test_balanced_weights_are_scikit_learns_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    data = replace(make_random_split(60), labels=labels)
    known = LabelMap("y", ("a", "b", "c"))
    with caplog.at_level(logging.INFO):
        found = losses.compute_class_weights(make_job_settings(class_weights="balanced"), data, known)
    assert found == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=labels))
    assert f"{found[2]:.6g}" in caplog.text
    assert losses.compute_class_weights(make_job_settings(class_weights=[1.0, 2.0, 3.0]), data, known) == [
        1.0,
        2.0,
        3.0,
    ]
    assert losses.compute_class_weights(make_job_settings(), data, known) == [1.0] * 3


def test_weights_of_a_class_without_rows_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match=r"column 'y'.*none of 'c'"):
        losses.compute_class_weights(
            make_job_settings(class_weights="balanced"), make_random_split(60), LabelMap("y", ("a", "b", "c"))
        )


# --- rows that are shown without text or table


def texts(batch: Batch) -> list[list[int]]:
    """The tokens of each row."""
    found: list[list[int]] = [[] for _ in range(batch.rows)]
    for row, tokens, mask in zip(batch.chunk_row.tolist(), batch.tokens, batch.token_mask, strict=True):
        found[row] += tokens[mask].tolist()
    return found


def long_rows(rows: int = 400) -> EncodedSplit:
    """Rows of one to three chunks, each of three tokens or more."""
    rng = np.random.default_rng(1)
    chunks = rng.integers(1, 4, rows)
    lengths = rng.integers(3, 12, chunks.sum())
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(1000, 1000 + starts[-1], dtype=np.int32)
    return replace(
        make_random_split(rows), tokens=tokens, chunk_starts=starts, row_starts=np.concatenate([[0], np.cumsum(chunks)])
    )


def shown(data: EncodedSplit, epoch: int = 0, **changes: Any) -> dict[int, tuple[bool, bool]]:
    """Of each training row in an epoch: whether it has its text, and its table; nothing else may be hidden."""
    settings = make_job_settings(unknown_category_rate=0, modality_dropout=0.4, **{"batch_size": 16, **changes})
    loader = SplitsDataModule(data, data, settings, empty_text=EMPTY).train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    found = {}
    for batch in loader:
        true = Batch.from_arrays(data.batch(batch.row.numpy()))
        assert int(batch.token_mask.sum(1).max()) == batch.tokens.shape[1]
        assert not batch.tokens[~batch.token_mask].any()
        for i, (row, had, has) in enumerate(zip(batch.row.tolist(), texts(true), texts(batch), strict=True)):
            text = has == had
            assert text or has == EMPTY.tolist()
            table = torch.equal(batch.numbers[i], true.numbers[i]) and torch.equal(
                batch.categories[i], true.categories[i]
            )
            missing = not batch.categories[i].any() and not batch.numbers[i].any() and batch.numbers_missing[i].all()
            assert table or missing
            found[row] = (text, table)
    return found


def test_some_rows_are_shown_without_text_others_without_table_and_none_without_both() -> None:
    found = list(shown(long_rows()).values())
    assert (False, False) not in found
    assert 0.14 < np.mean([not text for text, _ in found]) < 0.26
    assert 0.14 < np.mean([not table for _, table in found]) < 0.26


def test_seed_epoch_and_row_decide_what_is_hidden_and_the_batch_does_not() -> None:
    data = long_rows()
    first = shown(data)
    assert first == shown(data, batch_size=1, group_by_length=False)
    assert first != shown(data, epoch=1)
    assert first != shown(data, seed=7)


def test_validation_rows_are_shown_whole() -> None:
    data = long_rows(60)
    for batch in SplitsDataModule(
        data, data, make_job_settings(modality_dropout=0.9), empty_text=EMPTY
    ).val_dataloader():
        true = Batch.from_arrays(data.batch(batch.row.numpy()))
        assert torch.equal(batch.tokens, true.tokens)
        assert torch.equal(batch.numbers_missing, true.numbers_missing)


def test_an_empty_text_is_its_special_tokens_or_one_that_stands_for_it() -> None:
    assert Chunker(8, None, (101, 5), (102,), 0).empty_text.tolist() == [101, 5, 102]
    assert Chunker(8, None, (), (), 7).empty_text.tolist() == [7]


# --- checked together


class Fusion(FusionSettings):
    pass


class TextOnly(FusionSettings):
    needs = reads = frozenset({"text"})


class Encoder(ModelSettings):
    needs = reads = frozenset({"text"})


class Pretrained(Encoder):
    @property
    def pretrained(self) -> bool:
        return True


def parsed(model: type[ModelSettings] = Fusion, encoder: type[ModelSettings] = Encoder, **changes: Any) -> JobSettings:
    given = {"model_class": "m", "id_name": "i", "text_name": "t", "label_name": "y", "num_classes": 2}
    raw = {**given, "tab_field_list": ["a"], **changes}
    return parse_with_classes(raw, model, encoder).job


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"loss": "focal", "label_smoothing": 0.1}, ["label_smoothing = 0.1", "loss is focal"]),
        ({"focal_gamma": 3}, ["focal_gamma = 3", "loss is cross_entropy"]),
        ({"layer_decay": 0.9}, ["layer_decay = 0.9", "does not fine-tune"]),
        ({"layer_decay": 1}, ["layer_decay = 1", "below 1"]),
        ({"class_weights": "balance"}, ['class_weights = "balance"', "not a list"]),
        ({"class_weights": '["balanced"]'}, ["item 1"]),
        ({"accumulate_grad_batches": 0}, ["accumulate_grad_batches = 0"]),
        ({"schedule": "cosin"}, ["schedule", "cosine"]),
        ({"average_checkpoints": -1}, ["average_checkpoints = -1"]),
        ({"modality_dropout": 1}, ["modality_dropout = 1", "below 1"]),
    ],
)
def test_settings_that_cannot_work_are_refused_once_each(changes: dict[str, Any], says: list[str]) -> None:
    with pytest.raises(HyperparametersError, match="1 problem") as refused:
        parsed(**changes)
    for words in says:
        assert words in str(refused.value)


def test_modality_dropout_is_refused_where_one_modality_is_read() -> None:
    with pytest.raises(HyperparametersError, match="reads only the text"):
        parsed(TextOnly, modality_dropout=0.1)
    assert parsed(modality_dropout="0.1").modality_dropout == 0.1


@pytest.mark.parametrize("written", ["balanced", '"balanced"', '"Balanced"'])
def test_balanced_stands_in_place_of_a_list_in_every_encoding(written: str) -> None:
    assert parsed(class_weights=written).class_weights == "balanced"


def test_settings_that_work_together_are_taken() -> None:
    found = parsed(encoder=Pretrained, layer_decay="0.8", loss='"focal"', focal_gamma="1.5", average_checkpoints="3")
    assert (found.layer_decay, found.loss, found.focal_gamma, found.average_checkpoints) == (0.8, "focal", 1.5, 3)


# --- the average of the best checkpoints


def kept(folder: Path, *weights: Tensor) -> list[dict[str, Any]]:
    """Checkpoints of `LinearModel` without bias, under these weights [classes, 2], best first."""
    names = [f"top-{i}.ckpt" for i in range(len(weights))]
    for name, weight in zip(names, weights, strict=True):
        state = {"model.classify.weight": weight, "model.classify.bias": torch.zeros(2), "class_weights": torch.ones(2)}
        torch.save({"state_dict": state}, folder / name)
    return [{"file": name, "score": 0.0} for name in names]


def rows_along(direction: Sequence[float]) -> EncodedSplit:
    """Rows whose label says on which side of a line through zero their two numbers lie."""
    data = make_random_split(200)
    return replace(data, labels=(data.numbers @ np.array(direction) > 0).astype(np.int64))


LEFT, RIGHT = torch.tensor([[0.0, 0.0], [3.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])


@pytest.mark.parametrize("metric", ["val/auroc", "val_loss"])
def test_a_checkpoint_joins_the_average_only_where_val_gets_no_worse(tmp_path: Path, metric: str) -> None:
    data, model, settings = (
        rows_along([1.0, 1.0]),
        LinearModel(),
        make_job_settings(early_stop_metric=metric, average_checkpoints=3),
    )
    candidates = kept(tmp_path, LEFT, -5 * RIGHT, RIGHT)
    told = greedy_soup.make_greedy_soup(tmp_path, model, data, settings, candidates, [1.0, 1.0])
    assert told["averaged"] == ["top-0.ckpt", "top-2.ckpt"]
    assert torch.allclose(model.classify.weight, (LEFT + RIGHT) / 2)
    assert told["gain"] > 0.01
    assert told["gain"] == pytest.approx(abs(told["value"] - told["best_alone"]))
    assert (told["value"] > told["best_alone"]) == (metric == "val/auroc")


def test_where_nothing_helps_the_best_checkpoint_ships_as_it_is(tmp_path: Path) -> None:
    data, model = rows_along([1.0, 0.0]), LinearModel()
    candidates = kept(tmp_path, LEFT, -RIGHT)
    told = greedy_soup.make_greedy_soup(
        tmp_path, model, data, make_job_settings(early_stop_metric="val/auroc"), candidates, [1.0, 1.0]
    )
    assert (told["averaged"], told["gain"]) == (["top-0.ckpt"], 0.0)
    assert torch.equal(model.classify.weight, LEFT)


def test_the_average_is_the_plain_mean_and_whole_numbers_stay() -> None:
    states = [{"w": torch.tensor([float(i)]), "n": torch.tensor(i)} for i in (1, 2, 6)]
    mean = greedy_soup.average_weights(greedy_soup.average_weights(states[0], states[1], 1), states[2], 2)
    assert (mean["w"].item(), mean["n"].item()) == (3.0, 1)


def test_val_loss_of_probabilities_is_that_of_logits() -> None:
    data, logits = make_random_split(60), torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    labels, weights = torch.from_numpy(data.labels), torch.tensor([1.0, 3.0])
    found = greedy_soup.compute_metric("val_loss", logits.softmax(-1).numpy(), data, [1.0, 3.0])
    assert found == pytest.approx(F.cross_entropy(logits, labels, weights).item(), rel=1e-5)


# --- whole jobs


def predictions(folder: JobFolder) -> Tensor:
    found: Tensor = torch.load(folder.output / "predict_results.pth", weights_only=True)["y_pred"]
    return found


def summary(folder: JobFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.output / "metrics.json").read_text())["training"]
    return found


SMALL: dict[str, Any] = {"rows": 70, "max_epochs": 2, "lr": 0.01, "batch_size": 10, "classes": ("calm", "tense", "odd")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A finished job with the settings of optimisation as they are by default."""
    folder = JobFolder(tmp_path_factory.mktemp("plain")).fill(**SMALL)
    assert folder.run() == 0, folder.failure
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine"},
        {"accumulate_grad_batches": 3},
        {"loss": "focal"},
        {"loss": "focal", "focal_gamma": 0.5},
        {"label_smoothing": 0.3},
        {"class_weights": "balanced"},
        {"modality_dropout": 0.5},
    ],
)
def test_each_setting_changes_the_scores(plain: JobFolder, job: JobFolder, changes: dict[str, Any]) -> None:
    job.fill(**SMALL, **changes)
    assert job.run() == 0, job.failure
    assert float((predictions(job) - predictions(plain)).abs().max()) > 1e-4
    told = summary(job)
    assert told["steps"] == (6 if "accumulate_grad_batches" in changes else 14)
    assert (told["class_weights"] != [1.0] * 3) == ("class_weights" in changes)


def test_a_job_ships_the_average_of_its_best_checkpoints_and_says_so(plain: JobFolder, job: JobFolder) -> None:
    job.fill(**SMALL, average_checkpoints=3, val_check_interval=0.25)
    assert job.run() == 0, job.failure
    told = summary(job)
    names = [entry["file"] for entry in told["top_checkpoints"]]
    assert len(names) == 3
    assert {path.name for path in (job.root / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", *names}
    made_of, shipped = told["averaging"]["averaged"], torch.load(job.model / "model.pth", weights_only=True)
    states = [torch.load(job.root / "checkpoints" / name, weights_only=True)["state_dict"] for name in made_of]
    for name, value in shipped.items():
        mean = torch.stack([state[f"model.{name}"].double() for state in states]).mean(0)
        assert torch.allclose(value.double(), mean, atol=1e-6)
    assert told["averaging"]["gain"] >= 0
    assert made_of[0] == names[0]
    best = torch.load(job.root / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, states[0][name]) for name, value in best.items())
    assert summary(plain)["top_checkpoints"] == []
    assert "averaging" not in summary(plain)
    assert greedy_soup.delete_top_checkpoints(job.root / "checkpoints") == sorted(names)
    assert {path.name for path in (job.root / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_pretrained_encoder_trains_with_layer_decay(job: JobFolder, tmp_path: Path) -> None:
    changes = {"num_channels": None, "embedding_dim": None, "model_class": "bert", "max_epochs": 1, "lr": 0.01}
    config = {**TINY_BERT, "vocab_size": 5000}
    AutoModel.from_config(AutoConfig.for_model(**config)).save_pretrained(tmp_path / "tiny")
    scores = []
    for decay in (None, 0.01):
        job.fill(rows=70, encoder_name=str(tmp_path / "tiny"), layer_decay=decay, **changes)
        assert job.run() == 0, job.failure
        scores.append(predictions(job))
    assert not torch.allclose(scores[0], scores[1], atol=1e-5)


def test_a_warm_up_is_counted_in_optimiser_steps(job: JobFolder) -> None:
    job.fill(rows=70, batch_size=10, max_epochs=2, accumulate_grad_batches=4, warmup_steps=4)
    assert job.run() == 1
    assert "only 4 steps" in job.failure
