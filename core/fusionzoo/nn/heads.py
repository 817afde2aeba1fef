"""What stands between features and logits."""

from __future__ import annotations

from torch import nn


class Projection(nn.Sequential):
    """A modality's features [..., width_in] on the scale that all modalities share: linear, then LayerNorm."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(nn.Linear(width_in, width_out), nn.LayerNorm(width_out))


class ClassifierHead(nn.Sequential):
    """Features [rows, width_in] to logits [rows, num_classes] through one hidden layer with dropout."""

    def __init__(self, width_in: int, hidden: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(width_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes))
