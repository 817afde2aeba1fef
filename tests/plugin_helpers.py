"""Small first-party encoders and fusions, and a batch for them."""

from __future__ import annotations

from typing import Any

import torch

from fusionzoo.nn.schema import Batch, CategoryField, InputSpec, NumberField, TextSpec
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
from fusionzoo.settings import JobSettings, ModelSettings
from shop import TINY_BERT

SPEC = InputSpec(
    text=TextSpec(40, 0, 12, 4, "word", embedding_dim=6),
    categories=(CategoryField("a", 5),),
    numbers=(NumberField("n", 0.0, 1.0, (-1.0, 0.0, 1.0)), NumberField("m", 0.0, 1.0, (-2.0, 2.0))),
    num_outputs=3,
)
ENCODER_SETTINGS: dict[str, dict[str, Any]] = {
    "bert": {"encoder_config": TINY_BERT},
    "cnn": {"kernel_size": [2, 3], "num_channels": [5, 4]},
    "lstm": {"lstm_hidden_dim": 5},
}
FUSION = """
import torch
{imports}
from fusionzoo import hookimpl
from fusionzoo.nn.recipes import LateFusionClassifier
from fusionzoo.settings import FusionSettings

class Fusion(LateFusionClassifier):
    def forward(self, batch):
        {before}
        logits = super().forward(batch)
        return {returned}

class Settings(FusionSettings):
    text_encoder: str = "cnn"

@hookimpl
def settings_class():
    return Settings

@hookimpl
def build_model(spec, settings, text_encoder):
    {while_building}
    return Fusion(spec, settings, text_encoder)
"""


def write_fusion(
    returned: str = "logits", *, imports: str = "", before: str = "pass", while_building: str = "pass"
) -> str:
    """Return the code of a plugin: late fusion with a forward that returns an expression of `logits` and `batch`.

    `before` is a statement before the forward of late fusion, and `while_building` one in build_model.
    """
    return FUSION.format(returned=returned, imports=imports, before=before, while_building=while_building)


def make_text_job_settings(**changes: Any) -> JobSettings:
    """Return valid settings of a two-class job over text, with `changes`."""
    values = {"model_class": "x", "id_name": "id", "label_name": "y", "text_name": "t", "num_classes": 2}
    return JobSettings(**{**values, "max_sen_len": 12, "tokenizer": "word", **changes})


def make_encoder_settings(name: str, **changes: Any) -> ModelSettings:
    """Return the resolved settings of a small encoder, with `changes`."""
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load(name)
    return plugin.settings_class(**{**ENCODER_SETTINGS[name], **changes}).resolve(make_text_job_settings())


def build_encoder(name: str, spec: InputSpec = SPEC, **changes: Any) -> Any:
    """Return a small text encoder in evaluation mode, with weights of seed 0."""
    torch.manual_seed(0)
    plugin = Registry.discover(TEXT_ENCODERS_GROUP).load(name)
    return plugin.build_text_encoder(spec, make_encoder_settings(name, **changes)).eval()


def build_model(model_class: str, encoder: str = "cnn", spec: InputSpec = SPEC, **changes: Any) -> Any:
    """Return a small model in evaluation mode; `changes` are settings of the model itself."""
    text_encoder = build_encoder(encoder, spec)
    plugin = Registry.discover(MODELS_GROUP).load(model_class)
    settings = plugin.settings_class(**{"hidden_common_dim": 8, **changes})
    return plugin.build_model(spec, settings, text_encoder).eval()


def make_batch(chunk_lengths: list[list[int]], width: int = 0, seed: int = 0) -> Batch:
    """Return random rows with chunks of these lengths, padded to the longest one or to `width`."""
    g = torch.Generator().manual_seed(seed)
    lengths = [n for row in chunk_lengths for n in row]
    width = max([width, *lengths])
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    tokens = torch.zeros(len(lengths), width, dtype=torch.long)
    tokens[mask] = torch.randint(1, 40, (int(mask.sum()),), generator=g)
    rows = len(chunk_lengths)
    return Batch(
        tokens=tokens,
        token_mask=mask,
        chunk_row=torch.repeat_interleave(torch.arange(rows), torch.tensor([len(row) for row in chunk_lengths])),
        categories=torch.randint(0, 5, (rows, 1), generator=g),
        numbers=torch.randn(rows, 2, generator=g),
        numbers_missing=torch.rand(rows, 2, generator=g) < 0.3,
        labels=None,
        row=torch.arange(rows),
    )


CHUNK_LENGTHS = [[12, 3], [1], [12, 12, 12, 5], [7]]
