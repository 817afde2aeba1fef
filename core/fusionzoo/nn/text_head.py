"""From a text to logits: a hidden layer over the encoder's features, plus a wide path of n-grams beside the encoder.

Wide and deep learning (Cheng et al. 2016, arXiv 1606.07792).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fusionzoo.nn.fitted_module import FittedModule
from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.ngram_scores import NgramScores, make_mixtures
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.settings import TextSettings

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit

INITIAL_SCALE = 0.5  # of a logit to its score, which has standard deviation 1


class WidePath(FittedModule):
    """Logits [rows, num_outputs] that are linear in the scores of `NgramScores`; zero before `fit`."""

    def __init__(self, spec: InputSpec, max_ngrams: int) -> None:
        super().__init__()
        self.scores = NgramScores(spec, max_ngrams)
        self.classify = nn.Linear(self.scores.width, spec.num_outputs)
        mixtures = torch.from_numpy(make_mixtures(spec.num_outputs, self.scores.width)).float()
        with torch.no_grad():
            self.classify.weight.copy_(INITIAL_SCALE * mixtures)
            self.classify.bias.zero_()

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.classify(self.scores(batch))
        return logits

    def fit(self, train: EncodedSplit) -> None:
        self.scores.fit(train)


class TextHead(nn.Module):
    """Compute the logits of the text alone, [rows, num_outputs].

    They are those of one hidden layer over the pooled features, plus those of a `WidePath`. There is no wide path if
    `wide_ngrams` is 0 or the text encoder has scores of n-grams itself.
    """

    def __init__(self, spec: InputSpec, settings: TextSettings, text_encoder: nn.Module) -> None:
        super().__init__()
        width_in, hidden = get_encoder_dim(text_encoder), settings.hidden_common_dim
        self.deep = ClassifierHead(width_in, hidden, spec.num_outputs, settings.dropout)
        has_scores = any(isinstance(module, NgramScores) for module in text_encoder.modules())
        is_wide = settings.wide_ngrams > 0 and not has_scores
        self.wide = WidePath(spec, settings.wide_ngrams) if is_wide else None

    def forward(self, batch: Batch, pooled: Tensor) -> Tensor:
        """Return the logits.

        Args:
            batch: the tokens.
            pooled: the features of the text encoder, [rows, dim].
        """
        logits: Tensor = self.deep(pooled)
        return logits if self.wide is None else logits + self.wide(batch)


def get_encoder_dim(text_encoder: nn.Module) -> int:
    """Return `text_encoder.dim`, the width of the encoder's features.

    Raises:
        TypeError: the encoder has no int attribute `dim`.
    """
    dim = getattr(text_encoder, "dim", None)
    if not isinstance(dim, int):
        raise TypeError(f"the text encoder {type(text_encoder).__name__} needs an int attribute `dim`, not {dim!r}")
    return dim
