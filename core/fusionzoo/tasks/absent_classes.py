"""Warn of classes or labels that a split lacks."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.target import NO_LABEL
from fusionzoo.errors.column_errors import more_classes_in
from fusionzoo.errors.wording import list_names, pluralize

log = logging.getLogger(__name__)


def warn_of_absent_classes(
    name: str, labels: np.ndarray, classes: Sequence[Label], fraction: float | None = None
) -> None:
    """Warn if a split has no row of a class: its metrics do not cover this class, and some are undefined.

    Args:
        name: the name of the split.
        labels: class indices [rows]; `NO_LABEL` for a row without a label.
        classes: the original labels, in the order of the class indices.
        fraction: the share of train that the job split off; None for a channel of its own.
    """
    labeled = labels[labels != NO_LABEL]
    rows = np.bincount(labeled, minlength=len(classes))
    absent = [str(label) for label, count in zip(classes, rows, strict=True) if not count]
    if not absent or len(absent) == len(classes):
        return
    fix = more_classes_in(name, fraction)
    fix = fix[0].upper() + fix[1:]
    if len(absent) < len(classes) - 1:
        log.warning(
            "%s has no row of %s: %s. The metrics of %s do not cover %s. %s.",
            *(name, pluralize(len(absent), "class", "classes"), list_names(absent), name),
            *("it" if len(absent) == 1 else "them", fix),
        )
        return
    consequence = "metrics such as auroc are not defined"
    if name == "val":
        consequence = f"{consequence}, and val_loss selects the best checkpoint on this class alone"
    which = f"all {len(labeled):,} rows are" if len(labeled) > 1 else "its only labeled row is"
    log.warning("%s: %s of class '%s', so %s. %s.", name, which, classes[int(rows.argmax())], consequence, fix)


def warn_of_absent_labels(name: str, labels: np.ndarray, names: Sequence[Label], fraction: float | None = None) -> None:
    """Warn if labels apply to no row of a split, or to all: the macro metrics of this split do not cover them.

    Args:
        name: the name of the split.
        labels: 0 or 1 [rows, labels], of the rows that have labels.
        names: the labels, in the order of the outputs.
        fraction: the share of train that the job split off; None for a channel of its own.
    """
    if not len(labels):
        return
    present = (labels == 1).sum(axis=0)
    constant = [str(label) for label, rows in zip(names, present, strict=True) if rows in (0, len(labels))]
    if constant:
        fix = more_classes_in(name, fraction, "labels")
        log.warning(
            "%s: %s %s to no row or to all rows: %s. The macro averages of auroc and average_precision of %s leave "
            "%s out. %s.",
            *(name, pluralize(len(constant), "label"), "applies" if len(constant) == 1 else "apply"),
            *(list_names(constant), name, "it" if len(constant) == 1 else "them", fix[0].upper() + fix[1:]),
        )
