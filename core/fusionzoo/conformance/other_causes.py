"""Reasons why logits differ that have nothing to do with what a check changes, and would make its advice wrong."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from fusionzoo.conformance.forward import compute_logits, largest_difference
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.nn.schema import Batch

LABELS_READ = "the outputs depend on batch.labels, which a deployed model does not have. Fix: do not read batch.labels"


def check_other_causes(model: nn.Module, batch: Batch) -> None:
    """Check that a model in evaluation mode repeats its logits, and does not read labels.

    Raises:
        ConformanceError: it does not.
    """
    check_repeated_scores(model, batch)
    check_labels_are_not_read(model, batch)


def check_repeated_scores(model: nn.Module, batch: Batch) -> None:
    """Check that two evaluations of a batch give exactly the same logits.

    Raises:
        ConformanceError: they do not.
    """
    if not torch.equal(compute_logits(model, batch), compute_logits(model, batch)):
        raise ConformanceError(
            "two evaluations of the same batch give different logits. Fix: use nn.Dropout or "
            "F.dropout(..., training=self.training), add noise only if self.training, create layers and parameters in "
            "__init__, and keep no counters"
        )


def check_labels_are_not_read(model: nn.Module, batch: Batch) -> None:
    """Check that the logits of a batch are the same without labels.

    Raises:
        ConformanceError: they are not.
    """
    if largest_difference(compute_logits(model, replace(batch, labels=None)), compute_logits(model, batch)):
        raise ConformanceError(LABELS_READ)
