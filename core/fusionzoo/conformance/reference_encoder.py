"""The small text encoder with which fusions are checked, and the classifiers with which encoders are checked."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionzoo import __version__
from fusionzoo.errors import Claim
from fusionzoo.nn.pooling import token_mean
from fusionzoo.nn.recipes import Encoder, Fusion, TextClassifier, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.word_embedding import WordEmbedding
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Plugin
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, GROUP_KINDS
from fusionzoo.settings import ModelSettings, TextSettings

NAME = "conformance_reference"
WIDTH = 16


class ReferenceSettings(ModelSettings):
    """The reference text encoder has no settings."""

    needs = reads = frozenset({"text"})


class ReferenceEncoder(nn.Module):
    """A small correct encoder. Each token's features depend on its chunk, so a fusion may read any of them.

    The features of a batch without chunks have the length of the batch, which may be 0.
    """

    def __init__(self, spec: InputSpec, settings: ReferenceSettings) -> None:
        super().__init__()
        if spec.text is None:
            raise ValueError("the reference text encoder needs text")
        self.words = WordEmbedding(spec.text, default_dim=WIDTH)
        self.mix = nn.Linear(2 * self.words.dim, WIDTH)
        self.dim = WIDTH

    def forward(self, batch: Batch) -> TextFeatures:
        words = self.words(batch.tokens, batch.token_mask)
        mean = words.sum(dim=1) / batch.token_mask.sum(dim=1, keepdim=True).clamp_min(1)
        context = mean.unsqueeze(1).expand_as(words)
        tokens: Tensor = self.mix(torch.cat([words, context], dim=-1)).tanh()
        pooled = token_mean(tokens, batch.token_mask, batch.chunk_row, batch.rows)
        return TextFeatures(tokens, batch.token_mask, batch.chunk_row, pooled)


def make_text_encoder_plugin() -> Plugin:
    """Return the reference text encoder as a plugin."""
    return _make_plugin(TEXT_ENCODERS_GROUP, Encoder(ReferenceSettings, ReferenceEncoder))


class ClassifierSettings(TextSettings):
    """Settings of the models around a text encoder that is checked: their logits depend on nothing but its features."""

    wide_ngrams: int = Field(0, ge=0, description="Always 0: no linear models next to the text encoder.")


class TokenClassifier(TextClassifier):
    """Compute logits from the features of the tokens only, not from the pooled ones."""

    def forward(self, batch: Batch) -> Tensor:
        features: TextFeatures = self.text_encoder(batch)
        mean = token_mean(features.tokens, features.mask, features.chunk_row, batch.rows)
        logits: Tensor = self.classify(batch, mean)
        return logits


def make_token_classifier_plugin() -> Plugin:
    """Return a model that reads only the tokens of a text encoder, as a plugin."""
    return _make_plugin(MODELS_GROUP, Fusion(ClassifierSettings, TokenClassifier))


def make_text_classifier_plugin() -> Plugin:
    """Return core's text classifier as a plugin."""
    return _make_plugin(MODELS_GROUP, TextOnly(ClassifierSettings))


def _make_plugin(group: str, implementation: object) -> Plugin:
    claim = Claim(GROUP_KINDS[group], NAME, CORE_DISTRIBUTION, __version__, __name__)
    return Plugin(group, claim, implementation)
