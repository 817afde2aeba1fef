"""Which rows form a batch on any number of ranks, and which batches the trainer receives."""

from __future__ import annotations

import functools
import itertools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from scipy.stats import spearmanr

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, TrainingOrder, make_scoring_batches
from fusionzoo.nn.inference import predict_proba
from fusionzoo.nn.length_groups import CPU_GROUP_OVERHEAD, make_length_groups
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training.datamodule import Position, SplitsDataModule
from fusionzoo.training.distributed.world import World
from shop import made_split


def one_chunk(longest: Any) -> RowSizes:
    return RowSizes(np.ones(len(longest), np.int64), np.asarray(longest, np.int64))


def lognormal(rows: int) -> RowSizes:
    return one_chunk(np.random.default_rng(0).lognormal(4, 0.6, rows).clip(3, 512).astype(np.int64))


def threads(rows: int) -> RowSizes:
    """Rows of several chunks, most of which are full."""
    rng = np.random.default_rng(0)
    return RowSizes(rng.integers(1, 11, rows), rng.integers(8, 400, rows).clip(max=128))


def tokens(sizes: RowSizes, rows: np.ndarray) -> int:
    """Return the tokens that a batch of these rows computes."""
    return int(sizes.chunks[rows].sum() * sizes.longest[rows].max(initial=0))


def padding(sizes: RowSizes, batches: list[np.ndarray]) -> float:
    """Return the share of padding for rows of one chunk if an encoder runs a batch in length groups."""
    groups = [rows[group] for rows in batches for group in make_length_groups(sizes.longest[rows], CPU_GROUP_OVERHEAD)]
    return 1 - sizes.tokens.sum() / sum(tokens(sizes, rows) for rows in groups)


