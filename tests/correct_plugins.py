"""A correct fusion and a correct text encoder, and the class of their mutants."""

from __future__ import annotations

from dataclasses import dataclass, field

MODEL = '''
"""Late fusion by a sum."""
from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from fusionzoo import hookimpl
from fusionzoo.nn.pooling import sum_per_row, token_mean
from fusionzoo.nn.schema import ModelOutput
from fusionzoo.settings import FusionSettings


class Settings(FusionSettings):
    width: int = Field(16, ge=1, description="Width of both sides.")


class LateSum(nn.Module):
    def __init__(self, spec, settings, text_encoder):
        super().__init__()
        width, self.pad_id = settings.width, spec.text and spec.text.pad_id
        self.text_encoder = text_encoder
        self.text = nn.Linear(text_encoder.dim, width)
        self.categories = nn.ModuleList([nn.Embedding(c.cardinality, width) for c in spec.categories])
        self.numbers = nn.Linear(2 * len(spec.numbers), width) if spec.numbers else None
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(width, spec.num_outputs)

    def forward(self, batch):
        features = self.text_encoder(batch)
        tokens, mask, chunk_row, rows = features.tokens, features.mask, features.chunk_row, batch.rows
        pooled = token_mean(tokens, mask, chunk_row, rows)
        joined = self.text(pooled)
        numbers, missing = batch.numbers, batch.numbers_missing.float()
        fields = [embedding(batch.categories[:, i]) for i, embedding in enumerate(self.categories)]
        if self.numbers is not None:
            fields.append(self.numbers(torch.cat([numbers, missing], dim=1)))
        joined = joined + torch.stack(fields).sum(dim=0)
        logits = self.classify(self.dropout(joined.tanh()))
        return ModelOutput(logits, {"size": 1e-4 * logits.square().mean()}, {"level": joined.detach().float().mean()})


@hookimpl
def settings_class():
    return Settings


@hookimpl
def build_model(spec, settings, text_encoder):
    return LateSum(spec, settings, text_encoder)
'''

ENCODER = '''
"""Words, each with its own feature."""
from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.recipes import Encoder
from fusionzoo.nn.schema import TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.settings import ModelSettings


class Settings(ModelSettings):
    needs = reads = frozenset({"text"})

    width: int = Field(16, ge=1, description="Width of the features.")


class Words(nn.Module):
    def __init__(self, spec, settings):
        super().__init__()
        self.words = WordEmbedding(spec.text, settings.width)
        self.project = nn.Linear(self.words.dim, settings.width)
        self.dim = settings.width

    def forward(self, batch):
        mask, chunk_row = batch.token_mask, batch.chunk_row
        tokens = self.project(self.words(batch.tokens, mask)).tanh()
        pooled = token_mean(tokens, mask, chunk_row, batch.rows)
        return TextFeatures(tokens, mask, chunk_row, pooled)


encoder = Encoder(Settings, Words)
'''

# Changes to the model: a transformer of torch over the tokens of the text encoder.
TORCHS_TRANSFORMER = (
    (
        "        self.dropout = ",
        "        layer = nn.TransformerEncoderLayer(text_encoder.dim, 2, 16, settings.dropout, batch_first=True)\n"
        "        self.transformer = nn.TransformerEncoder(layer, 2)\n        self.dropout = ",
    ),
    (
        "        pooled = token_mean(",
        "        if batch.rows:\n"
        "            tokens = self.transformer(tokens, src_key_padding_mask=~mask)\n        pooled = token_mean(",
    ),
)

CORE, BERT = "fusionzoo[train]>=0.1,<0.2", "fusionzoo-bert<0.2"
BOUNDED = (CORE, BERT)  # bert is the default text encoder of a fusion


@dataclass(frozen=True)
class Mutant:
    """A faulty plugin: the changes to the correct one, and the checks that must fail, and no others."""

    name: str
    failed_checks: frozenset[str]
    changes: tuple[tuple[str, str], ...] = ()
    is_encoder: bool = False
    entry_point: str = "mutant"
    distribution: str = "acme-mutant"
    requires: tuple[str, ...] = field(default=BOUNDED)

    @property
    def source(self) -> str:
        """The plugin's module."""
        source = ENCODER if self.is_encoder else MODEL
        for old, new in self.changes:
            assert source.count(old) == 1, (
                f"{self.name}: {old!r} occurs {source.count(old)} times in the correct plugin"
            )
            source = source.replace(old, new)
        return source
