"""The batches that the trainer receives: rows, unknown categories, budgets, and resuming within an epoch."""

from __future__ import annotations

import functools
import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes
from fusionzoo.nn.inference import predict_scores
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.training.datamodule import Position, SplitsDataModule
from fusionzoo.training.distributed.world import World
from shop import made_split
from training_helpers import make_job_settings


def make_split(rows: int, seed: int = 0) -> EncodedSplit:
    """Return rows of one to three chunks. The first category is 2 + row, the second one is mostly MISSING."""
    rng = np.random.default_rng(seed)
    row_starts = np.cumsum([0, *rng.integers(1, 4, rows)])
    chunk_starts = np.cumsum([0, *rng.integers(1, 30, row_starts[-1])])
    categories = np.stack([2 + np.arange(rows), rng.integers(0, 2, rows) * 5], axis=1).astype(np.int32)
    numbers = rng.normal(size=(rows, 1)).astype(np.float32)
    more = {"categories": categories, "numbers": numbers, "numbers_missing": np.zeros((rows, 1), bool)}
    return made_split(row_starts, chunk_starts, seed, **more)


def make_text_job_settings(**changes: Any) -> JobSettings:
    return make_job_settings(text_name="t", **changes)


def test_the_sizes_of_rows_are_their_chunks_and_the_longest_of_them() -> None:
    data = make_split(30)
    sizes = RowSizes.of(data)
    lengths = np.diff(data.chunk_starts)
    rank_batches = [lengths[a:b] for a, b in itertools.pairwise(data.row_starts)]
    assert sizes.chunks.tolist() == [len(part) for part in rank_batches]
    assert sizes.longest.tolist() == [part.max() for part in rank_batches]


def make_split_without_text(rows: int) -> EncodedSplit:
    nothing = {"tokens": np.zeros(0, np.int32), "chunk_starts": np.zeros(1, np.int64)}
    return EncodedSplit(**{**vars(make_split(rows)), **nothing, "row_starts": np.zeros(rows + 1, np.int64)})


def test_rows_without_text_are_batched_as_rows_of_one_token() -> None:
    loader = SplitsDataModule(
        make_split_without_text(50), make_split_without_text(9), make_text_job_settings(max_batch_tokens=20)
    ).train_dataloader()
    assert sorted(batch.rows for batch in loader) == [16, 17, 17]


def find_unknown_fields(module: SplitsDataModule, epoch: int = 0) -> dict[int, list[bool]]:
    """Return for each row which of its fields are replaced by UNKNOWN."""
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return {
        row: ids
        for batch in loader
        for row, ids in zip(batch.row.tolist(), (batch.categories == 1).tolist(), strict=True)
    }


def test_the_categories_replaced_by_unknown_do_not_depend_on_ranks_batches_or_resuming() -> None:
    data, use = make_split(400), {"unknown_category_rate": 0.3}
    alone = find_unknown_fields(SplitsDataModule(data, data, make_text_job_settings(**use)))
    ranks = [
        SplitsDataModule(data, data, make_text_job_settings(**use, batch_size=7), World(rank, 3)) for rank in range(3)
    ]
    assert functools.reduce(lambda a, b: a | b, map(find_unknown_fields, ranks)) == alone
    resumed = SplitsDataModule(data, data, make_text_job_settings(**use))
    resumed._sampler.resume_at(Position(0, 5))
    rest = find_unknown_fields(resumed)
    assert 0 < len(rest) < 400
    assert rest == {row: alone[row] for row in rest}
    others = [
        find_unknown_fields(SplitsDataModule(data, data, make_text_job_settings(**use)), epoch=1),
        find_unknown_fields(SplitsDataModule(data, data, make_text_job_settings(**use, seed=1))),
    ]
    assert alone not in others


def test_the_requested_share_of_present_categories_is_replaced_by_unknown_in_each_field_of_train() -> None:
    data = make_split(6000)
    module = SplitsDataModule(data, data, make_text_job_settings(unknown_category_rate=0.1))
    shown = np.array([fields for _, fields in sorted(find_unknown_fields(module).items())])
    present = data.categories != 0
    assert not shown[~present].any()
    for field in (0, 1):
        assert shown[present[:, field], field].mean() == pytest.approx(0.1, abs=0.015)
    both = present.all(axis=1)
    assert shown[both].all(axis=1).mean() == pytest.approx(0.01, abs=0.006)  # fields are independent
    encoded = torch.from_numpy(data.categories)
    for batch in module.train_dataloader():
        assert ((batch.categories == encoded[batch.row]) | (batch.categories == 1)).all()
    assert all(torch.equal(batch.categories, encoded[batch.row]) for batch in module.val_dataloader())


def test_ranks_share_the_validation_rows_within_the_budget() -> None:
    data = make_split(100)
    ranks = [
        SplitsDataModule(data, data, make_text_job_settings(max_batch_tokens=200), World(rank, 3)) for rank in range(3)
    ]
    batches = [batch for module in ranks for batch in module.val_dataloader() if batch.labels.min() >= 0]
    assert sorted(itertools.chain(*(batch.row.tolist() for batch in batches))) == list(range(100))
    assert max(batch.tokens.numel() for batch in batches) <= 200