def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def share_meeting_again(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Return the share of the pairs of rows in one batch that are in one batch of the other epoch too."""
    place = {row: number for number, rows in enumerate(second) for row in rows.tolist()}
    pairs = [(a, b) for rows in first for a, b in itertools.combinations(rows.tolist(), 2)]
    return sum(place[a] == place[b] for a, b in pairs) / len(pairs)


@st.composite
def row_sizes(draw: st.DrawFn) -> RowSizes:
    sizes = draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 60)), min_size=1, max_size=150))
    chunks, longest = np.array(sizes).T
    return RowSizes(np.ones_like(chunks) if draw(st.booleans()) else chunks, longest)


JOBS = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 20),
        "seed": st.integers(0, 2**32 - 1),
        "max_tokens": st.none() | st.integers(1, 2000),
        "group_by_length": st.booleans(),
    }
)
WORLDS = st.integers(1, 9)


def on_all_ranks(sizes: RowSizes, job: dict[str, Any], world_size: int, epoch: int) -> list[list[np.ndarray]]:
    """Return the batches of all ranks, [ranks][steps]."""
    orders = [TrainingOrder(sizes, **job, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [order.batches(epoch) for order in orders]
    assert {len(rank_batches) for rank_batches in batches} == {order.steps for order in orders}
    return batches


# --- orders of training


@given(row_sizes(), JOBS, WORLDS, st.integers(0, 10_000))
def test_each_row_occurs_once_in_an_epoch_and_all_ranks_have_the_same_number_of_steps(
    sizes: RowSizes, job: dict[str, Any], world_size: int, epoch: int
) -> None:
    batches = on_all_ranks(sizes, job, world_size, epoch)
    assert sorted(np.concatenate(list(itertools.chain(*batches)))) == list(range(len(sizes)))


@given(row_sizes(), JOBS, WORLDS)
def test_a_batch_respects_its_limit_of_rows_or_tokens(sizes: RowSizes, job: dict[str, Any], world_size: int) -> None:
    batches = on_all_ranks(sizes, job, world_size, 0)
    if job["max_tokens"] is None:
        steps = [sum(map(len, step)) for step in zip(*batches, strict=True)]
        assert max(steps) <= job["batch_size"]
        assert max(steps) - min(steps) <= 1
        assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in zip(*batches, strict=True))
        assert len(batches[0]) == -(-len(sizes) // job["batch_size"])
    else:
        for rows in itertools.chain(*batches):
            assert tokens(sizes, rows) <= job["max_tokens"] or len(rows) == 1


@given(row_sizes(), JOBS, WORLDS)
def test_a_rank_is_idle_only_in_a_step_that_has_fewer_rows_than_ranks(
    sizes: RowSizes, job: dict[str, Any], world_size: int
) -> None:
    steps = list(zip(*on_all_ranks(sizes, job, world_size, 0), strict=True))
    idle = [rows for rows in steps if min(map(len, rows)) == 0]
    assert all(0 < sum(map(len, rows)) < world_size for rows in idle)
    if idle and len(sizes) >= world_size:
        assert max(len(rows) for rows in itertools.chain(*steps)) == 1


@given(row_sizes(), JOBS, WORLDS)
def test_a_step_has_the_same_rows_on_any_number_of_ranks(sizes: RowSizes, job: dict[str, Any], world_size: int) -> None:
    job = {**job, "max_tokens": None}
    alone = on_all_ranks(sizes, job, 1, 3)[0]
    steps = zip(*on_all_ranks(sizes, job, world_size, 3), strict=True)
    assert [sorted(np.concatenate(step)) for step in steps] == [sorted(rows) for rows in alone]


@given(row_sizes(), JOBS, WORLDS, st.integers(0, 5))
def test_seed_and_epoch_determine_the_order_so_that_an_epoch_can_be_resumed(
    sizes: RowSizes, job: dict[str, Any], world_size: int, epoch: int
) -> None:
    order = TrainingOrder(sizes, **job, world_size=world_size)
    drawn = order.batches(epoch)
    order.batches(epoch + 1)
    assert are_equal(order.batches(epoch), drawn)
    assert are_equal(TrainingOrder(sizes, **job, world_size=world_size).batches(epoch), drawn)


@pytest.mark.parametrize("more", [{}, {"max_tokens": 4096}, {"group_by_length": False}])
def test_orders_differ_between_epochs_and_seeds(more: dict[str, Any]) -> None:
    orders = [TrainingOrder(lognormal(2000), 16, seed, **more) for seed in (1, 2)]
    drawn = {np.concatenate(order.batches(epoch)).tobytes() for order in orders for epoch in (0, 1)}
    assert len(drawn) == 4


@pytest.mark.parametrize("more", [{}, {"max_tokens": 4096}, {"group_by_length": False}])
def test_the_steps_of_an_epoch_are_not_ordered_by_size(more: dict[str, Any]) -> None:
    sizes = lognormal(20_000)
    order = TrainingOrder(sizes, 32, 1, **more)
    for epoch in range(2):
        step_tokens = [sizes.tokens[rows].sum() for rows in order.batches(epoch)]
        assert abs(spearmanr(np.arange(order.steps), step_tokens).statistic) < 0.2  # of 400 steps or more


def test_grouping_by_length_avoids_padding_and_rows_meet_others_in_the_next_epoch() -> None:
    sizes = lognormal(20_000)
    order = TrainingOrder(sizes, 32, 1)
    first = order.batches(0)
    assert padding(sizes, first) < 0.06
    assert share_meeting_again(first, order.batches(1)) < 0.02
    assert padding(sizes, TrainingOrder(sizes, 32, 1, group_by_length=False).batches(0)) > 0.12


def test_every_batch_is_length_stratified() -> None:
    sizes = one_chunk(np.random.default_rng(0).permutation(4000) + 1)
    quarter = (sizes.longest - 1) // 1000
    shares = np.array([np.bincount(quarter[rows], minlength=4) for rows in TrainingOrder(sizes, 32, 1).batches(0)])
    assert np.percentile(np.abs(shares - 8), 95) == 0  # at the borders rows move among their neighbors
    at_random = TrainingOrder(sizes, 32, 1, group_by_length=False).batches(0)
    assert max(np.bincount(quarter[rows], minlength=4).max() for rows in at_random) > 13


def test_rows_of_a_small_split_meet_others_in_the_next_epoch() -> None:
    for rows in (300, 1000):
        order = TrainingOrder(lognormal(rows), 32, 1)
        assert share_meeting_again(order.batches(0), order.batches(1)) < 0.2


def test_batches_of_real_reviews_have_less_than_six_percent_padding(real_data: Path) -> None:
    parts = sorted((real_data / "womens_clothing/train").glob("*.parquet"))
    table = pa.concat_tables(pq.read_table(part, columns=["title", "review_text"]) for part in parts)
    texts = zip(*(table[name].to_pylist() for name in table.schema.names), strict=True)
    sizes = one_chunk([2 + sum(len((text or "").split()) for text in row) for row in texts])
    assert padding(sizes, TrainingOrder(sizes, 32, 42).batches(0)) < 0.06


def test_strata_depend_on_the_longest_chunk_of_a_row() -> None:
    sizes = RowSizes(np.tile([8, 1], 320), np.tile([10, 80], 320))  # as many tokens in each row
    batches = [sorted(sizes.longest[rows]) for rows in TrainingOrder(sizes, 8, 1).batches(0)]
    assert batches.count([10] * 4 + [80] * 4) >= 0.8 * len(batches)  # at the border rows move among their neighbors


@pytest.mark.parametrize("sizes", [lognormal(20_000), threads(20_000)])
@pytest.mark.parametrize("max_tokens", [None, 4096])
def test_ranks_have_equal_work_in_each_step(sizes: RowSizes, max_tokens: int | None) -> None:
    job = {"batch_size": 128, "seed": 1, "max_tokens": max_tokens}
    computed = tokens if max_tokens is not None else lambda sizes, rows: sizes.tokens[rows].sum()
    work = np.array(
        [[computed(sizes, rows) for rows in rank_batches] for rank_batches in on_all_ranks(sizes, job, 4, 0)]
    )
    assert work.mean() / work.max(axis=0).mean() > 0.95
    assert work.sum(axis=1).max() / work.sum(axis=1).min() < 1.02


def test_the_largest_batch_of_a_step_is_not_always_on_the_same_rank() -> None:
    sizes = lognormal(8000)
    for choice in (True, False):
        batches = on_all_ranks(sizes, {"batch_size": 32, "seed": 1, "group_by_length": choice}, 4, 0)
        work = np.array([[sizes.tokens[rows].sum() for rows in rank_batches] for rank_batches in batches])
        alone = (work == work.max(axis=0)).sum(axis=0) == 1
        assert np.bincount(work[:, alone].argmax(axis=0), minlength=4).min() > 0.15 * alone.sum()
    sizes = threads(2000)  # where a bucket's first batches have the most chunks
    batches = on_all_ranks(sizes, {"batch_size": 16, "seed": 1}, 4, 0)
    largest_rank = np.array([[sizes.chunks[rows].sum() for rows in rank_batches] for rank_batches in batches]).argmax(
        axis=0
    )
    assert np.bincount(largest_rank, minlength=4).min() > 15


def test_batches_use_most_of_the_token_budget() -> None:
    for sizes in (lognormal(20_000), threads(5000)):
        work = [tokens(sizes, rows) for rows in TrainingOrder(sizes, 32, 1, max_tokens=8192).batches(0)]
        assert np.mean(work) > 0.85 * 8192
        assert max(work) <= 8192


def test_every_epoch_has_the_same_number_of_steps_with_a_budget() -> None:
    order = TrainingOrder(threads(500), 32, 1, max_tokens=5000, world_size=3)
    assert {len(order.batches(epoch)) for epoch in range(20)} == {order.steps}


def test_batches_of_a_budget_are_divided_until_every_rank_has_one() -> None:
    batches = on_all_ranks(one_chunk([10] * 40), {"batch_size": 8, "seed": 1, "max_tokens": 100}, 3, 0)
    assert min(len(rows) for rows in itertools.chain(*batches)) >= 5


def test_a_row_over_the_budget_is_a_batch_of_its_own() -> None:
    sizes = one_chunk([*range(5, 60), 900])
    order = TrainingOrder(sizes, 32, 1, max_tokens=200)
    assert order.rows_over_budget == 1
    assert [55] in [rows.tolist() for rows in order.batches(0)]


def test_a_row_of_many_short_chunks_does_not_shrink_other_batches() -> None:
    sizes = RowSizes(np.array([*[1] * 200, 160]), np.array([*[100] * 200, 5]))
    order = TrainingOrder(sizes, 32, 1, max_tokens=1000, group_by_length=False)
    assert order.rows_over_budget == 0
    assert order.steps == 21


def test_an_order_without_rows_or_for_an_invalid_rank_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        TrainingOrder(one_chunk([]), 8, 1)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        TrainingOrder(one_chunk([1]), 8, 1, rank=2, world_size=2)


# --- orders of scoring


@given(row_sizes(), st.integers(1, 20), st.none() | st.integers(1, 2000), WORLDS)
def test_each_row_is_scored_once_and_all_ranks_have_the_same_number_of_batches(
    sizes: RowSizes, batch_size: int, max_tokens: int | None, world_size: int
) -> None:
    ranks = [make_scoring_batches(sizes, batch_size, max_tokens, rank, world_size) for rank in range(world_size)]
    batches = list(itertools.chain(*ranks))
    assert sorted(np.concatenate(batches)) == list(range(len(sizes)))
    if max_tokens is None:
        assert max(map(len, batches)) <= batch_size
    else:
        assert all(tokens(sizes, rows) <= max_tokens or len(rows) == 1 for rows in batches if len(rows))
    alone = make_scoring_batches(sizes, batch_size, max_tokens)
    longest = [sizes.longest[row] for row in np.concatenate(alone)]
    assert longest == sorted(longest, reverse=True)
    assert {rows.tobytes() for rows in batches if len(rows)} == {rows.tobytes() for rows in alone}
    assert len(batches) - len(alone) < world_size


def test_scoring_ranks_have_equal_work_and_without_rows_there_are_no_batches() -> None:
    sizes = threads(4000)
    for max_tokens in (None, 8192):
        ranks = [make_scoring_batches(sizes, 32, max_tokens, rank, 4) for rank in range(4)]
        work = [sum(tokens(sizes, rows) for rows in rank_batches) for rank_batches in ranks]
        assert max(work) / min(work) < 1.05
        assert make_scoring_batches(one_chunk([]), 32, max_tokens, 0, 4) == []


# --- batches that the trainer receives


def split(rows: int, seed: int = 0) -> EncodedSplit:
    """Return rows of one to three chunks. The first category is 2 + row, the second one is mostly MISSING."""
    rng = np.random.default_rng(seed)
    row_starts = np.cumsum([0, *rng.integers(1, 4, rows)])
    chunk_starts = np.cumsum([0, *rng.integers(1, 30, row_starts[-1])])
    categories = np.stack([2 + np.arange(rows), rng.integers(0, 2, rows) * 5], axis=1).astype(np.int32)
    numbers = rng.normal(size=(rows, 1)).astype(np.float32)
    more = {"categories": categories, "numbers": numbers, "numbers_missing": np.zeros((rows, 1), bool)}
    return made_split(row_starts, chunk_starts, seed, **more)


def job(**more: Any) -> JobSettings:
    given_ = {"model_class": "x", "id_name": "i", "label_name": "l", "text_name": "t", "num_classes": 2, **more}
    return JobSettings(**given_)


def test_the_sizes_of_rows_are_their_chunks_and_the_longest_of_them() -> None:
    data = split(30)
    sizes = RowSizes.of(data)
    lengths = np.diff(data.chunk_starts)
    rank_batches = [lengths[a:b] for a, b in itertools.pairwise(data.row_starts)]
    assert sizes.chunks.tolist() == [len(part) for part in rank_batches]
    assert sizes.longest.tolist() == [part.max() for part in rank_batches]


def without_text(rows: int) -> EncodedSplit:
    nothing = {"tokens": np.zeros(0, np.int32), "chunk_starts": np.zeros(1, np.int64)}
    return EncodedSplit(**{**vars(split(rows)), **nothing, "row_starts": np.zeros(rows + 1, np.int64)})


def test_rows_without_text_are_batched_as_rows_of_one_token() -> None:
    loader = SplitsDataModule(without_text(50), without_text(9), job(max_batch_tokens=20)).train_dataloader()
    assert sorted(batch.rows for batch in loader) == [16, 17, 17]


def unknown_fields(module: SplitsDataModule, epoch: int = 0) -> dict[int, list[bool]]:
    """Return for each row which of its fields are replaced by UNKNOWN."""
    loader = module.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return {
        row: ids
        for batch in loader
        for row, ids in zip(batch.row.tolist(), (batch.categories == 1).tolist(), strict=True)
    }


def test_the_categories_replaced_by_unknown_do_not_depend_on_ranks_batches_or_resuming() -> None:
    data, use = split(400), {"unknown_category_rate": 0.3}
    alone = unknown_fields(SplitsDataModule(data, data, job(**use)))
    ranks = [SplitsDataModule(data, data, job(**use, batch_size=7), World(rank, 3)) for rank in range(3)]
    assert functools.reduce(lambda a, b: a | b, map(unknown_fields, ranks)) == alone
    resumed = SplitsDataModule(data, data, job(**use))
    resumed._sampler.resume_at(Position(0, 5))
    rest = unknown_fields(resumed)
    assert 0 < len(rest) < 400
    assert rest == {row: alone[row] for row in rest}
    others = [
        unknown_fields(SplitsDataModule(data, data, job(**use)), epoch=1),
        unknown_fields(SplitsDataModule(data, data, job(**use, seed=1))),
    ]
    assert alone not in others


def test_the_requested_share_of_present_categories_is_replaced_by_unknown_in_each_field() -> None:
    data = split(6000)
    shown = np.array(
        [
            fields
            for _, fields in sorted(
                unknown_fields(SplitsDataModule(data, data, job(unknown_category_rate=0.1))).items()
            )
        ]
    )
    present = data.categories != 0
    assert not shown[~present].any()
    for field in (0, 1):
        assert shown[present[:, field], field].mean() == pytest.approx(0.1, abs=0.015)
    both = present.all(axis=1)
    assert shown[both].all(axis=1).mean() == pytest.approx(0.01, abs=0.006)  # fields are independent


def test_ranks_share_the_validation_rows_within_the_budget() -> None:
    data = split(100)
    ranks = [SplitsDataModule(data, data, job(max_batch_tokens=200), World(rank, 3)) for rank in range(3)]
    batches = [batch for module in ranks for batch in module.val_dataloader() if batch.labels.min() >= 0]
    assert sorted(itertools.chain(*(batch.row.tolist() for batch in batches))) == list(range(100))
    assert max(batch.tokens.numel() for batch in batches) <= 200


def test_rows_are_grouped_by_length_unless_the_setting_is_off() -> None:
    data = split(400)
    modules = [SplitsDataModule(data, data, job(batch_size=8, group_by_length=choice)) for choice in (True, False)]
    tokens_of = [[int(batch.token_mask.sum()) for batch in module.train_dataloader()] for module in modules]
    assert sum(tokens_of[0]) == sum(tokens_of[1])
    assert np.std(tokens_of[0]) < 0.7 * np.std(tokens_of[1])  # each batch mirrors the lengths of the split


def test_an_epoch_resumes_in_the_middle_and_the_next_one_is_complete() -> None:
    data = split(100)
    expected, resumed = (SplitsDataModule(data, data, job(batch_size=8)) for _ in range(2))
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
    """Saves a checkpoint after a step and then stops the training like a lost machine."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise ConnectionAbortedError


def fit(module: SplitsDataModule, callbacks: Any = (), **more: Any) -> RowRecorder:
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
    data, val = split(60), split(11, 1)
    module = SplitsDataModule(data, val, job(batch_size=8, max_batch_tokens=budget))
    rows = fit(module)
    for epoch in range(3):
        assert sorted(itertools.chain(*rows.seen[epoch])) == list(range(60))
        module.train_dataloader().sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert rows.seen[epoch] == [batch.row.tolist() for batch in module.train_dataloader()]
    assert len({str(order) for order in rows.seen.values()}) == 3
    assert sorted(itertools.chain(*rows.validated)) == sorted([*range(11)] * 3)


@pytest.mark.parametrize("stop", [3, 8, 11, 16])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_training_interrupted_in_an_epoch_resumes_with_the_remaining_rows(stop: int, tmp_path: Path) -> None:
    data, use, path = split(60), job(batch_size=8), tmp_path / "last.ckpt"
    expected = fit(SplitsDataModule(data, split(9, 1), use)).seen
    with pytest.raises(ConnectionAbortedError):
        fit(SplitsDataModule(data, split(9, 1), use), [StopAfterStep(stop, path)])
    resumed = SplitsDataModule(data, split(9, 1), use)
    epoch, batch = divmod(stop, resumed.steps)
    after = fit(resumed, ckpt_path=path).seen
    assert after == {e: expected[e][batch if e == epoch else 0 :] for e in range(epoch, 3)}


def test_one_warning_names_the_rows_over_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    data, use = split(60), job(max_batch_tokens=50)
    sizes = RowSizes.of(data).tokens
    with caplog.at_level(logging.WARNING, "fusionzoo"):
        for rank in range(2):
            SplitsDataModule(data, data, use, World(rank, 2))
    (said,) = caplog.messages
    assert f"{(sizes > 50).sum()} rows" in said
    assert f"{sizes.max()} tokens" in said


def test_a_split_is_scored_the_same_in_batches_of_rows_and_of_tokens() -> None:
    class Numbers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 2)
            self.most = 0

        def forward(self, batch: Batch) -> torch.Tensor:
            self.most = max(self.most, batch.tokens.numel())
            return self.layer(batch.numbers)

    data, model = split(80), Numbers()
    by_rows = predict_proba(model, data, 16)
    model.most = 0
    assert np.allclose(by_rows, predict_proba(model, data, 16, max_tokens=120), atol=1e-6)
    assert model.most <= 120
    assert np.allclose(by_rows[[7, 3]], predict_proba(model, data, 16, np.array([7, 3])), atol=1e-6)
