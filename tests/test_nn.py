"""The building blocks of architectures: pooling, attention, heads, and embeddings of words and of the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.pooling import (
    AttentionPooling,
    first_token,
    mean_per_row,
    softmax_per_row,
    sum_per_row,
    token_max,
    token_mean,
    truncate_rows,
)
from fusionzoo.nn.schema import Batch, CategoryField, InputSpec, NumberField, TextFeatures, TextSpec
from fusionzoo.nn.tabular import FieldEmbedding, NumericEmbedding, TabularEncoder
from fusionzoo.nn.transformer import TransformerBlock
from fusionzoo.nn.word_embedding import WordEmbedding


def make_spec(numbers: int = 2, categories: int = 2) -> InputSpec:
    return InputSpec(
        text=TextSpec(20, 0, 8, 3, "word", embedding_dim=4),
        categories=tuple(CategoryField(f"c{i}", 5) for i in range(categories)),
        numbers=tuple(NumberField(f"n{i}", 0.0, 1.0, (-1.0, -0.2, 0.4, 2.0)) for i in range(numbers)),
        num_outputs=2,
    )


def make_table_batch(rows: int = 4, numbers: int = 2, categories: int = 2) -> Batch:
    g = torch.Generator().manual_seed(0)
    return Batch(
        tokens=torch.zeros(0, 0, dtype=torch.long),
        token_mask=torch.zeros(0, 0, dtype=torch.bool),
        chunk_row=torch.zeros(0, dtype=torch.long),
        categories=torch.randint(0, 5, (rows, categories), generator=g),
        numbers=torch.randn(rows, numbers, generator=g),
        numbers_missing=torch.zeros(rows, numbers, dtype=torch.bool),
        labels=None,
        row=torch.arange(rows),
    )


def test_the_mean_of_a_row_is_over_its_real_tokens_only() -> None:
    tokens = torch.arange(24.0).reshape(3, 4, 2)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False], [True, True, True, True]])
    pooled = token_mean(tokens, mask, torch.tensor([0, 0, 1]), 2)
    expected = torch.stack([torch.stack([tokens[0, 0], tokens[0, 1], tokens[1, 0]]).mean(0), tokens[2].mean(0)])
    assert torch.allclose(pooled, expected)


def test_masked_tokens_do_not_affect_pooling() -> None:
    tokens = torch.randn(3, 4, 2)
    mask = torch.tensor([[True, False, False, False], [True, True, False, False], [True, True, True, False]])
    other = torch.where(mask.unsqueeze(-1), tokens, torch.full_like(tokens, 1e6))
    rows = torch.tensor([0, 1, 1])
    assert torch.equal(token_mean(tokens, mask, rows, 2), token_mean(other, mask, rows, 2))
    assert torch.equal(token_max(tokens, mask), token_max(other, mask))


def test_chunks_are_summed_into_their_own_rows_and_a_row_without_chunks_is_zero() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0]])
    assert sum_per_row(values, torch.tensor([0, 0, 2]), 3).tolist() == [[3.0], [0.0], [4.0]]
    assert mean_per_row(values, torch.tensor([0, 0, 2]), 3).tolist() == [[1.5], [0.0], [4.0]]


def test_pooling_counts_exactly_under_bf16_autocast() -> None:
    tokens, mask = torch.ones(1, 301, 1), torch.ones(1, 301, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert token_mean(tokens, mask, torch.tensor([0]), 1).item() == 1.0


# three chunks of two rows: 2 + 1 real tokens, then 4
MASK = torch.tensor([[True, True, False, False], [True, False, False, False], [True, True, True, True]])
CHUNK_ROW = torch.tensor([0, 0, 1])


def test_attention_weights_are_a_softmax_over_all_chunks_of_a_row() -> None:
    scores = torch.randn(3, 5, 4) * 30
    weights = softmax_per_row(scores, MASK, CHUNK_ROW, 2)
    expected = torch.cat([scores[0, :, :2], scores[1, :, :1]], dim=1).softmax(dim=1)
    assert torch.allclose(torch.cat([weights[0, :, :2], weights[1, :, :1]], dim=1), expected, atol=1e-6)
    assert torch.allclose(weights[2], scores[2].softmax(dim=-1), atol=1e-6)
    assert (weights.masked_select(~MASK.unsqueeze(1)) == 0).all()


def test_attention_weights_are_finite_for_huge_scores_rows_without_tokens_and_batches_without_chunks() -> None:
    scores = torch.full((3, 1, 4), 1e30)
    scores.requires_grad_()
    weights = softmax_per_row(scores, MASK & torch.tensor([[True], [True], [False]]), CHUNK_ROW, 3)
    weights.sum().backward()
    assert weights[:2].sum().item() == pytest.approx(1.0)
    assert (weights[2] == 0).all()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert softmax_per_row(torch.zeros(0, 2, 4), MASK[:0], CHUNK_ROW[:0], 0).shape == (0, 2, 4)


def test_attention_pooling_is_a_weighted_mean_of_the_real_tokens_of_a_row() -> None:
    torch.manual_seed(0)
    pooling, tokens = AttentionPooling(3), torch.randn(3, 4, 3)
    pooled = pooling(tokens, MASK, CHUNK_ROW, 2)
    own = torch.cat([tokens[0, :2], tokens[1, :1]])
    assert torch.allclose(pooled[0], (pooling.score(own).softmax(dim=0) * own).sum(dim=0), atol=1e-6)
    other = torch.where(MASK.unsqueeze(-1), tokens, torch.full_like(tokens, 1e6))
    assert torch.allclose(pooling(other, MASK, CHUNK_ROW, 2), pooled, atol=1e-6)
    pooled.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pooling.parameters())


@pytest.mark.parametrize("length", [0, 4])
@pytest.mark.parametrize("rows", [0, 2])
def test_every_pooling_accepts_a_batch_without_chunks_of_any_length(length: int, rows: int) -> None:
    tokens = torch.zeros(0, length, 3, requires_grad=True)
    mask, chunk_row = MASK[:0, :length], CHUNK_ROW[:0]
    pooled = {
        "attention": AttentionPooling(3)(tokens, mask, chunk_row, rows),
        "mean": token_mean(tokens, mask, chunk_row, rows),
        "first": first_token(tokens, chunk_row, rows),
        "max": mean_per_row(token_max(tokens, mask), chunk_row, rows),
    }
    for name, values in pooled.items():
        assert torch.equal(values, torch.zeros(rows, 3)), name
        values.sum().backward()
    assert truncate_rows(TextFeatures(tokens, mask, chunk_row, torch.zeros(rows, 3)), 2).tokens.shape[0] == 0


def test_a_transformer_block_scores_a_chunk_the_same_with_more_padding_and_in_other_batches() -> None:
    torch.manual_seed(0)
    block, tokens = TransformerBlock(8, 2).eval(), torch.randn(3, 4, 8)
    expected = block(tokens, MASK)
    wider = torch.cat([tokens, torch.full((3, 2, 8), 1e4)], dim=1)
    padded = block(wider, torch.cat([MASK, torch.zeros(3, 2, dtype=torch.bool)], dim=1))
    assert torch.allclose(padded[:, :4][MASK], expected[MASK], atol=1e-6)
    for k in range(3):
        assert torch.allclose(block(tokens[k : k + 1], MASK[k : k + 1])[0][MASK[k]], expected[k][MASK[k]], atol=1e-6)


@pytest.mark.parametrize("chunks", [0, 2])
@pytest.mark.parametrize("length", [0, 3])
def test_a_transformer_block_is_finite_without_chunks_and_without_real_tokens(chunks: int, length: int) -> None:
    tokens = torch.randn(chunks, length, 8, requires_grad=True)
    features = TransformerBlock(8, 2, dropout=0.1)(tokens, torch.zeros(chunks, length, dtype=torch.bool))
    features.sum().backward()
    assert features.shape == tokens.shape
    assert features.isfinite().all()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


def test_the_heads_of_a_transformer_block_must_divide_its_width() -> None:
    with pytest.raises(ValueError, match="dim is 8, which heads 3 does not divide"):
        TransformerBlock(8, 3)


def test_the_first_token_of_each_chunk_is_averaged_over_the_row() -> None:
    tokens = torch.arange(24.0).reshape(3, 4, 2)
    assert first_token(tokens, CHUNK_ROW, 2).tolist() == [[4.0, 5.0], [16.0, 17.0]]


def make_features(tokens: Tensor) -> TextFeatures:
    return TextFeatures(tokens, MASK, CHUNK_ROW, torch.zeros(2, tokens.shape[-1]))


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, [1, 1]), (2, [2, 2]), (3, [2, 1, 3]), (4, [2, 1, 4]), (100, [2, 1, 4])]
)
def test_a_row_keeps_its_first_tokens_over_all_its_chunks(limit: int, kept: list[int]) -> None:
    cut = truncate_rows(make_features(torch.arange(24.0).reshape(3, 4, 2)), limit)
    assert cut.mask.sum(dim=1).tolist() == kept
    assert cut.chunk_row.tolist() == ([0, 0, 1] if len(kept) == 3 else [0, 1])
    assert cut.tokens.shape[0] == len(kept)
    assert cut.tokens[-1].equal(torch.arange(24.0).reshape(3, 4, 2)[2])


def test_heads_have_the_requested_widths() -> None:
    features, head = torch.randn(3, 4), ClassifierHead(4, 8, 3, dropout=0.5)
    assert head.eval()(features).shape == (3, 3)
    assert head[0].out_features == 8
    assert not torch.equal(head.train()(features), head(features))


@pytest.mark.parametrize("kind", ["piecewise_linear", "periodic"])
@pytest.mark.parametrize("field", ["categories", "numbers", "numbers_missing"])
def test_changing_a_column_changes_its_field_and_leaves_the_others_bit_identical(
    field: str, kind: NumericEmbedding
) -> None:
    torch.manual_seed(0)
    encoder, batch = FieldEmbedding(make_spec(), 6, kind), make_table_batch()
    before = encoder(batch)
    values: Tensor = getattr(batch, field)
    values[:, 0] = ~values[:, 0] if values.dtype == torch.bool else (values[:, 0] + 1) % 5
    after = encoder(batch)
    changed = 0 if field == "categories" else 2
    others = [i for i in range(4) if i != changed]
    assert not torch.equal(before[:, changed], after[:, changed])
    assert torch.equal(before[:, others], after[:, others])


def test_the_value_of_a_missing_number_does_not_matter() -> None:
    encoder, batch = TabularEncoder(make_spec(), dim=6), make_table_batch()
    batch.numbers_missing[:, 1] = True
    before = encoder(batch)
    batch.numbers[:, 1] = 1e6
    assert torch.equal(before, encoder(batch))


def test_missing_differs_from_unknown_and_a_missing_number_from_the_mean() -> None:
    encoder, batch = FieldEmbedding(make_spec(), 6), make_table_batch(3)
    batch.categories[:, 0] = torch.tensor([0, 1, 2])
    batch.numbers[:] = 0.0
    batch.numbers_missing[0] = True
    embedded = encoder(batch)
    assert torch.unique(embedded[:, 0], dim=0).shape[0] == 3
    assert not torch.equal(embedded[0, 2], embedded[1, 2])
    assert torch.equal(embedded[1, 2], embedded[2, 2])


@pytest.mark.parametrize(("numbers", "categories"), [(0, 2), (2, 0), (1, 1)])
def test_a_table_needs_numbers_or_categories(numbers: int, categories: int) -> None:
    encoder = TabularEncoder(make_spec(numbers, categories), dim=6)
    assert encoder(make_table_batch(3, numbers, categories)).shape == (3, 6)
    assert encoder(make_table_batch(0, numbers, categories)).shape == (0, 6)
    with pytest.raises(ValueError, match="at least one"):
        TabularEncoder(make_spec(0, 0), dim=6)


@pytest.mark.parametrize("edges", [(), (0.0,), (0.0, 1e-9), (0.0, 1.0)])
def test_a_column_with_few_distinct_values_has_an_embedding(edges: tuple[float, ...], recwarn: object) -> None:
    narrow = InputSpec(None, (), (NumberField("n", 0.0, 1.0, edges),), 2)
    encoder, batch = TabularEncoder(narrow, dim=3), make_table_batch(2, 1, 0)
    assert encoder(batch).isfinite().all()
    assert not list(recwarn), "building an encoder must not warn"  # type: ignore[call-overload]


def test_word_vectors_start_the_embedding_and_padding_is_zero() -> None:
    vectors = torch.randn(20, 4)
    text = TextSpec(20, 0, 8, 3, "word", embedding_dim=4, embeddings=vectors)
    words = WordEmbedding(text, default_dim=7, trainable=False)
    out = words(torch.tensor([[3, 0]]), torch.tensor([[True, False]]))
    assert words.dim == 4
    assert torch.equal(out, torch.stack([vectors[3], torch.zeros(4)]).unsqueeze(0))
    assert not words.lookup.weight.requires_grad


def test_a_batch_is_created_from_arrays_and_moved_to_a_device() -> None:
    arrays = {
        "tokens": np.zeros((1, 2), np.int64),
        "token_mask": np.ones((1, 2), bool),
        "chunk_row": np.zeros(1, np.int64),
        "categories": np.zeros((1, 0), np.int64),
        "numbers": np.zeros((1, 1), np.float32),
        "numbers_missing": np.zeros((1, 1), bool),
        "row": np.zeros(1, np.int64),
    }
    batch = Batch.from_arrays(arrays)
    assert batch.labels is None
    assert batch.rows == 1
    assert batch.to("meta").tokens.device.type == "meta"
    assert Batch.from_arrays({**arrays, "labels": np.ones(1, np.int64)}).labels is not None
