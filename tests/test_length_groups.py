"""Chunks of similar length run through an encoder together: little padding, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.fit_preprocessor import fit_preprocessor
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.sampling import RowSizes, TrainingOrder
from fusionzoo.nn import length_groups
from fusionzoo.nn.length_groups import encode_in_groups
from fusionzoo.nn.schema import Batch, InputSpec, TextSpec
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from shop import TINY_BERT

Encode = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
MIXED = [3, 30, 1, 29, 2, 12, 30, 11, 3, 12]


def cost(lengths: np.ndarray, groups: list[np.ndarray], group_tokens: int) -> int:
    return sum(int(lengths[group].max()) * len(group) + group_tokens for group in groups)


def least_cost(lengths: np.ndarray, group_tokens: int, most: int) -> int:
    """Return the minimum cost of all possible divisions."""
    ordered = np.sort(lengths)
    cuts = [cut for k in range(most) for cut in combinations(range(1, len(ordered)), k)]
    parts = [[*pairwise([0, *cut, len(ordered)])] for cut in cuts]
    return min(sum(int(ordered[e - 1]) * (e - b) + group_tokens for b, e in part) for part in parts)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(0, 30), st.integers(1, 5))
def test_no_other_division_costs_less_and_each_chunk_is_in_one_group(drawn: list[int], price: int, most: int) -> None:
    lengths = np.array(drawn)
    groups = length_groups.make_length_groups(lengths, price, most)
    assert sorted(np.concatenate(groups)) == list(range(len(lengths)))
    assert 1 <= len(groups) <= most
    assert all(lengths[a].max() < lengths[b].min() for a, b in pairwise(groups))
    assert cost(lengths, groups, price) == least_cost(lengths, price, most)


def test_a_small_batch_is_not_divided_and_a_large_one_into_at_most_four_groups() -> None:
    lengths = np.random.default_rng(0).integers(1, 129, 320)
    assert len(length_groups.make_length_groups(lengths, length_groups.CPU_GROUP_OVERHEAD)) == 4
    assert len(length_groups.make_length_groups(lengths[:4], length_groups.CPU_GROUP_OVERHEAD)) == 1
    assert length_groups.make_length_groups(lengths[:0], length_groups.CPU_GROUP_OVERHEAD) == []


def padding(sizes: RowSizes, chunk_lengths: list[np.ndarray], grouped: bool) -> float:
    """Return the share of padding that an encoder computes in an epoch at batch size 32, with or without groups."""
    computed = 0
    for rows in TrainingOrder(sizes, 32, seed=0).batches(epoch=0):
        lengths = np.concatenate([chunk_lengths[row] for row in rows])
        cut = length_groups.make_length_groups(
            lengths, length_groups.CPU_GROUP_OVERHEAD, max_groups=4 if grouped else 1
        )
        computed += cost(lengths, cut, 0)
    return 1 - sum(lengths.sum() for lengths in chunk_lengths) / computed


def test_dialogues_are_padded_by_less_than_twelve_percent_in_groups_and_more_without() -> None:
    rng = np.random.default_rng(0)
    counts = np.minimum(1 + rng.geometric(0.4, 3000), 10)  # heavy-tailed, the last chunk of a row half full
    rows = [np.append(rng.integers(90, 129, count - 1), rng.integers(10, 129)) for count in counts]
    sizes = RowSizes(counts, np.array([row.max() for row in rows]))
    assert padding(sizes, rows, grouped=True) < 0.12 < padding(sizes, rows, grouped=False)


@pytest.mark.parametrize(
    ("name", "text", "label", "max_tokens", "most"),
    [
        ("womens_clothing", ["title", "review_text"], "recommended", 512, 0.06),
        ("review_threads", "thread", "unhappy", 128, 0.12),
    ],
)
def test_real_rows_have_less_padding_than_documented(
    name: str, text: Any, label: str, max_tokens: int, most: float, real_data: Path, minilm: str
) -> None:
    use = DataSettings(
        id_name="id", text_name=text, label_name=label, num_classes=2, tokenizer=minilm, max_sen_len=max_tokens
    )
    channel = open_channel("train", real_data / name / "train", use.columns)
    split = fit_preprocessor(use, channel).preprocessor.encode(channel, "train")
    chunk_lengths = np.split(np.diff(split.chunk_starts), split.row_starts[1:-1])
    assert padding(RowSizes.of(split), chunk_lengths, grouped=True) < most


def chunks(lengths: list[int], width: int = 0) -> tuple[Tensor, Tensor]:
    mask = torch.arange(max(width, *lengths)) < torch.tensor(lengths)[:, None]
    tokens = torch.randint(1, 40, mask.shape, generator=torch.Generator().manual_seed(0))
    return tokens.where(mask, 0), mask


@pytest.fixture
def several_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the cost of a group to zero, so that few chunks are divided, too."""
    monkeypatch.setattr(length_groups, "CPU_GROUP_OVERHEAD", 0)


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(**TINY_BERT)).eval()  # type: ignore[no-any-return]


