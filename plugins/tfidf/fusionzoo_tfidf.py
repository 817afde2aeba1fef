"""TF-IDF of tokens and pairs of tokens: the linear solution of the task and latent semantic analysis.

Ridge regression on n-grams scaled by their log-count ratios (Wang and Manning 2012, ACL P12-2018), and truncated SVD
(Deerwester et al. 1990, "Indexing by latent semantic analysis").
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from sklearn.decomposition import TruncatedSVD
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.fitted_module import FittedModule, make_fitted
from fusionzoo.nn.ngram_scores import NgramScores
from fusionzoo.nn.pooling import sum_per_row
from fusionzoo.nn.recipes import Encoder, LateFusion, TextOnly
from fusionzoo.nn.schema import Batch, InputSpec, TextFeatures
from fusionzoo.nn.score_weights import invert_deviation
from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings

PAPER = "Wang and Manning 2012, ACL P12-2018"


class TfidfEncoderSettings(ModelSettings):
    """Settings of the text encoder `tfidf`."""

    needs = reads = frozenset({"text"})
    paper = PAPER
    uses_word_vectors = False

    max_ngrams: int = Field(
        100_000, ge=16, le=10**7, description="Maximum number of n-grams: those in the most rows of train are kept."
    )
    tfidf_dim: int = Field(
        32,
        ge=1,
        le=1024,
        description="Width of the features: a score for each of up to 16 outputs, then components of the text.",
    )


class TfidfSettings(TextSettings):
    """Settings of the text-only model `tfidf`."""

    paper = PAPER
    text_encoder: Literal["tfidf"] = Field("tfidf", description="The text encoder of this model.")


class MultimodalTfidfSettings(FusionSettings):
    """Settings of `multimodal_tfidf`, the late fusion."""

    paper = PAPER
    text_encoder: Literal["tfidf"] = Field("tfidf", description="The text encoder of this model.")


class TfidfEncoder(FittedModule):
    """Scores of linear models and components of the text, [rows, dim]; of each token, its share, [chunks, length, dim].

    All of it is fitted on train, except for the scale of each feature, which is trained.
    """

    def __init__(self, spec: InputSpec, settings: TfidfEncoderSettings) -> None:
        super().__init__()
        self.dim = settings.tfidf_dim
        self.scores = NgramScores(spec, settings.max_ngrams, max_width=self.dim)
        self.components = make_fitted(self.scores.ngrams.features, self.dim - self.scores.width)
        self.offset = make_fitted(self.dim - self.scores.width)  # of the components
        self.gain = nn.Parameter(torch.ones(self.dim))

    def forward(self, batch: Batch) -> TextFeatures:
        if batch.tokens.shape[0] == 0:
            return TextFeatures.empty(batch, self.dim)
        features, weights = self.scores.ngrams(batch)
        vectors = torch.cat([self.scores.get_vectors(batch, features), self.components[features]], dim=-1)
        offsets = torch.cat([self.scores.get_offsets(batch), self.offset.expand(batch.rows, -1)], dim=-1)
        tokens = (weights.unsqueeze(-1) * vectors).sum(dim=2)
        pooled = (sum_per_row(tokens.sum(dim=1), batch.chunk_row, batch.rows) + offsets) * self.gain
        return TextFeatures(tokens * self.gain, batch.token_mask, batch.chunk_row, pooled)

    @torch.no_grad()
    def fit(self, train: EncodedSplit) -> None:
        """Fit scores and components on labeled rows of train."""
        matrix = self.scores.fit_scores(train).ngrams
        count = min(self.dim - self.scores.width, matrix.shape[0] - 1, len(np.unique(matrix.indices)) - 1)
        if count < 1:
            return
        axes = TruncatedSVD(count, random_state=0).fit(matrix).components_.T
        components = matrix @ axes
        self.components[:, :count] = torch.from_numpy(axes)
        self.offset[:count] = -torch.from_numpy(components.mean(axis=0))
        chosen = slice(self.scores.width, self.scores.width + count)
        self.gain[chosen] = float(invert_deviation(components).min())


encoder = Encoder(TfidfEncoderSettings, TfidfEncoder)
text_only = TextOnly(TfidfSettings)
late_fusion = LateFusion(MultimodalTfidfSettings)
