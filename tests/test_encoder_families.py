"""Every encoder family of the installed transformers either works, or is an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from encoder_folders import SIZES
from fusionzoo.artifacts.onnx_export import export_onnx
from fusionzoo.errors import ExportError, SettingError
from fusionzoo.nn.encoder_probe import check_encoder
from fusionzoo.nn.hugging_face import make_config
from fusionzoo.nn.schema import Batch, InputSpec, TextSpec
from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
from fusionzoo.tasks.class_objective import Softmax
from shop import made_split

IDS = {
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 0,
    "sep_token_id": 2,
    "mask_token_id": 3,
}
TINY = {**SIZES, **IDS, "vocab_size": 60, "max_position_embeddings": 64}
OWN_SIZES: dict[str, dict[str, Any]] = {
    "longformer": {"attention_window": [16, 16]},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "perceiver": {"num_latents": 4, "d_latents": 16, "d_model": 16, "num_self_attends_per_block": 1},
    "rembert": {"input_embedding_size": 8, "output_embedding_size": 8},
    "squeezebert": {"embedding_size": 16},
    "xmod": {"default_language": "en_XX"},
}
MUST_WORK = (  # of those that the oldest supported transformers contains
    *("albert", "bert", "big_bird", "camembert", "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra"),
    *("ernie", "esm", "ibert", "luke", "megatron-bert", "mobilebert", "mpnet", "rembert", "roberta", "roc_bert"),
    *("roformer", "squeezebert", "xlm", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
MUST_BE_REFUSED = ("bart", "convbert", "fnet", "funnel", "mbart", "perceiver", "yoso")


@pytest.mark.parametrize("family", sorted({*MODEL_FOR_MASKED_LM_MAPPING_NAMES, *MUST_WORK}))
def test_an_encoder_family_works_or_is_an_error_that_names_it(family: str) -> None:
    sizes = {**TINY, **OWN_SIZES.get(family, {})}
    if family == "funnel":
        del sizes["num_hidden_layers"]  # it follows from the sizes of the blocks
    message = find_error(family, sizes)
    assert message is None or family in message
    assert message is None or family not in MUST_WORK, message
    assert message is not None or family not in MUST_BE_REFUSED


def find_error(family: str, sizes: dict[str, Any]) -> str | None:
    """Return the error about a family; None if it works."""
    try:
        check_encoder(make_config({"model_type": family, **sizes}), "encoder_name", family, 24)
    except SettingError as refused:
        return str(refused)
    return None


def test_funnel_works_if_it_keeps_the_last_block_of_tokens_and_the_error_is_about_padding_otherwise() -> None:
    sizes = {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32, "block_sizes": [1, 1], "vocab_size": 60}
    assert find_error("funnel", {**sizes, "truncate_seq": False}) is None
    assert "depend on padding" in str(find_error("funnel", sizes))


def test_an_encoder_that_cannot_be_exported_trains_and_the_error_names_its_family_and_the_setting(
    tmp_path: Path,
) -> None:
    config = {"model_type": "longformer", **TINY, **OWN_SIZES["longformer"]}
    spec = InputSpec(TextSpec(60, 1, 24, 4, "x"), (), (), 2)
    lengths = [3, 9, 20, 24, 7, 12, 5, 24]
    split = made_split(np.arange(len(lengths) + 1), np.cumsum([0, *lengths]))
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load("bert")
    encoder = plugin.build_text_encoder(spec, plugin.settings_class(encoder_config=config))
    model = Classifier(encoder)
    model.train()(Batch.from_arrays(split.batch(np.arange(len(lengths))))).square().sum().backward()
    assert all(p.grad is not None for p in model.head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in encoder.parameters())
    with pytest.raises(ExportError, match="Hugging Face encoder of family longformer") as refused:
        export_onnx(model, Softmax(), split, tmp_path / "model.onnx", 24)
    assert "set onnx: off" in str(refused.value)


class Classifier(nn.Module):
    """Two classes from the pooled features of an encoder."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.dim, 2)

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.head(self.encoder(batch).pooled)
        return logits