def encoder(backbone: nn.Module, seen: list[tuple[int, ...]]) -> Encode:
    """Return token features and the pooled vector of each chunk; record the shapes of the inputs."""

    def encode(tokens: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        seen.append(tuple(tokens.shape))
        output = backbone(input_ids=tokens, attention_mask=mask.long())
        return output.last_hidden_state, output.pooler_output

    return encode


@pytest.mark.usefixtures("several_groups")
@pytest.mark.parametrize("width", [0, 40])
def test_chunks_have_the_features_that_one_call_gives_them_in_their_order(backbone: nn.Module, width: int) -> None:
    seen: list[tuple[int, ...]] = []
    encode = encoder(backbone, seen)
    tokens, mask = chunks(MIXED, width)
    with torch.no_grad():
        (features, vectors), (expected, expected_vectors) = (
            encode_in_groups(encode, tokens, mask),
            encode(tokens, mask),
        )
    assert features.shape == expected.shape
    assert torch.allclose(features[mask], expected[mask], atol=1e-5)
    assert torch.allclose(vectors, expected_vectors, atol=1e-5)
    assert bool(features.isfinite().all())
    assert sum(a * b for a, b in seen[:-1]) < 1.1 * sum(MIXED)
    assert len(seen) == 1 + length_groups.MAX_GROUPS


@pytest.mark.usefixtures("several_groups")
def test_weights_get_the_gradient_of_one_call(backbone: nn.Module) -> None:
    encode = encoder(backbone, [])
    tokens, mask = chunks(MIXED)
    weight = torch.randn(*mask.shape, 1, generator=torch.Generator().manual_seed(1))
    gradients = []
    for run in (encode, lambda *chunk: encode_in_groups(encode, *chunk)):
        backbone.zero_grad()
        features, vectors = run(tokens, mask)
        ((features * weight)[mask].sum() + vectors.square().sum()).backward()
        gradients.append({name: p.grad.clone() for name, p in backbone.named_parameters() if p.grad is not None})
    alone, grouped = gradients
    assert alone.keys() == grouped.keys() == dict(backbone.named_parameters()).keys()
    assert all(torch.allclose(alone[name], grouped[name], atol=1e-4, rtol=1e-4) for name in alone)


def test_chunks_of_one_length_and_a_single_chunk_are_one_call(backbone: nn.Module) -> None:
    for lengths in ([7, 7, 7], [5]):
        seen: list[tuple[int, ...]] = []
        tokens, mask = chunks(lengths)
        features, vectors = encode_in_groups(encoder(backbone, seen), tokens, mask)
        assert seen == [(len(lengths), lengths[0])]
        assert features.shape[:2] == mask.shape
        assert len(vectors) == len(lengths)


@pytest.mark.usefixtures("several_groups")
def test_the_text_encoder_bert_runs_its_chunks_in_groups() -> None:
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    spec = InputSpec(TextSpec(40, 0, 64, None, "word"), (), (), 2)
    encoder = plugin.build_text_encoder(spec, plugin.settings_class(encoder_config=TINY_BERT))
    seen: list[tuple[int, ...]] = []
    encoder.backbone.register_forward_pre_hook(
        lambda _, args, given: seen.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    tokens, mask = chunks(MIXED)
    rows = torch.arange(len(MIXED))
    nothing = torch.zeros(len(MIXED), 0)
    encoder(Batch(tokens, mask, rows, nothing.long(), nothing, nothing.bool(), None, rows))
    assert len(seen) == length_groups.MAX_GROUPS
    assert sum(a * b for a, b in seen) < 1.1 * sum(MIXED)


class Words(nn.Module):
    """A small encoder that runs chunks in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(40, 4)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return encode_in_groups(lambda t, m: (self.words(t) * m.unsqueeze(-1),), tokens, mask)[0]


def traced(model: nn.Module, example: tuple[Tensor, Tensor]) -> nn.Module:
    return torch.jit.trace(model, example)  # type: ignore[no-any-return]


def exported(model: nn.Module, example: tuple[Tensor, Tensor]) -> nn.Module:
    dimensions = {0: torch.export.Dim("chunks"), 1: torch.export.Dim("length")}
    return torch.export.export(model, example, dynamic_shapes=(dimensions, dimensions), strict=False).module()


@pytest.mark.usefixtures("several_groups")
@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("freeze", [traced, *([exported] if hasattr(torch.export, "Dim") else [])])  # since torch 2.2
def test_an_exported_graph_works_for_other_lengths_than_those_of_its_export(
    freeze: Callable[[nn.Module, tuple[Tensor, Tensor]], nn.Module],
) -> None:
    model = Words()
    graph = freeze(model, chunks(MIXED))
    other = chunks([2, 35, 9], 36)
    assert torch.equal(graph(*other), model(*other))
