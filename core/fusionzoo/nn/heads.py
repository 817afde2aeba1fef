"""Layers between features and logits."""

from __future__ import annotations

from torch import nn


class ClassifierHead(nn.Sequential):
    """Map features [rows, width_in] to logits [rows, num_outputs] through one hidden layer with ReLU and dropout."""

    def __init__(self, width_in: int, hidden: int, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(width_in, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, num_outputs))


class ResidualHead(ClassifierHead):
    """A classifier head whose logits are zero until its first training step, to be added to other logits.

    The model starts as what it is without this head, which learns what the other logits lack.
    """

    def __init__(self, width_in: int, hidden: int, num_outputs: int, dropout: float = 0.0) -> None:
        super().__init__(width_in, hidden, num_outputs, dropout)
        for parameter in self[-1].parameters():
            nn.init.zeros_(parameter)
