"""The order of batches: which rows form a batch on any number of ranks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from fusionzoo.data.sampling import RowSizes, TrainingOrder, make_scoring_batches
from fusionzoo.nn.length_groups import CPU_GROUP_OVERHEAD, make_length_groups


def make_one_chunk_sizes(longest: Any) -> RowSizes:
    return RowSizes(np.ones(len(longest), np.int64), np.asarray(longest, np.int64))


def make_lognormal_sizes(rows: int) -> RowSizes:
    return make_one_chunk_sizes(np.random.default_rng(0).lognormal(4, 0.6, rows).clip(3, 512).astype(np.int64))


def make_thread_sizes(rows: int) -> RowSizes:
    """Rows of several chunks, most of which are full."""
    rng = np.random.default_rng(0)
    return RowSizes(rng.integers(1, 11, rows), rng.integers(8, 400, rows).clip(max=128))


def count_batch_tokens(sizes: RowSizes, rows: np.ndarray) -> int:
    """Return the tokens that a batch of these rows computes."""
    return int(sizes.chunks[rows].sum() * sizes.longest[rows].max(initial=0))


def compute_padding_share(sizes: RowSizes, batches: list[np.ndarray]) -> float:
    """Return the share of padding for rows of one chunk if an encoder runs a batch in length groups."""
    groups = [rows[group] for rows in batches for group in make_length_groups(sizes.longest[rows], CPU_GROUP_OVERHEAD)]
    return 1 - sizes.tokens.sum() / sum(count_batch_tokens(sizes, rows) for rows in groups)


def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return len(some) == len(others) and all(map(np.array_equal, some, others))


def compute_share_meeting_again(first: list[np.ndarray], second: list[np.ndarray]) -> float:
    """Return the share of the pairs of rows in one batch that are in one batch of the other epoch too."""
    place = {row: number for number, rows in enumerate(second) for row in rows.tolist()}
    pairs = [(a, b) for rows in first for a, b in itertools.combinations(rows.tolist(), 2)]
    return sum(place[a] == place[b] for a, b in pairs) / len(pairs)


@st.composite
def draw_row_sizes(draw: st.DrawFn) -> RowSizes:
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


def make_batches_of_all_ranks(
    sizes: RowSizes, job: dict[str, Any], world_size: int, epoch: int
) -> list[list[np.ndarray]]:
    """Return the batches of all ranks, [ranks][steps]."""
    orders = [TrainingOrder(sizes, **job, rank=rank, world_size=world_size) for rank in range(world_size)]
    batches = [order.batches(epoch) for order in orders]
    assert {len(rank_batches) for rank_batches in batches} == {order.steps for order in orders}
    return batches


# --- orders of training


@given(draw_row_sizes(), JOBS, WORLDS, st.integers(0, 10_000))
def test_each_row_occurs_once_in_an_epoch_and_all_ranks_have_the_same_number_of_steps(
    sizes: RowSizes, job: dict[str, Any], world_size: int, epoch: int
) -> None:
    batches = make_batches_of_all_ranks(sizes, job, world_size, epoch)
    assert sorted(np.concatenate(list(itertools.chain(*batches)))) == list(range(len(sizes)))


@given(draw_row_sizes(), JOBS, WORLDS)
def test_a_batch_respects_its_limit_of_rows_or_tokens(sizes: RowSizes, job: dict[str, Any], world_size: int) -> None:
    batches = make_batches_of_all_ranks(sizes, job, world_size, 0)
    if job["max_tokens"] is None:
        steps = [sum(map(len, step)) for step in zip(*batches, strict=True)]
        assert max(steps) <= job["batch_size"]
        assert max(steps) - min(steps) <= 1
        assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in zip(*batches, strict=True))
        assert len(batches[0]) == -(-len(sizes) // job["batch_size"])
    else:
        for rows in itertools.chain(*batches):
            assert count_batch_tokens(sizes, rows) <= job["max_tokens"] or len(rows) == 1


@given(draw_row_sizes(), JOBS, WORLDS)
def test_a_rank_is_idle_only_in_a_step_that_has_fewer_rows_than_ranks(
    sizes: RowSizes, job: dict[str, Any], world_size: int
) -> None:
    steps = list(zip(*make_batches_of_all_ranks(sizes, job, world_size, 0), strict=True))
    idle = [rows for rows in steps if min(map(len, rows)) == 0]
    assert all(0 < sum(map(len, rows)) < world_size for rows in idle)
    if idle and len(sizes) >= world_size:
        assert max(len(rows) for rows in itertools.chain(*steps)) == 1


@given(draw_row_sizes(), JOBS, WORLDS)
def test_a_step_has_the_same_rows_on_any_number_of_ranks(sizes: RowSizes, job: dict[str, Any], world_size: int) -> None:
    job = {**job, "max_tokens": None}
    alone = make_batches_of_all_ranks(sizes, job, 1, 3)[0]
    steps = zip(*make_batches_of_all_ranks(sizes, job, world_size, 3), strict=True)
    assert [sorted(np.concatenate(step)) for step in steps] == [sorted(rows) for rows in alone]


@given(draw_row_sizes(), JOBS, WORLDS, st.integers(0, 5))
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
    orders = [TrainingOrder(make_lognormal_sizes(2000), 16, seed, **more) for seed in (1, 2)]
    drawn = {np.concatenate(order.batches(epoch)).tobytes() for order in orders for epoch in (0, 1)}
    assert len(drawn) == 4


@pytest.mark.parametrize("more", [{}, {"max_tokens": 4096}, {"group_by_length": False}])
def test_the_steps_of_an_epoch_are_not_ordered_by_size(more: dict[str, Any]) -> None:
    sizes = make_lognormal_sizes(20_000)
    order = TrainingOrder(sizes, 32, 1, **more)
    for epoch in range(2):
        step_tokens = [sizes.tokens[rows].sum() for rows in order.batches(epoch)]
        assert abs(spearmanr(np.arange(order.steps), step_tokens).statistic) < 0.2  # of 400 steps or more


def test_grouping_by_length_avoids_padding_and_rows_meet_others_in_the_next_epoch() -> None:
    sizes = make_lognormal_sizes(20_000)
    order = TrainingOrder(sizes, 32, 1)
    first = order.batches(0)
    assert compute_padding_share(sizes, first) < 0.06
    assert compute_share_meeting_again(first, order.batches(1)) < 0.02
    assert compute_padding_share(sizes, TrainingOrder(sizes, 32, 1, group_by_length=False).batches(0)) > 0.12


def test_every_batch_is_length_stratified() -> None:
    sizes = make_one_chunk_sizes(np.random.default_rng(0).permutation(4000) + 1)
    quarter = (sizes.longest - 1) // 1000
    shares = np.array([np.bincount(quarter[rows], minlength=4) for rows in TrainingOrder(sizes, 32, 1).batches(0)])
    assert np.percentile(np.abs(shares - 8), 95) == 0  # at the borders rows move among their neighbors
    at_random = TrainingOrder(sizes, 32, 1, group_by_length=False).batches(0)
    assert max(np.bincount(quarter[rows], minlength=4).max() for rows in at_random) > 13


def test_rows_of_a_small_split_meet_others_in_the_next_epoch() -> None:
    for rows in (300, 1000):
        order = TrainingOrder(make_lognormal_sizes(rows), 32, 1)
        assert compute_share_meeting_again(order.batches(0), order.batches(1)) < 0.2


def test_batches_of_real_reviews_have_less_than_six_percent_padding(real_data: Path) -> None:
    parts = sorted((real_data / "womens_clothing/train").glob("*.parquet"))
    table = pa.concat_tables(pq.read_table(part, columns=["title", "review_text"]) for part in parts)
    texts = zip(*(table[name].to_pylist() for name in table.schema.names), strict=True)
    sizes = make_one_chunk_sizes([2 + sum(len((text or "").split()) for text in row) for row in texts])
    assert compute_padding_share(sizes, TrainingOrder(sizes, 32, 42).batches(0)) < 0.06


def test_strata_depend_on_the_longest_chunk_of_a_row() -> None:
    sizes = RowSizes(np.tile([8, 1], 320), np.tile([10, 80], 320))  # as many tokens in each row
    batches = [sorted(sizes.longest[rows]) for rows in TrainingOrder(sizes, 8, 1).batches(0)]
    assert batches.count([10] * 4 + [80] * 4) >= 0.8 * len(batches)  # at the border rows move among their neighbors


@pytest.mark.parametrize("sizes", [make_lognormal_sizes(20_000), make_thread_sizes(20_000)])
@pytest.mark.parametrize("max_tokens", [None, 4096])
def test_ranks_have_equal_work_in_each_step(sizes: RowSizes, max_tokens: int | None) -> None:
    job = {"batch_size": 128, "seed": 1, "max_tokens": max_tokens}
    computed = count_batch_tokens if max_tokens is not None else lambda sizes, rows: sizes.tokens[rows].sum()
    work = np.array(
        [
            [computed(sizes, rows) for rows in rank_batches]
            for rank_batches in make_batches_of_all_ranks(sizes, job, 4, 0)
        ]
    )
    assert work.mean() / work.max(axis=0).mean() > 0.95
    assert work.sum(axis=1).max() / work.sum(axis=1).min() < 1.02


def test_the_largest_batch_of_a_step_is_not_always_on_the_same_rank() -> None:
    sizes = make_lognormal_sizes(8000)
    for choice in (True, False):
        batches = make_batches_of_all_ranks(sizes, {"batch_size": 32, "seed": 1, "group_by_length": choice}, 4, 0)
        work = np.array([[sizes.tokens[rows].sum() for rows in rank_batches] for rank_batches in batches])
        alone = (work == work.max(axis=0)).sum(axis=0) == 1
        assert np.bincount(work[:, alone].argmax(axis=0), minlength=4).min() > 0.15 * alone.sum()
    sizes = make_thread_sizes(2000)  # where a bucket's first batches have the most chunks
    batches = make_batches_of_all_ranks(sizes, {"batch_size": 16, "seed": 1}, 4, 0)
    largest_rank = np.array([[sizes.chunks[rows].sum() for rows in rank_batches] for rank_batches in batches]).argmax(
        axis=0
    )
    assert np.bincount(largest_rank, minlength=4).min() > 15


def test_batches_use_most_of_the_token_budget() -> None:
    for sizes in (make_lognormal_sizes(20_000), make_thread_sizes(5000)):
        work = [count_batch_tokens(sizes, rows) for rows in TrainingOrder(sizes, 32, 1, max_tokens=8192).batches(0)]
        assert np.mean(work) > 0.85 * 8192
        assert max(work) <= 8192


def test_every_epoch_has_the_same_number_of_steps_with_a_budget() -> None:
    order = TrainingOrder(make_thread_sizes(500), 32, 1, max_tokens=5000, world_size=3)
    assert {len(order.batches(epoch)) for epoch in range(20)} == {order.steps}


def test_batches_of_a_budget_are_divided_until_every_rank_has_one() -> None:
    batches = make_batches_of_all_ranks(
        make_one_chunk_sizes([10] * 40), {"batch_size": 8, "seed": 1, "max_tokens": 100}, 3, 0
    )
    assert min(len(rows) for rows in itertools.chain(*batches)) >= 5


def test_a_row_over_the_budget_is_a_batch_of_its_own() -> None:
    sizes = make_one_chunk_sizes([*range(5, 60), 900])
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
        TrainingOrder(make_one_chunk_sizes([]), 8, 1)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        TrainingOrder(make_one_chunk_sizes([1]), 8, 1, rank=2, world_size=2)


# --- orders of scoring


@given(draw_row_sizes(), st.integers(1, 20), st.none() | st.integers(1, 2000), WORLDS)
def test_each_row_is_scored_once_and_all_ranks_have_the_same_number_of_batches(
    sizes: RowSizes, batch_size: int, max_tokens: int | None, world_size: int
) -> None:
    ranks = [make_scoring_batches(sizes, batch_size, max_tokens, rank, world_size) for rank in range(world_size)]
    batches = list(itertools.chain(*ranks))
    assert sorted(np.concatenate(batches)) == list(range(len(sizes)))
    if max_tokens is None:
        assert max(map(len, batches)) <= batch_size
    else:
        assert all(count_batch_tokens(sizes, rows) <= max_tokens or len(rows) == 1 for rows in batches if len(rows))
    alone = make_scoring_batches(sizes, batch_size, max_tokens)
    longest = [sizes.longest[row] for row in np.concatenate(alone)]
    assert longest == sorted(longest, reverse=True)
    assert {rows.tobytes() for rows in batches if len(rows)} == {rows.tobytes() for rows in alone}
    assert len(batches) - len(alone) < world_size


def test_scoring_ranks_have_equal_work_and_without_rows_there_are_no_batches() -> None:
    sizes = make_thread_sizes(4000)
    for max_tokens in (None, 8192):
        ranks = [make_scoring_batches(sizes, 32, max_tokens, rank, 4) for rank in range(4)]
        work = [sum(count_batch_tokens(sizes, rows) for rows in rank_batches) for rank_batches in ranks]
        assert max(work) / min(work) < 1.05
        assert make_scoring_batches(make_one_chunk_sizes([]), 32, max_tokens, 0, 4) == []
