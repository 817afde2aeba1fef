"""The longest chunk: found by running the encoder, and checked in the export, for every kind of position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from encoder_folders import SIZES
from fusionzoo.artifacts.onnx_export import export_onnx, make_longest_chunk
from fusionzoo.errors import ExportError, SettingError
from fusionzoo.nn.encoder_probe import MAX_PROBED_TOKENS, check_encoder
from fusionzoo.nn.hugging_face import make_config
from fusionzoo.nn.schema import Batch
from fusionzoo.tasks.class_objective import Softmax
from shop import made_split

FAMILIES: dict[str, tuple[dict[str, Any], int]] = {
    "bert": ({}, 34),
    "electra": ({"embedding_size": 8}, 34),
    "distilbert": ({"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}, 34),
    "roberta": ({}, 32),
    "xlm-roberta": ({}, 32),
    "camembert": ({}, 32),
    "mpnet": ({}, 32),
    "luke": ({"entity_vocab_size": 10, "entity_emb_size": 8}, 32),
    "ibert": ({}, 32),
    "esm": ({"position_embedding_type": "absolute"}, 32),
    "data2vec-text": ({}, 32),
    "xmod": ({"default_language": "en_XX"}, 32),
    "rembert": ({"input_embedding_size": 8, "output_embedding_size": 8}, 34),
}


def config(family: str, **changes: Any) -> Any:
    sizes = {**SIZES, "vocab_size": 60, "max_position_embeddings": 34, "pad_token_id": 1}
    return make_config({"model_type": family, **sizes, **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_usable_length_of_each_family_is_found_from_the_model(family: str) -> None:
    changes, limit = FAMILIES[family]
    check_encoder(config(family, **changes), "encoder_name", family, limit)
    with pytest.raises(SettingError, match=f"has positions for {limit} tokens") as refused:
        check_encoder(config(family, **changes), "encoder_name", family, limit + 1)
    assert refused.value.setting == "max_sen_len"
    assert family in str(refused.value)


def test_an_encoder_with_rotary_positions_has_no_limit_of_its_own() -> None:
    check_encoder(config("esm", position_embedding_type="rotary"), "encoder_name", "x", 300)


def test_the_probe_leaves_the_random_state_as_it_was() -> None:
    state = torch.get_rng_state()
    check_encoder(config("bert"), "encoder_name", "x", 12)
    assert torch.equal(state, torch.get_rng_state())


def test_a_chunk_longer_than_the_probe_is_accepted() -> None:
    limited = {"max_position_embeddings": MAX_PROBED_TOKENS, "num_hidden_layers": 1, "num_attention_heads": 1}
    check_encoder(config("bert", **limited), "encoder_name", "x", 1_000_000)


# --- the export


class Table(nn.Module):
    """A model with a position table of a size that is not in its configuration."""

    def __init__(self, positions: int) -> None:
        super().__init__()
        self.positions = nn.Embedding(positions, 2)
        self.words = nn.Embedding(60, 2)

    def forward(self, batch: Batch) -> Tensor:
        length = batch.tokens.shape[1]
        hidden = self.words(batch.tokens) + self.positions(torch.arange(length))
        chunks = (hidden * batch.token_mask[..., None]).sum(dim=1)
        rows = torch.arange(batch.categories.shape[0])
        return (rows[:, None] == batch.chunk_row[None, :]).float() @ chunks


def short_rows() -> Any:
    starts = torch.arange(0, 41, 4).numpy()
    return made_split(torch.arange(11).numpy(), starts)


@pytest.mark.parametrize("positions", [11, 1])
def test_a_model_that_cannot_compute_the_longest_chunk_fails_before_training_though_all_rows_are_short(
    positions: int, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="cannot compute a chunk of 12 tokens, which max_sen_len allows"):
        export_onnx(Table(positions), Softmax(), short_rows(), tmp_path / "model.onnx", 12)


def test_an_error_of_a_model_in_chunks_of_any_length_is_raised_as_it_is(tmp_path: Path) -> None:
    class WrongWidth(Table):
        def forward(self, batch: Batch) -> Tensor:
            return super().forward(batch) @ torch.ones(3, 2)

    with pytest.raises(RuntimeError, match="cannot be multiplied") as refused:
        export_onnx(WrongWidth(12), Softmax(), short_rows(), tmp_path / "model.onnx", 12)
    assert Path(str(refused.traceback[-1].path)).name == Path(__file__).name, "the author's line"
    assert not getattr(refused.value, "code", "")


@pytest.mark.parametrize("tracing", [False, True], ids=["in_pytorch", "in_onnx"])
def test_nan_is_blamed_on_the_model_or_on_the_export(tracing: bool, tmp_path: Path) -> None:
    class Root(Table):
        def forward(self, batch: Batch) -> Tensor:
            logits = super().forward(batch)
            is_third = torch.arange(len(logits))[:, None] % 3 == 2
            return torch.where(is_third, logits * torch.nan, logits) if tracing == torch.jit.is_tracing() else logits

    with pytest.raises(ExportError) as refused:
        export_onnx(Root(12), Softmax(), short_rows(), tmp_path / "model.onnx", 12)
    message = str(refused.value)
    if tracing:
        assert refused.value.code == "FZ-O008"
        assert "probabilities are NaN or infinite, although PyTorch's are finite, on " in message
    else:
        assert refused.value.code == "FZ-O033"
        assert (
            f"the model {__name__}.{Root.__qualname__} computes scores that are NaN or infinite for 1 of 4 " in message
        )
        assert "fusionzoo check MODEL_CLASS" in message
    assert " nan " not in message


def test_the_comparison_includes_the_longest_chunk(tmp_path: Path) -> None:
    checked = export_onnx(Table(12), Softmax(), short_rows(), tmp_path / "model.onnx", 12)
    assert checked["batches"][-1] | {"largest_difference": 0} == {
        "rows": 1,
        "chunks": 1,
        "length": 12,
        "largest_difference": 0,
    }


def test_the_longest_chunk_consists_of_real_tokens() -> None:
    split = short_rows()
    longest = make_longest_chunk(split, 100)
    assert len(longest) == 1
    assert longest.row_tokens().tolist() == [100]
    assert set(longest.tokens.tolist()) <= set(split.tokens.tolist())
    assert longest.batch(longest.row_starts[:1])["token_mask"].all()
