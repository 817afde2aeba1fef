"""Training rows that lose their text or their table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.text.chunking import Chunker
from fusionzoo.nn.schema import Batch
from fusionzoo.training.datamodule import SplitsDataModule
from training_helpers import make_job_settings, make_random_split

EMPTY = np.array([101, 102], np.int32)


def list_tokens(batch: Batch) -> list[list[int]]:
    """Return the tokens of each row."""
    tokens_of: list[list[int]] = [[] for _ in range(batch.rows)]
    for row, tokens, mask in zip(batch.chunk_row.tolist(), batch.tokens, batch.token_mask, strict=True):
        tokens_of[row] += tokens[mask].tolist()
    return tokens_of


def make_long_rows(rows: int = 400) -> EncodedSplit:
    """Return rows of one to three chunks with at least three tokens each."""
    rng = np.random.default_rng(1)
    chunks = rng.integers(1, 4, rows)
    lengths = rng.integers(3, 12, chunks.sum())
    starts = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.arange(1000, 1000 + starts[-1], dtype=np.int32)
    return replace(
        make_random_split(rows), tokens=tokens, chunk_starts=starts, row_starts=np.concatenate([[0], np.cumsum(chunks)])
    )


def find_present_modalities(data: EncodedSplit, epoch: int = 0, **changes: Any) -> dict[int, tuple[bool, bool]]:
    """Return whether each training row of an epoch has its text and its table; check that nothing else is changed."""
    settings = make_job_settings(unknown_category_rate=0, modality_dropout=0.4, **{"batch_size": 16, **changes})
    loader = SplitsDataModule(data, data, settings, empty_text=EMPTY).train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    present = {}
    for batch in loader:
        true = Batch.from_arrays(data.batch(batch.row.numpy()))
        assert int(batch.token_mask.sum(1).max()) == batch.tokens.shape[1]
        assert not batch.tokens[~batch.token_mask].any()
        for i, (row, had, has) in enumerate(
            zip(batch.row.tolist(), list_tokens(true), list_tokens(batch), strict=True)
        ):
            text = has == had
            assert text or has == EMPTY.tolist()
            table = torch.equal(batch.numbers[i], true.numbers[i]) and torch.equal(
                batch.categories[i], true.categories[i]
            )
            missing = not batch.categories[i].any() and not batch.numbers[i].any() and batch.numbers_missing[i].all()
            assert table or missing
            present[row] = (text, table)
    return present


def test_some_rows_lose_their_text_others_their_table_and_none_both() -> None:
    present = list(find_present_modalities(make_long_rows()).values())
    assert (False, False) not in present
    assert 0.14 < np.mean([not text for text, _ in present]) < 0.26
    assert 0.14 < np.mean([not table for _, table in present]) < 0.26


def test_seed_epoch_and_row_decide_what_is_dropped_and_the_batch_does_not() -> None:
    data = make_long_rows()
    first = find_present_modalities(data)
    assert first == find_present_modalities(data, batch_size=1, group_by_length=False)
    assert first != find_present_modalities(data, epoch=1)
    assert first != find_present_modalities(data, seed=7)


def test_validation_rows_lose_nothing() -> None:
    data = make_long_rows(60)
    for batch in SplitsDataModule(
        data, data, make_job_settings(modality_dropout=0.9), empty_text=EMPTY
    ).val_dataloader():
        true = Batch.from_arrays(data.batch(batch.row.numpy()))
        assert torch.equal(batch.tokens, true.tokens)
        assert torch.equal(batch.numbers_missing, true.numbers_missing)


def test_an_empty_text_consists_of_the_special_tokens_or_of_a_placeholder() -> None:
    assert Chunker(8, None, (101, 5), (102,), 0).empty_text.tolist() == [101, 5, 102]
    assert Chunker(8, None, (), (), 7).empty_text.tolist() == [7]