def test_rows_are_grouped_by_length_unless_the_setting_is_off() -> None:
    data = make_split(400)
    modules = [
        SplitsDataModule(data, data, make_text_job_settings(batch_size=8, group_by_length=choice))
        for choice in (True, False)
    ]
    tokens_of = [[int(batch.token_mask.sum()) for batch in module.train_dataloader()] for module in modules]
    assert sum(tokens_of[0]) == sum(tokens_of[1])
    assert np.std(tokens_of[0]) < 0.7 * np.std(tokens_of[1])  # each batch has the length distribution of the split


def test_an_epoch_resumes_in_the_middle_and_the_next_one_is_complete() -> None:
    data = make_split(100)
    expected, resumed = (SplitsDataModule(data, data, make_text_job_settings(batch_size=8)) for _ in range(2))
    resumed._sampler.resume_at(Position(2, 4))
    loaders = expected.train_dataloader(), resumed.train_dataloader()
    rows: dict[int, list[list[list[int]]]] = {}
    for epoch in (2, 3):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            rows.setdefault(epoch, []).append([batch.row.tolist() for batch in loader])
    assert rows[2][0][4:] == rows[2][1]
    assert rows[3][0] == rows[3][1]
    assert len(loaders[0]) == len(loaders[1]) == expected.steps == len(rows[3][0]) == 13


class RowRecorder(LightningModule):
    """Records which rows it was trained and validated on, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: dict[int, list[list[int]]] = {}
        self.validated: list[list[int]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch.row.tolist())
        return self.layer(batch.numbers).sum()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(batch.row.tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class StopAfterStep(Callback):
    """Saves a checkpoint after a step and then stops the training as if the machine failed."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise ConnectionAbortedError


def fit_recorder(module: SplitsDataModule, callbacks: Any = (), **more: Any) -> RowRecorder:
    rows = RowRecorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    checkpoint = more.pop("ckpt_path", None)
    trainer = Trainer(
        **quiet, enable_checkpointing=False, max_epochs=3, num_sanity_val_steps=0, callbacks=list(callbacks), **more
    )
    trainer.fit(rows, datamodule=module, ckpt_path=checkpoint)
    assert trainer.num_training_batches == module.steps
    return rows


@pytest.mark.parametrize("budget", [None, 150])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_trainer_receives_each_row_once_per_epoch_in_a_new_order(budget: int | None) -> None:
    data, val = make_split(60), make_split(11, 1)
    module = SplitsDataModule(data, val, make_text_job_settings(batch_size=8, max_batch_tokens=budget))
    rows = fit_recorder(module)
    for epoch in range(3):
        assert sorted(itertools.chain(*rows.seen[epoch])) == list(range(60))
        module.train_dataloader().sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert rows.seen[epoch] == [batch.row.tolist() for batch in module.train_dataloader()]
    assert len({str(order) for order in rows.seen.values()}) == 3
    assert sorted(itertools.chain(*rows.validated)) == sorted([*range(11)] * 3)


@pytest.mark.parametrize("stop", [3, 8, 11, 16])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_interrupted_in_an_epoch_resumes_with_the_remaining_rows(stop: int, tmp_path: Path) -> None:
    data, use, path = make_split(60), make_text_job_settings(batch_size=8), tmp_path / "last.ckpt"
    expected = fit_recorder(SplitsDataModule(data, make_split(9, 1), use)).seen
    with pytest.raises(ConnectionAbortedError):
        fit_recorder(SplitsDataModule(data, make_split(9, 1), use), [StopAfterStep(stop, path)])
    resumed = SplitsDataModule(data, make_split(9, 1), use)
    epoch, batch = divmod(stop, resumed.steps)
    after = fit_recorder(resumed, ckpt_path=path).seen
    assert after == {e: expected[e][batch if e == epoch else 0 :] for e in range(epoch, 3)}


def test_one_warning_names_the_rows_over_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    data, use = make_split(60), make_text_job_settings(max_batch_tokens=50)
    sizes = RowSizes.of(data).tokens
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        for rank in range(2):
            SplitsDataModule(data, data, use, World(rank, 2))
    (warning,) = caplog.messages
    assert f"{(sizes > 50).sum()} rows" in warning
    assert f"{sizes.max()} tokens" in warning


def test_a_split_is_scored_the_same_in_batches_of_rows_and_of_tokens() -> None:
    class Numbers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 2)
            self.most = 0

        def forward(self, batch: Batch) -> torch.Tensor:
            self.most = max(self.most, batch.tokens.numel())
            return self.layer(batch.numbers)

    data, model = make_split(80), Numbers()
    by_rows = predict_scores(model, Softmax(), data, 16)
    model.most = 0
    assert np.allclose(by_rows, predict_scores(model, Softmax(), data, 16, max_tokens=120), atol=1e-6)
    assert model.most <= 120
    assert np.allclose(by_rows[[7, 3]], predict_scores(model, Softmax(), data, 16, np.array([7, 3])), atol=1e-6)
