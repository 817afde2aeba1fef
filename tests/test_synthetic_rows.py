"""The rows that the conformance kit generates follow the data contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fusionzoo.conformance import synthetic_rows
from fusionzoo.nn.schema import Batch


def test_generated_rows_follow_the_batch_contract() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    rows = synthetic_rows.make_rows(spec, 24, seed=3)
    batch = Batch.from_arrays(synthetic_rows.encode_rows(spec, rows).batch(np.arange(24)))
    assert batch.tokens.dtype == batch.categories.dtype == batch.chunk_row.dtype == torch.int64
    assert batch.numbers.dtype == torch.float32
    assert batch.chunk_row.unique_consecutive().tolist() == list(range(24))
    assert batch.chunk_row.bincount().unique().tolist() == [1, 2, 3, 4]
    lengths = batch.token_mask.sum(dim=1)
    assert lengths.min() >= 2
    assert torch.equal(batch.token_mask, torch.arange(batch.tokens.shape[1]) < lengths[:, None])
    assert spec.text is not None
    assert bool((batch.tokens[~batch.token_mask] == spec.text.pad_id).all())
    assert not bool((batch.tokens[batch.token_mask] == spec.text.pad_id).any())
    assert {0, 1} <= set(batch.categories.unique().tolist())
    assert all(int(batch.categories[:, i].max()) < c.cardinality for i, c in enumerate(spec.categories))
    assert bool((batch.numbers[batch.numbers_missing] == 0).all())
    assert batch.labels is not None
    assert batch.labels.unique().tolist() == [0, 1, 2]


def test_rows_depend_on_the_seed_only() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    one, again, other = (synthetic_rows.make_batch(spec, synthetic_rows.make_rows(spec, 9, seed)) for seed in (1, 1, 2))
    assert all(torch.equal(value, vars(again)[name]) for name, value in vars(one).items())
    assert not torch.equal(one.numbers, other.numbers)


def test_plain_rows_have_one_chunk_and_no_missing_values() -> None:
    spec = synthetic_rows.make_spec({"text", "table"})
    batch = synthetic_rows.make_batch(spec, synthetic_rows.make_plain_rows(spec, 9, seed=1))
    assert batch.chunk_row.tolist() == list(range(9))
    assert not bool(batch.numbers_missing.any())
    assert int(batch.categories.min()) >= 2


def test_a_spec_without_a_modality_gives_batches_without_it() -> None:
    text, table = synthetic_rows.make_spec({"text"}), synthetic_rows.make_spec({"table"})
    assert synthetic_rows.make_batch(text, synthetic_rows.make_rows(text, 3, seed=1)).numbers.shape == (3, 0)
    batch = synthetic_rows.make_batch(table, synthetic_rows.make_rows(table, 3, seed=1))
    assert (batch.tokens.shape, batch.rows) == ((0, 0), 3)
    assert synthetic_rows.make_batch(replace(table, numbers=()), []).categories.shape == (0, 2)
