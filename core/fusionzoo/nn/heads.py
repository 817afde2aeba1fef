"""Layers between features and logits."""

from __future__ import annotations

from torch import nn


class Projection(nn.Sequential):
    """Project features [..., width_in] to [..., width_out]: a linear layer, then LayerNorm.

    After it, the features of all modalities have the same width and scale.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(nn.Linear(width_in, width_out), nn.LayerNorm(width_out))


class ClassifierHead(nn.Sequential):
    """Map features [rows, width_in] to logits [rows, num_outputs] through one hidden layer with ReLU and dropout."""

    def __init__(self, width_in: int, hidden: int, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(width_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_outputs))
