"""The interface of a training objective: the loss, and the link from the outputs of a network to scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.settings import JobSettings

if TYPE_CHECKING:
    from typing_extensions import Self


class Link(nn.Module, ABC):
    """Turns outputs [rows, outputs] into scores of the same shape. It is part of the exported graph.

    Attributes:
        output: the name of the scores in the ONNX file.
    """

    output: str

    @abstractmethod
    def forward(self, outputs: Tensor) -> Tensor:
        """Return the scores [rows, outputs] float32."""

    def difference(self, scores: np.ndarray, expected: np.ndarray) -> float:
        """Return the largest difference of two arrays of scores, in units to which a tolerance applies."""
        return float(np.abs(scores - expected).max())


class Objective(nn.Module, ABC):
    """What a training minimizes, and how its outputs become scores.

    Labels are encoded as `fusionzoo.data.targets.target` describes, and never missing here.

    Class variables:
        constant_prediction: what the best constant prediction is, for messages.
    """

    constant_prediction: ClassVar[str]
    link: Link

    @classmethod
    @abstractmethod
    def make(cls, settings: JobSettings, train: EncodedSplit, target: Any) -> Self:
        """Return the objective of a job.

        Raises:
            errors.DataError: the settings of the loss do not fit the labels of train.
        """

    @classmethod
    @abstractmethod
    def make_link(cls, target: Any) -> Link:
        """Return the link for a fitted target."""

    @abstractmethod
    def row_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted training loss of each row, [rows] float32.

        The loss of a batch is their sum divided by the sum of `row_weights`.
        """

    @abstractmethod
    def row_weights(self, labels: Tensor) -> Tensor:
        """Return the weight of each row, [rows] float32."""

    @abstractmethod
    def validation_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return `val_loss` [], which is the same for all settings that change only the training loss."""

    @abstractmethod
    def constant_loss(self, labels: np.ndarray) -> float:
        """Return the minimum `val_loss` of a constant prediction."""

    def check_val_labels(self, labels: np.ndarray, fraction: float | None) -> None:
        """Raise errors.DataError if `val_loss` is undefined for the labels of val.

        Args:
            labels: encoded labels.
            fraction: the share of train that the job split off as val; None for a channel of its own.
        """

    def summary(self) -> dict[str, Any]:
        """Return what metrics.json holds about the objective, as plain values."""
        return {}


def find_labeled(labels: Tensor) -> Tensor:
    """Return which rows of encoded labels have a label, [rows] bool."""
    is_known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
    return is_known if labels.ndim == 1 else is_known.all(dim=1)


def fill_missing(labels: Tensor) -> Tensor:
    """Return encoded labels with valid values in place of missing ones, for losses that are multiplied by 0."""
    return torch.nan_to_num(labels, nan=0.0) if labels.is_floating_point() else labels.clamp(min=0)
