"""From a text to logits: a hidden layer over the encoder's features, plus a wide path of n-grams next to the encoder.

Wide and deep learning (Cheng et al. 2016, arXiv 1606.07792).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.nn.heads import ClassifierHead
from fusionzoo.nn.ngram_scores import NgramScores
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.settings import TextSettings

USELESS_FIT = (
    "the linear models of the words, next to the text encoder, have no effect. Fix: use more rows, or set "
    "wide_ngrams: 0 to leave these models out"
)


class WidePath(nn.Module):
    """Logits [rows, num_outputs] from the scores of `NgramScores`; zero before these are fitted.

    They start as those of a model of the scores alone: see docs/decisions/wide-path-of-n-grams.md.
    """

    def __init__(self, spec: InputSpec, max_ngrams: int) -> None:
        super().__init__()
        self.scores = NgramScores(spec, max_ngrams, useless_fit=USELESS_FIT)
        self.scale = nn.Parameter(torch.ones(spec.num_outputs))

    def forward(self, batch: Batch) -> Tensor:
        logits: Tensor = self.scale * (self.scores(batch) @ self.scores.weights.T) + self.scores.biases
        return logits


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
